r"""Measure how honest the poses' covariances are: how many true translations lie within one and two sigma.

    python benchmarks/covariance.py --image-range 1:40:2
    python benchmarks/covariance.py --bundle models/lmo --bop ../shared/data/lmo --image-range 0:60:2 --fit

Estimates poses with every backend, with and without refiner, pairs those of each object with its instances so that the
sum of the distances is least, and compares the errors with what was said of them. All poses that have a partner count,
gross failures (off by more than half the diameter, or turned by more than 30 degrees) too. Symmetric objects are
compared with the nearest pose that looks the same. Of a Gaussian, 68.3 % lie within one sigma and 95.4 % within two;
the squared Mahalanobis distance is 3 on average (median 2.37), of translations and of rotations.

`--fit` prints the factors that `covariance_scale` of the backend, or of the refiner, all its rows together, wants to be
multiplied by. Fit them on other images than you report.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from pose_estimation_ros.cli.settings_options import add_settings_option, settings_of
from pose_estimation_ros.data.bop import MIN_VISIBILITY, BopDataset, BopImage, targets_from
from pose_estimation_ros.evaluation.calibration import Calibration, calibration, pose_error
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.evaluation.run import truth_detections
from pose_estimation_ros.methods.registry import NONE, choices
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.tracking.object_pose import ObjectPose
from pose_estimation_ros.tracking.tracker import object_symmetries

FRAME_NS = 100_000_000
GROSS_DIAMETERS, GROSS_DEG = 0.5, 30.0


@dataclass
class Found:
    """What one choice of methods said, and how wrong it was."""

    errors: list[np.ndarray] = field(default_factory=list)
    covariances: list[np.ndarray] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)
    unknown: int = 0  # poses without covariance
    unpaired: int = 0  # poses of objects that are not there
    gross: int = 0  # failures among the poses with covariance

    def calibration(self) -> Calibration:
        """Return everything that has a covariance."""
        return calibration(self.errors, self.covariances, self.poses)


def main() -> None:
    """Run the benchmark and print the table."""
    arguments = _parser().parse_args()
    origin = origin_of("python benchmarks/covariance.py")
    bundle = load_bundle(arguments.bundle)
    dataset = BopDataset(arguments.bop or bundle.path / "sequence", arguments.split)
    dataset.images = dataset.images[_range(arguments.image_range)]
    backends = arguments.backend or [name for name in choices("backend") if name in bundle.networks]
    fits: dict[str, list[Calibration]] = {}
    rows = Rows()
    for backend in backends:
        for refiner in arguments.refiner or choices("refiner"):
            found = measure(arguments, bundle, dataset, backend, refiner)
            rows.add(backend=backend, refiner=refiner, **_figures(found))
            if found.errors:
                fits.setdefault(backend if refiner == NONE else refiner, []).append(found.calibration())
    if arguments.result:
        write_result(arguments.result, origin, {"images": len(dataset.images), "rows": rows})
    if arguments.fit:
        for name, parts in fits.items():
            joined = Calibration(
                *(np.concatenate([getattr(part, key) for part in parts]) for key in ("errors", "covariances", "rays"))
            )
            across, along, rotation = joined.factors()
            print(f"{name}.covariance_scale: across * {across:.3g}, along * {along:.3g}, rotation * {rotation:.3g}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/demo")
    parser.add_argument("--bop", type=Path, help="default: the bundle's own sequence")
    parser.add_argument("--split", default="test")
    parser.add_argument("--image-range", default=":", metavar="A:B[:STEP]", help="only these images, B excluded")
    parser.add_argument("--backend", action="append", help="repeatable (default: all that the bundle has weights for)")
    parser.add_argument("--refiner", action="append", help="repeatable (default: all, and none)")
    parser.add_argument("--detections", choices=("gt", "model"), default="gt")
    parser.add_argument("--mesh-dir", type=Path, help="meshes for refiners (default: models/ of the data set)")
    parser.add_argument("--track", action="store_true", help="smooth over time, images as frames .1 s apart")
    parser.add_argument("--fit", action="store_true", help="print by what covariance_scale wants to be multiplied")
    add_settings_option(parser)
    add_result_option(parser)
    return parser


def _range(text: str) -> slice:
    return slice(*(int(part) if part else None for part in text.split(":")))


def measure(arguments: argparse.Namespace, bundle: Bundle, dataset: BopDataset, backend: str, refiner: str) -> Found:
    """Estimate the poses of all images and compare them with the truth."""
    mesh_dir = arguments.mesh_dir or (dataset.models_dir.parent / "models" if bundle.meshes is None else None)
    settings = settings_of(arguments, bundle, tracking__enabled=arguments.track)
    pipeline = Pipeline(bundle, backend, refiner, device="cpu", mesh_dir=mesh_dir, settings=settings)
    symmetries = [object_symmetries(model) for model in bundle.catalog]
    found = Found()
    for number, image in enumerate(tqdm(dataset.images, desc=f"{backend}, {refiner}", unit="image")):
        boxes = None
        if arguments.detections == "gt":
            boxes = truth_detections(image, targets_from([image]), dataset.catalog)
        result = pipeline.process(replace(dataset.frame(image), stamp_ns=number * FRAME_NS), boxes)
        for index, model in enumerate(bundle.catalog):
            poses = [item for item in result.poses if item.object_index == index]
            truths = _truths(image, model.object_id)
            pairs = _pairs(poses, truths)
            found.unpaired += len(poses) - len(pairs)
            for row, column in pairs:
                _add(found, poses[row], truths[column], symmetries[index], model.diameter_m)
    return found


def _truths(image: BopImage, object_id: int) -> list[np.ndarray]:
    return [
        item.camera_from_object
        for item in image.ground_truth
        if item.object_id == object_id and item.visibility >= MIN_VISIBILITY
    ]


def _pairs(poses: Sequence[ObjectPose], truths: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    if not poses or not truths:
        return []
    places = np.stack([item.camera_from_object[:3, 3] for item in poses])
    distances = np.linalg.norm(places[:, None] - np.stack(truths)[None, :, :3, 3], axis=2)
    return list(zip(*linear_sum_assignment(distances), strict=True))


def _add(found: Found, pose: ObjectPose, truth: np.ndarray, transforms: np.ndarray, diameter_m: float) -> None:
    if pose.covariance is None:
        found.unknown += 1
        return
    error = pose_error(pose.camera_from_object, truth, transforms)
    is_far = np.linalg.norm(error[:3]) > GROSS_DIAMETERS * diameter_m
    found.gross += bool(is_far or np.degrees(np.linalg.norm(error[3:])) > GROSS_DEG)
    found.errors.append(error)
    found.covariances.append(pose.covariance)
    found.poses.append(pose.camera_from_object)


def _figures(found: Found) -> dict[str, Any]:
    """Return counts, shares inside one and two sigma per axis, squared Mahalanobis distances; None where unknown."""
    figures: dict[str, Any] = {
        "poses": len(found.errors),
        "unknown": found.unknown,
        "without_truth": found.unpaired,
        "gross": found.gross,
    }
    known = found.calibration() if found.errors else None
    for sigmas in (1, 2):
        shares = known.inside(float(sigmas))[:3] if known else (None, None, None)
        figures |= {f"{axis}_{sigmas}_sigma": share for axis, share in zip("xyz", shares, strict=True)}
    for part, axes in (("translation", slice(0, 3)), ("rotation", slice(3, 6))):
        squared = known.squared_distances(axes) if known else None
        figures[f"{part}_mean"] = None if squared is None else float(squared.mean())
        figures[f"{part}_median"] = None if squared is None else float(np.median(squared))
    return figures


if __name__ == "__main__":
    main()
