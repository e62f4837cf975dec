"""pose_adapt_hands: let the hand network gain from depth images with known joints, by feature mapping.

Takes depth images of one camera and the joints in them as pose_evaluate_hands does, draws hands with these joints, and
trains the network with a mapping from features of the images to those of the drawings. The mapping goes into the bundle
with the network.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from pose_estimation_ros.cli.adapted_bundle import (
    adapt_bundle,
    add_training_options,
    run_adaptation,
    spread_evenly,
    training_seconds,
)
from pose_estimation_ros.cli.recipes import read_model, validated
from pose_estimation_ros.data.hand_pairs import hand_windows
from pose_estimation_ros.data.hand_scenes import HandScenes
from pose_estimation_ros.data.nyu_hand import CAMERA, read_joints
from pose_estimation_ros.data.nyu_images import VIEWS, depth_paths, read_depth
from pose_estimation_ros.methods.base import import_object
from pose_estimation_ros.methods.registry import find_method
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.settings import parse_assignments

METHOD = "hands"
_PROGRAM = "pose_adapt_hands"


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    return run_adaptation(_PROGRAM, lambda: _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_PROGRAM, description=__doc__)
    add = parser.add_argument
    add("--bundle", required=True, help="folder of the bundle, or the name of a shipped one")
    add("--images", type=Path, required=True, metavar="DIR", help="folder with depth_<view>_0000001.png and so on")
    add("--groundtruth", type=Path, required=True, metavar="FILE", help="true joints, a line for every image")
    add("--view", type=int, choices=VIEWS, default=VIEWS[0], help="whose images (default: %(default)s)")
    add("--count", type=int, metavar="N", help="only so many of the images, spread evenly")
    add_training_options(parser, "HandAdaptationRecipe", f"runs/BUNDLE/adapt_{METHOD}")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    seconds = training_seconds(arguments)
    bundle = load_bundle(arguments.bundle)
    training = find_method("hands", METHOD).training
    assert training is not None and training.adaptation is not None
    adaptation, role = import_object(training.adaptation), training.role
    recipe = read_model(adaptation.recipe, arguments.config, parse_assignments(arguments.assignments))
    origin = f"{bundle.path}: networks.{role}.training.recipe"
    trained_by = validated(training.recipe_model(), bundle.network(role).training.get("recipe", {}), origin)
    scenes = _scenes(arguments)
    adapt_bundle(bundle, role, arguments, None, lambda run: adaptation.adapt(run, trained_by, recipe, scenes, seconds))


def _scenes(arguments: argparse.Namespace) -> HandScenes:
    joints = read_joints(arguments.groundtruth)
    paths = depth_paths(arguments.images, arguments.view, len(joints))
    chosen = spread_evenly(len(paths), arguments.count, "--count")
    images = (torch.from_numpy(read_depth(paths[number])) for number in chosen)
    return hand_windows(images, CAMERA, torch.from_numpy(joints[chosen]))


if __name__ == "__main__":
    sys.exit(main())
