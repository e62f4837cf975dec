r"""Measure how poses are best read out of patch heatmaps: control points, box, votes, peaks, patches.

    python benchmarks/heatmaps_reading.py --bundle models/demo --bop models/demo/sequence --image-step 4

Runs the backend `heatmaps` in ground-truth boxes with one setting after the other changed. The last column is the
median over the objects of the signed depth error: positive where the sum of undecided patches draws objects together.
Objects with several instances in an image are left out there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from bop_images import BopImages, arguments_parser
from pix2pose_parts import depth_ratios, poses

from pose_estimation_ros.evaluation.results import Rows, origin_of, write_result
from pose_estimation_ros.methods.heatmaps.estimator import Heatmaps
from pose_estimation_ros.methods.heatmaps.settings import HeatmapsBoxPriorSettings, HeatmapsSettings
from pose_estimation_ros.pipeline import Pipeline

FIGURES = ("add_s_0_1d", "projection_5px", "ar_mssd", "ar_mspd")
VARIANTS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "box_prior.enabled: false": {"box_prior": HeatmapsBoxPriorSettings(enabled=False)},
    "points: corners": {"points": "corners"},
    "points: corners, box_prior.enabled: false": {
        "points": "corners",
        "box_prior": HeatmapsBoxPriorSettings(enabled=False),
    },
    "points: surface": {"points": "surface"},
    "vote_exponent: 1, the plain sum": {"vote_exponent": 1.0},
    "vote_exponent: 2": {"vote_exponent": 2.0},
    "vote_exponent: 6": {"vote_exponent": 6.0},
    "peaks_per_point: 1": {"peaks_per_point": 1},
    "peaks_per_point: 4": {"peaks_per_point": 4},
    "patches: 25": {"patches": 25},
    "patches: 144": {"patches": 144},
    "patches: all": {"patches": 4096},
}


def main() -> None:
    """Run the benchmark and print the table."""
    parser = arguments_parser(__doc__, "models/demo")
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/heatmaps_reading.py")
    images = BopImages(arguments)
    bundle, dataset = images.bundle, images.dataset
    targets = images.targets
    alone = {item.object_id for item in targets} - {item.object_id for item in targets if item.instances > 1}
    rows = Rows()
    for name, changed in VARIANTS.items():
        backend = Heatmaps.from_bundle(bundle, torch.device("cpu"), HeatmapsSettings(**changed))
        estimates = poses(Pipeline(bundle, backend, device="cpu", settings={"tracking.enabled": False}), dataset)
        mean = images.mean(estimates)
        found = depth_ratios(estimates, dataset)
        depth = np.median([np.median([ratio for key, ratio in found if key == number]) for number in alone])
        rows.add(variant=name, **{key: mean[key] for key in FIGURES}, depth_error=float(depth))
    if arguments.result:
        write_result(arguments.result, origin, {"images": len(dataset.images), "rows": rows})


if __name__ == "__main__":
    main()
