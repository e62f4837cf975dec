"""Average precision of 2D detections as COCO defines it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100  # per image


@dataclass(frozen=True)
class BoxDetection:
    """One detected box of one image."""

    image: tuple[int, int]  # scene and image id
    object_id: int
    score: float
    box: np.ndarray  # (4,) x0 y0 x1 y1, pixels


@dataclass(frozen=True)
class BoxTruth:
    """One annotated box of one image."""

    image: tuple[int, int]
    object_id: int
    box: np.ndarray  # (4,) x0 y0 x1 y1, pixels
    ignore: bool = False  # neither asked for nor counted against a detection


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes (N, 4) and (M, 4), shape (N, M)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = [np.clip(item[:, 2:] - item[:, :2], 0.0, None).prod(axis=1) for item in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def average_precision(
    detections: Sequence[BoxDetection], truths: Sequence[BoxTruth], thresholds: np.ndarray = IOU_THRESHOLDS
) -> dict[int, dict[str, float]]:
    """Return `ap` (mean over the thresholds) and `ap50` in [0, 1] of every object that has ground truth.

    Detections beyond the hundred best of an image do not count.
    """
    kept = _best_per_image(detections)
    scores = {}
    for object_id in sorted({item.object_id for item in truths if not item.ignore}):
        mine = [item for item in truths if item.object_id == object_id]
        found = [item for item in kept if item.object_id == object_id]
        values = _precision_at(found, mine, thresholds)
        nearest = int(np.argmin(np.abs(thresholds - 0.5)))
        scores[object_id] = {"ap": float(values.mean()), "ap50": float(values[nearest])}
    return scores


def _best_per_image(detections: Iterable[BoxDetection]) -> list[BoxDetection]:
    ordered = sorted(detections, key=lambda item: -item.score)
    taken: dict[tuple[int, int], int] = {}
    kept = []
    for item in ordered:
        taken[item.image] = taken.get(item.image, 0) + 1
        if taken[item.image] <= MAX_DETECTIONS:
            kept.append(item)
    return kept


def _precision_at(found: list[BoxDetection], truths: list[BoxTruth], thresholds: np.ndarray) -> np.ndarray:
    """Return the interpolated average precision of one object at every IoU threshold."""
    asked = sum(not item.ignore for item in truths)
    # COCO offers the instances that count before those to be ignored.
    by_image: dict[tuple[int, int], list[BoxTruth]] = {}
    for item in sorted(truths, key=lambda one: one.ignore):
        by_image.setdefault(item.image, []).append(item)
    boxes = {image: np.array([one.box for one in items]) for image, items in by_image.items()}
    overlaps = [box_iou(item.box[None], boxes.get(item.image, np.zeros((0, 4))))[0] for item in found]
    return np.array([_interpolate(*_match(found, by_image, overlaps, threshold), asked) for threshold in thresholds])


def _match(
    found: list[BoxDetection],
    truths: dict[tuple[int, int], list[BoxTruth]],
    overlaps: list[np.ndarray],
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Give every detection, best first, the best free box; return hits and false alarms as bool arrays."""
    used: set[tuple[tuple[int, int], int]] = set()
    hits, alarms = np.zeros(len(found), dtype=bool), np.zeros(len(found), dtype=bool)
    for rank, (item, overlap) in enumerate(zip(found, overlaps, strict=True)):
        best, best_overlap = -1, min(threshold, 1.0 - 1e-10)
        for index, value in enumerate(overlap):
            if (item.image, index) in used:
                continue
            if best >= 0 and not truths[item.image][best].ignore and truths[item.image][index].ignore:
                break
            if value >= best_overlap:
                best, best_overlap = index, value
        if best < 0:
            alarms[rank] = True
            continue
        used.add((item.image, best))
        hits[rank] = not truths[item.image][best].ignore
    return hits, alarms


def _interpolate(hits: np.ndarray, alarms: np.ndarray, asked: int) -> float:
    true, false = np.cumsum(hits), np.cumsum(alarms)
    recall = true / asked
    precision = true / np.maximum(true + false, 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    index = np.searchsorted(recall, RECALL_POINTS, side="left")
    values = np.append(envelope, 0.0)[np.minimum(index, len(envelope))]
    return float(values.mean())
