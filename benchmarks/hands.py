"""Measure a hand network on depth renderings of hands it has never seen, from the whole image to the joints.

    python benchmarks/hands.py --bundle models/hands [--frames 200]

Proportions vary more than in the training. Three cameras: one without noise, one with the noise of the training, and
one with more noise, of other strength in every part. No true centre is used: hands are searched for.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from pose_estimation_ros.data.depth_noise import DepthNoise
from pose_estimation_ros.data.hand_scenes import HandSceneConfig, draw_frames
from pose_estimation_ros.data.nyu_hand import CAMERA, PALM
from pose_estimation_ros.evaluation.hands import THRESHOLDS_MM, joint_errors, joint_rows, success
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.hands.estimator import HandFinder, load
from pose_estimation_ros.methods.hands.settings import HandSettings
from pose_estimation_ros.objects.bundle import load_bundle

_CHUNK = 4  # frames drawn at once
_SEED = 90_000  # far from those of trainings
_STRONG = DepthNoise(
    disparity_step_px=0.25, disparity_noise_px=0.15, torn_share=0.4, grazing_deg=72.0, hole_share=0.05, baseline_m=0.09
)
CAMERAS = {
    "no noise": HandSceneConfig(noisy_share=0.0, variation=0.065),
    "noise as in the training": HandSceneConfig(noisy_share=1.0, variation=0.065),
    "stronger noise": HandSceneConfig(noisy_share=1.0, variation=0.065, noise=_STRONG),
}
_MM = 1000.0


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="hands")
    parser.add_argument("--frames", type=int, default=200, help="of every camera")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/hands.py")
    torch.set_num_threads(1)
    finder = every_hand_finder(arguments.bundle)
    rows, joints = Rows(), {}
    for name, config in CAMERAS.items():
        errors, seconds = measure(finder, config, arguments.frames)
        joints[name] = errors
        rows.add(
            camera=name,
            frames=arguments.frames,
            found=len(errors) / arguments.frames,
            mean_mm=float(errors.mean() * _MM),
            median_mm=float(np.median(errors) * _MM),
            palm_mm=float(errors[:, PALM].mean() * _MM),
            **{f"within_{limit}_mm": success(errors, limit / _MM) for limit in THRESHOLDS_MM},
            per_second=1.0 / float(np.median(seconds)),
        )
    if arguments.result:
        write_result(arguments.result, origin, {"rows": rows, "joints": joint_rows(joints)}, _SEED)


def every_hand_finder(bundle: str | Path) -> HandFinder:
    """Load a bundle so that every hand counts, however badly it is found; the limits of the settings are for use."""
    settings = HandSettings(max_hands=1, min_inside=0.0, min_score=0.0)
    return load(LoadContext(load_bundle(bundle), torch.device("cpu"), settings))


def measure(finder: HandFinder, config: HandSceneConfig, frames: int) -> tuple[np.ndarray, list[float]]:
    """Return the joint errors (N, 14) in metres of the N frames in which a hand was found, and the seconds of each."""
    errors, seconds = [], []
    for start in range(0, frames, _CHUNK):
        generator = torch.Generator().manual_seed(_SEED + start)
        scenes = draw_frames(min(_CHUNK, frames - start), config, CAMERA, generator)
        for depth, true in zip(scenes.depth.numpy(), scenes.joints.double().numpy(), strict=True):
            started = time.perf_counter()
            hands = finder.find(depth, CAMERA).hands
            seconds.append(time.perf_counter() - started)
            if hands:
                errors.append(joint_errors(hands[0].joints[None], true[None])[0])
    return np.array(errors), seconds


if __name__ == "__main__":
    main()
