"""Measure what end-to-end training through PnP brings: the same training with and without the projection loss.

    python benchmarks/bpnp_training.py --bundle models/lmo --bop ../shared/data/lmo

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
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.methods.pix2pose.training import Pix2PoseRecipe, train_pix2pose
from pose_estimation_ros.objects.bundle import find_bundle, load_bundle
from pose_estimation_ros.training.trainer import TrainingRun

VARIANTS = ("coordinates alone", "with projection loss")
FIGURES = ("add_s_0_1d", "projection_5px", "ar", "ar_mssd", "ar_mspd")


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
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/bpnp_training.py")
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
    rows = summary(figures)
    if arguments.result:
        write_result(arguments.result, origin, {"seeds": arguments.seeds, "rows": rows, "trainings": figures})


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
    figures = {key: scores[key] for key in FIGURES}
    renders = held_out_renders.errors_of(bundle, arguments.bop / "models", 60, arguments.crops)
    figures["renders_add_s_0_1d"] = float(np.mean([(item[:, 0] < 0.1).mean() for item in renders]))
    figures["renders_median_error_diameters"] = float(np.mean([np.median(item[:, 0]) for item in renders]))
    kept.write_text(json.dumps(figures | {"of": identity}) + "\n")
    return figures


def summary(figures: dict[str, list[dict[str, float]]]) -> Rows:
    """Return a row with the mean over the seeds of every variant, and one with the deviation where there are some."""
    rows = Rows()
    for variant, trainings in figures.items():
        values = {name: [training[name] for training in trainings] for name in trainings[0]}
        rows.add(training=variant, of="mean", **{name: float(np.mean(item)) for name, item in values.items()})
        if len(trainings) > 1:
            deviations = {name: float(np.std(item, ddof=1)) for name, item in values.items()}
            rows.add(training=variant, of="deviation", **deviations)
    return rows


if __name__ == "__main__":
    main()
