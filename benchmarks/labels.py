r"""Measure what pose_label makes of rough poses, and whether it knows which of the results are right.

    python benchmarks/labels.py --bundle models/lmo --bop ../shared/data/lmo --image-range 1:60:2 --images 20
    python benchmarks/labels.py --bundle models/lmo --bop ../shared/data/lmo --image-range 0:60:2 --images 10 --fit

Turns the true poses of photographs by 10 degrees about random axes and moves them by 3 cm in random directions, runs
`pose_label --auto` on them, and compares the labels with the truth: right is a mean projection error of the model's
points of at most 5 pixels, of symmetric objects to the nearest pose that looks the same. AUC: the chance that of two
labels, one right and one wrong, the right one has the smaller residual, or the greater probability. Of the accepted
labels it also says how many are within 10 pixels: what is farther off is a gross error.

What is finished lies in the working folder, in one of its own for these photographs and this seed, and is not made
again; how likely a label is right is worked out anew.

`--fit` prints the numbers that `judge` of LabelSettings wants: the three that it fits, and the median similarity, which
stands in where a refiner says none. Fit them on other photographs than you report.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation
from scipy.stats import mannwhitneyu

from pose_estimation_ros.cli import label
from pose_estimation_ros.cli.adapt import chosen_images
from pose_estimation_ros.data.bop import MIN_VISIBILITY, BopDataset, BopImage
from pose_estimation_ros.data.bop_writer import BopWriter
from pose_estimation_ros.evaluation.localisation import object_points
from pose_estimation_ros.evaluation.metrics import PROJECTION_PX, ObjectPoints, projection_error
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.labelling.edge_check import EdgeFit, reduction
from pose_estimation_ros.labelling.labeller import probability as probability_of
from pose_estimation_ros.labelling.labels import LABELS_FILE
from pose_estimation_ros.labelling.settings import JudgeSettings
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.catalog import Catalog

ROTATION_DEG, SHIFT_M = 10.0, 0.03
NEAR_PX = 10.0  # beyond, a label is no near miss


@dataclass(frozen=True)
class Case:
    """One rough pose, and what became of it."""

    name: str
    start_px: float  # mean projection error
    label_px: float
    residual_px: float  # of a 640 pixels wide image, as `judge` weighs it; infinite where too little is seen
    similarity: float  # NaN where unknown
    probability: float

    @property
    def is_right(self) -> bool:
        """Tell whether the label is."""
        return self.label_px <= PROJECTION_PX


def main() -> None:
    """Run the benchmark and print the table."""
    arguments = _parser().parse_args()
    origin = origin_of("python benchmarks/labels.py")
    dataset = BopDataset(arguments.bop)
    dataset.images = chosen_images(dataset.images, arguments.image_range, arguments.images)
    catalog = load_bundle(arguments.bundle).catalog
    chosen = f"{arguments.image_range}_{arguments.images}_{arguments.seed}".replace(":", "-")
    work = arguments.work / chosen
    rough = work / "photos"
    poses = {image.key: _perturbed(image, catalog, arguments.seed) for image in dataset.images}
    if not rough.exists():  # else of a run that was interrupted: the same poses
        _write(dataset, poses, rough)
    options = ["--bundle", arguments.bundle, "--photos", str(rough), "--out", str(work / "labels")]
    code = label.main([*options, "--mesh-dir", str(arguments.bop / "models"), "--auto", "--device", "cpu"])
    if code != 0:
        raise SystemExit(f"pose_label ended with code {code}")
    cases = _cases(dataset, catalog, poses, work / "labels" / LABELS_FILE)
    rows = Rows()
    for name in [model.name for model in catalog] + ["all"]:
        rows.add(object=name, **_figures([case for case in cases if name in (case.name, "all")]))
    if arguments.fit:
        names = ("intercept", "per_residual_px", "per_similarity", "usual_similarity")
        values = (*_fitted(cases), np.nanmedian([case.similarity for case in cases]))
        print("judge: " + ", ".join(f"{name} {value:.2f}" for name, value in zip(names, values, strict=True)))
    if arguments.result:
        write_result(arguments.result, origin, {"images": len(dataset.images), "rows": rows}, arguments.seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--bop", type=Path, required=True, help="photographs with true poses")
    parser.add_argument("--image-range", metavar="A:B[:STEP]", help="only these photographs")
    parser.add_argument("--images", type=int, metavar="N", help="only so many of them, spread evenly")
    parser.add_argument("--work", type=Path, default=Path("runs/labels"), help="working folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fit", action="store_true", help="print the numbers of `judge`")
    add_result_option(parser)
    return parser


Poses = list[tuple[int, np.ndarray, np.ndarray]]  # object id, true and rough pose (4, 4)


def _perturbed(image: BopImage, catalog: Catalog, seed: int) -> Poses:
    """Return the known objects of an image that can be seen, with rough poses."""
    random = np.random.default_rng([seed, *image.key])
    found = []
    for truth in image.ground_truth:
        index = catalog.index_of_id(truth.object_id)
        if index is None or truth.visibility < MIN_VISIBILITY:
            continue
        axis, direction = (vector / np.linalg.norm(vector) for vector in random.normal(size=(2, 3)))
        pose, centre = truth.camera_from_object.copy(), catalog[index].centre_m
        place = pose[:3, :3] @ centre + pose[:3, 3] + SHIFT_M * direction
        pose[:3, :3] = Rotation.from_rotvec(np.radians(ROTATION_DEG) * axis).as_matrix() @ pose[:3, :3]
        pose[:3, 3] = place - pose[:3, :3] @ centre
        found.append((truth.object_id, truth.camera_from_object, pose))
    return found


def _write(dataset: BopDataset, poses: dict[tuple[int, int], Poses], folder: Path) -> None:
    """Write the photographs with their rough poses; the folder is there once it is whole."""
    part = folder.with_name(folder.name + ".part")
    if part.exists():  # of a run that was interrupted
        shutil.rmtree(part)
    for scene_id in sorted({image.scene_id for image in dataset.images}):
        with BopWriter(part, dataset.split, scene_id) as writer:
            for image in (item for item in dataset.images if item.scene_id == scene_id):
                rough = [(object_id, pose) for object_id, _, pose in poses[image.key]]
                writer.add(dataset.read_rgb(image), image.camera, rough, image_id=image.image_id)
    part.rename(folder)


def _cases(dataset: BopDataset, catalog: Catalog, poses: dict[tuple[int, int], Poses], report: Path) -> list[Case]:
    """Pair labels, which come in the order of the rough poses, with the truth."""
    photos = json.loads(report.read_text())["photos"]
    points = object_points(dataset.models_dir, dataset.catalog, {model.object_id for model in catalog})
    judge, found = JudgeSettings(), []
    for image in dataset.images:
        pixel = reduction(image.camera)
        labels = photos[f"{image.scene_id:06d}/{image.image_id:06d}"]["labels"]
        for (object_id, truth, rough), item in zip(poses[image.key], labels, strict=True):
            model, intrinsics = points[object_id], image.camera.intrinsics
            residual, similarity = item["residual_px"], item["similarity"]
            fit = EdgeFit(residual, item["matched"])
            found.append(
                Case(
                    item["object"],
                    _error(model, rough, truth, intrinsics),
                    _error(model, np.array(item["camera_from_object"]), truth, intrinsics),
                    np.inf if residual is None else residual / pixel,
                    np.nan if similarity is None else similarity,
                    probability_of(judge, fit, similarity, pixel),
                )
            )
    return found


def _error(model: ObjectPoints, pose: np.ndarray, truth: np.ndarray, intrinsics: np.ndarray) -> float:
    return min(projection_error(model.points, pose, truth @ other, intrinsics) for other in model.symmetries)


def _figures(cases: Sequence[Case]) -> dict[str, Any]:
    right = np.array([case.is_right for case in cases])
    near = np.array([case.label_px <= NEAR_PX for case in cases])
    residual, probability = (
        np.array([getattr(case, name) for case in cases]) for name in ("residual_px", "probability")
    )
    accepted = probability >= JudgeSettings().accepted_probability
    return {
        "poses": len(cases),
        "start_px": float(np.median([case.start_px for case in cases])),
        "label_px": float(np.median([case.label_px for case in cases])),
        "start_right": float(np.mean([case.start_px <= PROJECTION_PX for case in cases])),
        "right": float(right.mean()),
        "auc_residual": _auc(-residual, right),
        "auc_probability": _auc(probability, right),
        "accepted": float(accepted.mean()),
        "accepted_near": float(near[accepted].mean()) if accepted.any() else None,
        "accepted_right": float(right[accepted].mean()) if accepted.any() else None,
        "doubted_right": float(right[~accepted].mean()) if (~accepted).any() else None,
    }


def _auc(score: np.ndarray, right: np.ndarray) -> float | None:
    """Return the area under the ROC curve of scores, higher for the right ones; None where all are of one kind."""
    if right.all() or not right.any():
        return None
    good, bad = score[right], score[~right]
    return float(mannwhitneyu(good, bad).statistic / (len(good) * len(bad)))


def _fitted(cases: Sequence[Case]) -> np.ndarray:
    """Return intercept and weights of residual and similarity under which what became of the cases is likeliest."""
    known = [case for case in cases if np.isfinite(case.residual_px) and np.isfinite(case.similarity)]
    values = np.array([[1.0, case.residual_px, case.similarity] for case in known])
    sign = np.array([1.0 if case.is_right else -1.0 for case in known])
    return minimize(lambda weights: np.logaddexp(0.0, -sign * (values @ weights)).sum(), np.array([0.0, -1.0, 5.0])).x


if __name__ == "__main__":
    main()
