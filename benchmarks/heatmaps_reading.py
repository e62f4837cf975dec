r"""Measure how poses are best read out of patch heatmaps: control points, box, sharpness, modes, patches.

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

from pose_estimation_ros.methods.heatmaps.estimator import Heatmaps
from pose_estimation_ros.methods.heatmaps.settings import BoxPriorSettings, HeatmapsSettings
from pose_estimation_ros.pipeline import Pipeline

VARIANTS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "box_prior.enabled: false": {"box_prior": BoxPriorSettings(enabled=False)},
    "points: corners": {"points": "corners"},
    "points: corners, box_prior.enabled: false": {"points": "corners", "box_prior": BoxPriorSettings(enabled=False)},
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
    images = BopImages(arguments)
    bundle, dataset = images.bundle, images.dataset
    targets = images.targets
    alone = {item.object_id for item in targets} - {item.object_id for item in targets if item.instances > 1}
    print("| | ADD(-S) 0.1d % | 2D projection 5 px % | AR_MSSD | AR_MSPD | depth error % |\n|---|---|---|---|---|---|")
    for name, changed in VARIANTS.items():
        backend = Heatmaps.from_bundle(bundle, torch.device("cpu"), HeatmapsSettings(**changed))
        estimates = poses(Pipeline(bundle, backend, device="cpu", settings={"tracking.enabled": False}), dataset)
        mean = images.mean(estimates)
        found = depth_ratios(estimates, dataset)
        depth = np.median([np.median([ratio for key, ratio in found if key == number]) for number in alone])
        first = " | ".join(f"{100.0 * mean[key]:.1f}" for key in ("add_s_0_1d", "projection_5px"))
        second = " | ".join(f"{mean[key]:.3f}" for key in ("ar_mssd", "ar_mspd"))
        print(f"| {name} | {first} | {second} | {100.0 * depth:+.1f} |", flush=True)


if __name__ == "__main__":
    main()
