"""Let a bundle estimate the hands of the NYU data set's images, for pose_evaluate_hands."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pose_estimation_ros.cli.settings_options import add_settings_option
from pose_estimation_ros.data.nyu_hand import CUBE_SIDES_M, points_from_uvd, write_joints
from pose_estimation_ros.data.nyu_images import VIEWS, depth_paths
from pose_estimation_ros.evaluation.hand_run import count_misses, counted_joints, describe_misses, find_hands
from pose_estimation_ros.evaluation.partial import partial_file
from pose_estimation_ros.methods.base import LoadContext, Method
from pose_estimation_ros.methods.registry import find_method
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.pipeline_settings import resolve_method
from pose_estimation_ros.settings import Layer, Settings, list_settings, parse_assignments, refuse_unknown, values_of

METHOD = "hands"
_CUBE_SIDE = f"{METHOD}.cube_side_m"
# There is one hand in every image, and it counts, however badly it is found; the limits of the settings are for use.
_EVERY_HAND = {f"{METHOD}.max_hands": 1, f"{METHOD}.min_inside": 0.0, f"{METHOD}.min_score": 0.0}
_NEEDING_BUNDLE = ("images", "view", "write", "resume", "device", "set")


@dataclass(frozen=True)
class BundleResult:
    """What a bundle made of the data set."""

    joints: np.ndarray  # (N, 14, 3) metres; where no hand was found, those that count in its place
    misses: int  # images without a found hand
    note: str | None  # about them


def add_bundle_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of a run."""
    add = group.add_argument
    add("--bundle", metavar="DIR", help="bundle with a network for hands, a folder or the name of a shipped one")
    add("--images", type=Path, metavar="DIR", help="folder with depth_<view>_0000001.png and so on")
    add("--view", type=int, choices=VIEWS, help="whose images; the ground truth has to be of the same (default: 1)")
    add("--write", type=Path, metavar="FILE", help="the estimated joints, as --predictions takes them")
    add("--resume", action="store_true", help="go on with an interrupted run; needs the same --write")
    add("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    add_settings_option(group)


def check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that contradict each other.

    Raises:
        ValueError: naming the option.
    """
    if arguments.bundle is None:
        given = vars(arguments) | {"set": arguments.assignments}
        for name in _NEEDING_BUNDLE:
            if given[name]:
                raise ValueError(f"--{name}: needs --bundle")
        if not arguments.predictions:
            raise ValueError("neither --predictions nor --bundle: expected at least one of them")
        return
    if arguments.images is None:
        raise ValueError("--bundle: needs --images, the folder with the depth images")
    if arguments.write is None:
        if arguments.resume:
            raise ValueError("--resume: needs --write, beside whose file the finished images are kept")
        return
    if arguments.write.is_dir():
        raise ValueError(f"--write {arguments.write}: is a folder; expected a file")
    for path in (arguments.groundtruth, *arguments.predictions):
        if path.exists() and arguments.write.exists() and path.samefile(arguments.write):
            raise ValueError(f"--write {arguments.write}: is read as well; expected another file")


def run_bundle(bundle: Bundle, arguments: argparse.Namespace, subjects: np.ndarray) -> BundleResult:
    """Estimate the hands of all images.

    Args:
        bundle: has the network.
        arguments: of the command line.
        subjects: of every frame, counted from 0, shape (N,).

    Raises:
        ValueError: if images, bundle or settings cannot be used, or no image has a hand.
    """
    from tqdm import tqdm

    method = find_method("hands", METHOD)
    view = arguments.view or VIEWS[0]
    paths = depth_paths(arguments.images, view, len(subjects))
    device = resolve_device(arguments.device or "auto")
    chosen = _subject_settings(method, bundle, int(subjects.max()) + 1, arguments.assignments)
    finders = [method.make(LoadContext(bundle, device, settings)) for settings in chosen]
    context: dict[str, Any] = {
        "bundle": bundle.name,
        "weights_sha256": {role: bundle.network(role).sha256 for role in method.roles},
        "images": str(arguments.images.resolve()),
        "view": view,
        "subjects": np.bincount(subjects).tolist(),
        "settings": [dict(values_of(settings)) for settings in chosen],
        "device": str(device),
    }
    unfinished = partial_file(arguments.write) if arguments.write else None
    records = find_hands(
        paths,
        [finders[subject] for subject in subjects],
        unfinished,
        context,
        arguments.resume,
        progress=lambda frames: tqdm(frames, desc="images", unit="image", disable=None),
    )
    uvd = counted_joints(records)
    if unfinished is not None:
        write_joints(arguments.write, uvd)
        unfinished.unlink()
    misses = count_misses(records)
    note = (
        f"no hand found in {misses} of {len(records)} frames ({describe_misses(records)}); they count with the joints "
        "of the last hand before them"
    )
    return BundleResult(points_from_uvd(uvd), misses, note if misses else None)


def _subject_settings(method: Method, bundle: Bundle, subjects: int, assignments: list[str]) -> list[Settings]:
    """Return the settings for every subject, whose hands have cubes of their own unless `--set` says another side."""
    given = parse_assignments(assignments)
    known = [item.name for item in list_settings(method.settings_model(), f"{METHOD}.")]
    refuse_unknown(given.values, known, given.origin)
    if subjects > len(CUBE_SIDES_M) and _CUBE_SIDE not in given.values:
        raise ValueError(
            f"--subject-frames: {subjects} subjects, cubes are known of {len(CUBE_SIDES_M)}; give one side for all of "
            f"them with --set {_CUBE_SIDE}=METRES"
        )
    sides = [CUBE_SIDES_M[min(number, len(CUBE_SIDES_M) - 1)] for number in range(subjects)]
    own = [Layer("the command", {**_EVERY_HAND, _CUBE_SIDE: side}) for side in sides]
    return [resolve_method(method, bundle, [layer, given]) for layer in own]
