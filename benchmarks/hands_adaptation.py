"""What depth images of a new camera bring to the hand network: none, plain fine-tuning, feature mapping.

    python benchmarks/hands_adaptation.py --bundle models/hands

The camera has stronger noise than that of the training (see benchmarks/hands.py). The network is adapted with so many
of its images, of hands with new proportions whose joints are known, and measured on others, of other hands, from the
whole image to the joints; on images without noise as well, to see what it forgets.
What is finished lies in the working folder and is not made again by the same bundle and options.
"""

from __future__ import annotations

import argparse
import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import torch
from hands import CAMERAS, every_hand_finder, measure

from pose_estimation_ros.data.hand_pairs import hand_windows
from pose_estimation_ros.data.hand_scenes import HandScenes, draw_frames
from pose_estimation_ros.data.nyu_hand import CAMERA
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.methods.hands.adaptation import HandAdaptationRecipe, adapt_hands
from pose_estimation_ros.methods.hands.training import ROLE, HandRecipe
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.training.trainer import TrainingRun

TRAININGS = {"fine-tuning": False, "mapping": True}
NEW, CLEAN = "stronger noise", "no noise"
_SEED = 50_000  # of the images for the adaptation; those of the measurement have others
_CHUNK = 10  # images drawn at once
_MM = 1000.0


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="hands")
    parser.add_argument("--counts", type=int, nargs="+", default=[50, 200, 1000], help="images adapted with")
    parser.add_argument("--frames", type=int, default=200, help="measured, of every camera")
    parser.add_argument("--samples", type=int, default=12_000, help="of every adaptation")
    parser.add_argument("--out", type=Path, default=Path("runs/hands_adaptation"), help="working folder")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/hands_adaptation.py")
    torch.set_num_threads(1)
    rows = Rows()
    made_of = [load_bundle(arguments.bundle).network(ROLE).sha256, arguments.samples, arguments.frames]
    first = _measured(arguments.bundle, arguments.out / "none", made_of)
    rows.add(training="none", images=0, **first)
    scenes = _scenes(max(arguments.counts))
    for count, training in product(arguments.counts, TRAININGS):
        folder = arguments.out / f"{training}_{count}"
        bundle = folder / "bundle"
        if _finished(folder, made_of) is None:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(load_bundle(arguments.bundle).path, bundle)
            _adapt(bundle, folder / "work", scenes, count, TRAININGS[training], arguments.samples)
        rows.add(training=training, images=count, **_measured(bundle, folder, made_of))
    if arguments.result:
        figures = {"rows": rows, "samples": arguments.samples, "frames": arguments.frames}
        write_result(arguments.result, origin, figures, _SEED)


def _scenes(count: int) -> HandScenes:
    """Draw images of the new camera and cut out the hands; fewer are the first of more."""
    parts = []
    for start in range(0, count, _CHUNK):
        frames = draw_frames(_CHUNK, CAMERAS[NEW], CAMERA, torch.Generator().manual_seed(_SEED + start))
        parts.append(hand_windows(frames.depth, CAMERA, frames.joints))
    return HandScenes(*(torch.cat([getattr(part, name) for part in parts])[:count] for name in vars(parts[0])))


def _adapt(bundle: Path, work: Path, scenes: HandScenes, count: int, mapping: bool, samples: int) -> None:
    loaded = load_bundle(bundle)
    recipe = HandAdaptationRecipe(samples=samples, mapping=mapping)
    trained_by = HandRecipe.model_validate(loaded.network(ROLE).training["recipe"])
    adapt_hands(TrainingRun(loaded, work), trained_by, recipe, scenes.chosen(torch.arange(count)))


def _finished(folder: Path, made_of: list[Any]) -> dict[str, float] | None:
    """Return the mean errors that lie in a folder, if they were made of the same weights, samples and frames."""
    path = folder / "errors.json"
    content = json.loads(path.read_text()) if path.is_file() else {}
    return dict(content["errors"]) if content.get("made_of") == made_of else None


def _measured(bundle: str | Path, folder: Path, made_of: list[Any]) -> dict[str, float]:
    """Return the mean errors of a bundle, measured or read from its folder."""
    errors = _finished(folder, made_of)
    if errors is None:
        finder, errors = every_hand_finder(bundle), {}
        for name, key in ((NEW, "new_camera_mm"), (CLEAN, "no_noise_mm")):
            found, _ = measure(finder, CAMERAS[name], made_of[-1])
            errors[key] = float(found.mean() * _MM)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "errors.json").write_text(json.dumps({"made_of": made_of, "errors": errors}))
    return errors


if __name__ == "__main__":
    main()
