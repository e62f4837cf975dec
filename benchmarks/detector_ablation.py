"""What each part brings to the detector: short trainings that differ in one thing, scored on photographs.

    python benchmarks/detector_ablation.py --bop ../shared/data/lmo --work runs/detector_ablation

Every variant sees as many scenes (--samples) as the others. Only even photographs are looked at. A variant that is
finished in --work is not trained again. About ten minutes a variant on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from detection import score_detector
from short_training import trained

from pose_estimation_ros.cli.evaluate_images import slice_images
from pose_estimation_ros.cli.recipes import read_mapping
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.methods.mask_rcnn.training import train_detector
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.training.scene_training import DetectorRecipe

EVEN = "0:60:2"
RECIPE = Path("config/train/lmo/2_detector.yaml")
SMALL_SCENES = {"width": 384, "height": 288, "focal_px": [400, 460], "patch": 96}  # of an input 480 wide
PLAIN_SCENES = {
    **dict.fromkeys(("tables", "shadows", "printed", "motion_blur", "demosaic", "jpeg"), 0.0),
    "background_zoom": [0.5, 1.0],
}
PLAIN_BANK = {
    "background_folder": None,
    "background_px": 192,
    "backgrounds": 300,
    "clutter_folder": None,
    "clutter": 24,
    "clutter_views": 40,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "as the recipe, 480 wide": {},
    "640 wide": {"input_width": 640, "network": {}, "scenes": {}},
    "encoder rate 0.1": {"encoder_rate": 0.1},
    "encoder rate 1": {"encoder_rate": 1.0},
    "nothing frozen": {"frozen_stages": 0},
    "encoder frozen": {"encoder_rate": 0.0, "frozen_stages": 0},
    "statistics of the batch": {"frozen_statistics": False},
    "compact encoder, from nothing": {
        "network": {"encoder": "own"},
        "pretrained": None,
        "encoder_from": None,
        "encoder_rate": 1.0,
        "frozen_stages": 0,
        "frozen_statistics": False,
    },
    "plain scenes": {"scenes": {**SMALL_SCENES, **PLAIN_SCENES}, "bank": PLAIN_BANK},
    "plain scenes, photographs behind": {"scenes": {**SMALL_SCENES, **PLAIN_SCENES, "background_zoom": [0.3, 1.0]}},
}


def main() -> None:
    """Train the variants, score them and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/lmo")
    parser.add_argument("--bop", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/detector_ablation"))
    parser.add_argument("--samples", type=int, default=1500)
    parser.add_argument("--only", choices=list(VARIANTS), nargs="+", default=list(VARIANTS))
    parser.add_argument("--device", default="cpu")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/detector_ablation.py")
    dataset = BopDataset(arguments.bop)
    even = slice_images(dataset.images, "EVEN", EVEN)
    rows = Rows()
    for number, name in enumerate(VARIANTS):
        if name not in arguments.only:
            continue
        print(f"{name}:")
        wanted = recipe(VARIANTS[name], arguments.samples)
        folder, meshes = arguments.work / str(number), arguments.bop / "models"
        bundle = load_bundle(
            trained(arguments.bundle, folder, "detector", train_detector, wanted, meshes, arguments.device)
        )
        table, milliseconds = score_detector(bundle, dataset, even, arguments.device)
        mean = table[-1]
        training = bundle.network("detector").training
        rows.add(
            variant=name,
            **{key: mean[key] for key in ("ap", "ap50", "recall", "false_alarms")},
            seconds_per_scene=training["seconds"] / training["samples"],
            milliseconds=milliseconds,
        )
    if arguments.result:
        figures = {"rows": list(rows), "samples": arguments.samples, "images": len(even)}
        write_result(arguments.result, origin, figures, recipe(VARIANTS[rows[0]["variant"]], 1).seed)


def recipe(changes: dict[str, Any], samples: int) -> DetectorRecipe:
    """Return the recipe of a variant."""
    content = read_mapping(RECIPE)
    small = {"input_width": 480, "network": {"encoder": "lite0"}, "scenes": SMALL_SCENES}
    schedule = {"samples": samples, "optimiser": {"warmup_samples": samples // 5, "ema_samples": samples // 4}}
    for layer in (small if changes.get("input_width") is None else {}, changes, schedule):
        for key, value in layer.items():
            replaced = key == "network" and value
            content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) and not replaced else value
    return DetectorRecipe.model_validate(content)


if __name__ == "__main__":
    main()
