"""Measure what end-to-end training through PnP brings: the same training with and without the projection loss.

    python benchmarks/bpnp_training.py --bundle models/lmo --bop ../shared/data/lmo --out docs/images/bpnp_training

Fine-tunes copies of the bundle's pix2pose network by the recipe and by the recipe without its projection loss, with
several seeds, evaluates each on the images with the true boxes and on renders never trained on, and prints mean
and deviation over the seeds, beside what the bundle had before. AR is the mean of AR_MSSD and AR_MSPD. The two
trainings of a seed see the same crops, unless one is interrupted. What is finished is kept (--work) and not done
again; two processes can share the work with --only.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import held_out_renders
import numpy as np
import yaml

from pose_estimation_ros.cli import evaluate
from pose_estimation_ros.methods.pix2pose.training import Pix2PoseRecipe, train_pix2pose
from pose_estimation_ros.objects.bundle import find_bundle, load_bundle
from pose_estimation_ros.training.trainer import TrainingRun

VARIANTS = ("coordinates alone", "with projection loss")
FIGURES = {  # of pose_evaluate's report: name, key, factor
    "ADD(-S) %": ("add_s_0_1d", 100.0),
    "2D projection %": ("projection_5px", 100.0),
    "AR": ("ar", 1.0),
    "AR_MSSD": ("ar_mssd", 1.0),
    "AR_MSPD": ("ar_mspd", 1.0),
}


def main() -> None:
    """Run what is missing; print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/lmo")
    parser.add_argument("--bop", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path("config/train/pix2pose_bpnp.yaml"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--crops", type=int, default=800, help="renders of the evaluation")
    parser.add_argument("--work", type=Path, default=Path("runs/bpnp_training"))
    parser.add_argument("--only", choices=VARIANTS, help="train and evaluate this one alone; no table")
    parser.add_argument("--out", type=Path, help="path of the table, without ending")
    arguments = parser.parse_args()
    recipe = yaml.safe_load(arguments.config.read_text())
    (arguments.work / "pix2pose").mkdir(parents=True, exist_ok=True)  # all trainings share the bank that is kept there
    before = copied(find_bundle(arguments.bundle), arguments.work / "before")  # all start from it, whatever comes later
    figures: dict[str, list[dict[str, float]]] = {}
    for seed in range(1, arguments.seeds + 1):
        for variant in (arguments.only,) if arguments.only else VARIANTS:
            folder = arguments.work / f"{variant.replace(' ', '_')}_{seed}"
            train(folder, before, recipe, variant, seed, arguments.bop / "models")
            figures.setdefault(variant, []).append(measured(folder, arguments))
    if arguments.only:
        return
    figures = {"before": [measured(arguments.work / "before", arguments)], **figures}
    table = summary(figures)
    print(table)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.with_suffix(".md").write_text(table + "\n")
        arguments.out.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")


def copied(bundle: Path, folder: Path) -> Path:
    """Return a copy of the bundle in the folder, made now or before."""
    path, part = folder / "bundle", folder / "bundle.part"
    if not path.is_dir():
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(bundle, part)
        part.rename(path)
    return path


def train(folder: Path, before: Path, content: dict[str, Any], variant: str, seed: int, meshes: Path) -> None:
    """Fine-tune a copy of a bundle, or go on with that; another recipe or other first weights start anew."""
    recipe = Pix2PoseRecipe.model_validate(content | {"seed": seed, "initial": str(before)})
    if variant == VARIANTS[0]:
        recipe = recipe.model_copy(update={"projection": recipe.projection.model_copy(update={"weight": 0.0})})
    identity = recipe.model_dump(mode="json") | {"initial": load_bundle(before).network("pix2pose").sha256}
    kept = folder / "recipe.json"
    same = kept.is_file() and json.loads(kept.read_text()) == identity
    if not same:
        shutil.rmtree(folder, ignore_errors=True)
    bundle = load_bundle(copied(before, folder))
    trained = bundle.network("pix2pose")
    if same and trained.sha256 != identity["initial"] and trained.training["finished"]:
        return
    kept.write_text(json.dumps(identity) + "\n")
    made = train_pix2pose(TrainingRun(bundle, folder, meshes, "cpu", resume=same), recipe)
    if not made.networks["pix2pose"].training["finished"]:
        raise SystemExit(f"{folder}: interrupted; the same command goes on")


def measured(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the figures of a bundle on images and on renders, measured now or before."""
    bundle = load_bundle(folder / "bundle")
    identity = [bundle.network("pix2pose").sha256, str(arguments.bop.resolve()), arguments.crops]
    kept = folder / "figures.json"
    if kept.is_file():
        content: dict[str, Any] = json.loads(kept.read_text())
        if content.pop("of") == identity:
            return content
    report = folder / "report.json"
    options = ["--bop", str(arguments.bop), "--backend", "pix2pose", "--detections", "gt", "--no-vsd"]
    code = evaluate.main(["--bundle", str(bundle.path), *options, "--report", str(report)])
    if code != 0:
        raise SystemExit(f"{bundle.path}: pose_evaluate ended with {code}")
    scores = json.loads(report.read_text())["mean"]
    figures = {name: factor * scores[key] for name, (key, factor) in FIGURES.items()}
    renders = held_out_renders.errors_of(bundle, arguments.bop / "models", 60, arguments.crops)
    figures["renders: ADD(-S) %"] = 100.0 * float(np.mean([(item[:, 0] < 0.1).mean() for item in renders]))
    figures["renders: median error, % of d"] = 100.0 * float(np.mean([np.median(item[:, 0]) for item in renders]))
    kept.write_text(json.dumps(figures | {"of": identity}) + "\n")
    return figures


def summary(figures: dict[str, list[dict[str, float]]]) -> str:
    """Return a table in Markdown: mean and deviation over the seeds."""
    names = list(next(iter(figures.values()))[0])
    lines = [f"| training | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for variant, rows in figures.items():
        cells = []
        for name in names:
            values = np.array([row[name] for row in rows])
            digits = 3 if name.startswith("AR") else 1
            spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.{digits}f}{spread}")
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
