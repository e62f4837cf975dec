"""Compare the poses that a GPU finds with those that the CPU finds in the same boxes of the same images."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from pose_estimation_ros.cli.benchmark_source import open_source
from pose_estimation_ros.geometry.symmetry import symmetric_distance, symmetry_transforms
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.tracking.object_pose import ObjectPose

_STEP_RAD = 0.01  # of continuous symmetries


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", required=True, help="folder of a bundle, or the name of a shipped one")
    parser.add_argument("--bop", type=Path, help="data set in BOP layout (default: the bundle's own images)")
    parser.add_argument("--split", default="test", help="split of the data set (default: %(default)s)")
    parser.add_argument("--mesh-dir", type=Path, help="where the meshes are that the bundle does not ship")
    parser.add_argument("--refiner", default="none", help="refiner (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=10, help="images (default: %(default)s)")
    parser.add_argument("--device", default="cuda", help="what is compared with the CPU (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args(argv)
    arguments.image = None
    bundle = load_bundle(arguments.bundle)
    figures = compare(bundle, arguments)
    print(json.dumps(figures, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def compare(bundle: Bundle, arguments: argparse.Namespace) -> dict[str, float]:
    """Return how many poses both find, and how far apart these are, in both formats of numbers."""
    _, samples = open_source(arguments, bundle)
    common = {"mesh_dir": arguments.mesh_dir, "refiner": arguments.refiner}
    settings = {"tracking.enabled": False, "verification.enabled": False}
    here = Pipeline(bundle, device="cpu", settings={**settings, "precision": "float32"}, **common)
    wanted = [here.process(replace(item.frame), item.boxes).poses for item in samples]
    figures: dict[str, float] = {}
    for precision in ("float32", "auto"):
        there = Pipeline(bundle, device=arguments.device, settings={**settings, "precision": precision}, **common)
        found = [there.process(replace(item.frame), item.boxes).poses for item in samples]
        figures |= {f"{precision}_{name}": value for name, value in apart(bundle, wanted, found).items()}
    return figures


def apart(bundle: Bundle, wanted: list[list[ObjectPose]], found: list[list[ObjectPose]]) -> dict[str, float]:
    """Return how far apart poses of the same boxes are: medians, and of nine in ten of them."""
    angles, shifts = [], []
    for ours, theirs in zip(wanted, found, strict=True):
        known = {(pose.name, tuple(pose.box.tolist())): pose for pose in theirs}
        for pose in ours:
            other = known.get((pose.name, tuple(pose.box.tolist())))
            index = bundle.catalog.index_of_name(pose.name)
            if other is None or index is None:
                continue
            model = bundle.catalog[index]
            around = [(item.axis, item.offset_m) for item in model.continuous_symmetries]
            symmetries = symmetry_transforms(model.discrete_symmetries, around, _STEP_RAD)
            angle, shift = symmetric_distance(pose.camera_from_object, other.camera_from_object, symmetries)
            angles.append(np.degrees(angle))
            shifts.append(1000.0 * shift)
    count = sum(len(poses) for poses in wanted)
    figures = {"poses": float(count), "found_by_both": float(len(angles))}
    for name, values in (("rotation_deg", angles), ("translation_mm", shifts)):
        figures |= {f"{name}_{share}": float(np.quantile(values, share / 100.0)) for share in (50, 90) if values}
    return figures


if __name__ == "__main__":
    sys.exit(main())
