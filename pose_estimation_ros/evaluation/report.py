"""From poses and boxes to one report: scores, a table to read, JSON to keep."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pose_estimation_ros.data.bop import MIN_VISIBILITY, BopDataset, BopImage, BopTarget
from pose_estimation_ros.evaluation.bop_results import Estimate
from pose_estimation_ros.evaluation.detection_ap import BoxDetection, BoxTruth, average_precision
from pose_estimation_ros.evaluation.localisation import TargetErrors, target_errors
from pose_estimation_ros.evaluation.metrics import DepthRenderer, ObjectPoints
from pose_estimation_ros.evaluation.results import plain
from pose_estimation_ros.evaluation.run import GtBox, ImageRecord
from pose_estimation_ros.evaluation.scores import mean_scores, score_objects, score_targets, target_rows

_COLUMNS = (  # key, heading, factor, decimals
    ("instances", "n", 1.0, 0),
    ("add_s_0_1d", "ADD(-S)%", 100.0, 1),
    ("projection_5px", "2D5px%", 100.0, 1),
    ("5cm_5deg", "5cm5deg%", 100.0, 1),
    ("ar_mssd", "AR_MSSD", 1.0, 3),
    ("ar_mspd", "AR_MSPD", 1.0, 3),
    ("ar_vsd", "AR_VSD", 1.0, 3),
    ("ar", "AR", 1.0, 3),
    ("auc_add_s", "AUC(-S)%", 1.0, 1),
    ("acc_pi_6_symmetric", "pi/6%", 100.0, 1),
    ("acc_pi_18_symmetric", "pi/18%", 100.0, 1),
    ("median_rotation_deg_symmetric", "rot deg", 1.0, 1),
    ("median_translation_m", "t cm", 100.0, 1),
    ("found", "found%", 100.0, 1),
    ("ap", "AP%", 100.0, 1),
    ("ap50", "AP50%", 100.0, 1),
)


@dataclass(frozen=True)
class Evaluation:
    """Scores of one set of results."""

    objects: dict[int, dict[str, float]]  # by object id
    mean: dict[str, float]  # unweighted over the objects
    all: dict[str, float]  # over all targets, as BOP defines its average recalls
    targets: tuple[TargetErrors, ...]
    seconds_per_image: float | None
    stages_s: dict[str, float]  # mean per stage


def evaluate(
    dataset: BopDataset,
    targets: Sequence[BopTarget],
    estimates: Sequence[Estimate],
    models: dict[int, ObjectPoints],
    boxes: Sequence[BoxDetection] | None = None,
    gt_box: GtBox = "full",
    render_depth: DepthRenderer | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Evaluation:
    """Score poses, and 2D detections where there are some, against the ground truth of a data set."""
    results = target_errors(dataset, targets, estimates, models, render_depth, progress)
    return replace(score(dataset, results, models, boxes, gt_box), seconds_per_image=_seconds(estimates))


def score(
    dataset: BopDataset,
    results: Sequence[TargetErrors],
    models: dict[int, ObjectPoints],
    boxes: Sequence[BoxDetection] | None = None,
    gt_box: GtBox = "full",
    images: Sequence[BopImage] | None = None,
) -> Evaluation:
    """Score errors that were measured before, and 2D detections where there are some; in some of the images or all."""
    keys = {image.key for image in (dataset.images if images is None else images)}
    results = [item for item in results if (item.target.scene_id, item.target.image_id) in keys]
    objects, everything = score_objects(results, models), score_targets(results, models)
    if boxes is not None:
        boxes = [box for box in boxes if box.image in keys]
        for kind in ("full", "visible"):
            truths = box_truths(dataset, objects, kind)  # type: ignore[arg-type]
            precision = average_precision(boxes, [item for item in truths if item.image in keys])
            for object_id, scores in objects.items():
                found = precision.get(object_id, {"ap": math.nan, "ap50": math.nan})
                scores |= {f"{key}_{kind}": value for key, value in found.items()}
                if kind == gt_box:
                    scores |= found
    return Evaluation(objects, mean_scores(objects), everything, tuple(results), None, {})


def box_truths(dataset: BopDataset, object_ids: Iterable[int], kind: GtBox) -> list[BoxTruth]:
    """Return the annotated boxes of objects, clipped to the image; those under 10 % visible are to be ignored."""
    wanted = set(object_ids)
    truths = []
    for image in dataset.images:
        limits = np.array([image.camera.width - 1, image.camera.height - 1] * 2, dtype=np.float64)
        for truth in image.ground_truth:
            box = truth.box_full if kind == "full" else truth.box_visible
            if truth.object_id in wanted and box is not None:
                ignore = truth.visibility < MIN_VISIBILITY
                truths.append(BoxTruth(image.key, truth.object_id, np.clip(box, 0.0, limits), ignore))
    return truths


def stage_means(records: Sequence[ImageRecord]) -> dict[str, float]:
    """Return the mean seconds of every stage over all images."""
    names = sorted({name for record in records for name in record.timings_s})
    return {name: float(np.mean([record.timings_s.get(name, 0.0) for record in records])) for name in names}


def reasons(records: Sequence[ImageRecord]) -> dict[str, int]:
    """Count the reasons for which images have no pose."""
    return dict(Counter(record.reason for record in records if record.reason is not None))


def format_table(evaluation: Evaluation, names: dict[int, str]) -> str:
    """Return the scores per object, their mean and those over all targets as a text table."""
    rows = [(names.get(key, f"obj_{key:06d}"), scores) for key, scores in evaluation.objects.items()]
    rows += [("mean", evaluation.mean), ("all", evaluation.all)]
    columns = [item for item in _COLUMNS if any(_known(scores.get(item[0])) for _, scores in rows)]
    width = max(len("object"), *(len(name) for name, _ in rows))
    lines = ["  ".join([f"{'object':<{width}}", *(f"{heading:>6}" for _, heading, _, _ in columns)])]
    for name, scores in rows:
        cells = []
        for key, heading, factor, decimals in columns:
            value = scores.get(key)
            text = f"{value * factor:.{decimals}f}" if value is not None and _known(value) else "-"
            cells.append(text.rjust(max(len(heading), 6)))
        lines.append("  ".join([f"{name:<{width}}", *cells]))
    lines.insert(len(lines) - 2, "-" * len(lines[0]))
    return "\n".join(lines)


def figures(evaluation: Evaluation, names: dict[int, str]) -> dict[str, Any]:
    """Return the columns of the table: of every object, their mean, and over all targets."""
    columns = [key for key, _, _, _ in _COLUMNS]

    def chosen(scores: dict[str, float]) -> dict[str, float]:
        return {key: scores[key] for key in columns if _known(scores.get(key))}

    objects = {names.get(key, f"obj_{key:06d}"): chosen(scores) for key, scores in evaluation.objects.items()}
    return {"mean": chosen(evaluation.mean), "all": chosen(evaluation.all), "objects": objects}


def report_content(
    evaluation: Evaluation, models: dict[int, ObjectPoints], names: dict[int, str], context: dict[str, Any]
) -> dict[str, Any]:
    """Return everything there is to keep of an evaluation, ready for JSON; what is unknown or infinite is None."""
    return plain(
        {
            **context,
            "objects": {
                names.get(key, f"obj_{key:06d}"): {"object_id": key, **scores}
                for key, scores in evaluation.objects.items()
            },
            "mean": evaluation.mean,
            "all": evaluation.all,
            "seconds_per_image": evaluation.seconds_per_image,
            "stages_s": evaluation.stages_s,
            "targets": target_rows(evaluation.targets, models),
        }
    )


def write_report(path: str | Path, content: dict[str, Any]) -> None:
    """Write a report as JSON, replacing an old one only when the new one is complete."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    temporary.replace(path)


def _seconds(estimates: Sequence[Estimate]) -> float | None:
    times = {(item.scene_id, item.image_id): item.time_s for item in estimates if item.time_s >= 0}
    return float(np.mean(list(times.values()))) if times else None


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
