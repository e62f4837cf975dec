"""What speaks for a pose and against it, as numbers that a logistic regression can weigh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.verification.silhouettes import Silhouettes

_TINY = 1e-3  # of shares, so that their logits stay finite
_SAME = 0.5  # overlap from which two poses of one kind of object are the same one twice


class Evidence(NamedTuple):
    """One kind of evidence."""

    sign: int  # 1 where more of it speaks for a pose, -1 where it speaks against it
    meaning: str


EVIDENCE = {  # missing values (no mask, no refiner) are not numbers
    "detection": Evidence(1, "logit of the detector's score"),
    "support": Evidence(1, "logit of the backend's own score"),
    "ray_deviation": Evidence(-1, "log of the backend's standard deviation along the ray, over the distance"),
    "turn_deviation": Evidence(-1, "log of the backend's standard deviation of the rotation, radians"),
    "refiner": Evidence(1, "logit of the refiner's own score, which follows from the error that it expects"),
    "similarity": Evidence(1, "similarity of rendering and image, as the method that compared them sees it"),
    "rejected": Evidence(-1, "1 where the refiner went astray"),
    "moved": Evidence(-1, "how far the refiner moved the object along the ray, absolute log of the ratio"),
    "refined_ray_deviation": Evidence(-1, "log of the refiner's standard deviation along the ray, over the distance"),
    "agreement": Evidence(1, "share of the looks from other boxes that led to the pose, weighed by their scores"),
    "box_overlap": Evidence(1, "intersection over union of the boxes of the rendered object and of the detector"),
    "mask_covered": Evidence(1, "share of the detector's mask that the rendered object covers"),
    "mask_overlap": Evidence(
        1, "intersection over union of the detector's mask and the rendered object, less what others hide of it"
    ),
    "explained": Evidence(1, "share of the rendered object that the detector's mask covers or something hides"),
    "visible": Evidence(1, "share of the rendered object that the detector's mask covers"),
    "size": Evidence(1, "log of the square root of the rendered object's pixels"),
    "rivals": Evidence(-1, "largest overlap of the rendered object with that of another kind that is surer"),
}


def gather_evidence(
    detections: Sequence[Detection],
    estimated: Sequence[PoseHypothesis],
    hypotheses: Sequence[PoseHypothesis],
    silhouettes: Silhouettes,
) -> dict[str, np.ndarray]:
    """Return all evidence (N,) by name.

    Args:
        detections: what the hypotheses' `detection_index` counts in.
        estimated: poses as the backend left them, at most one per detection.
        hypotheses: the N poses as they stand; those of the backend where there is no refiner.
        silhouettes: of the N poses.
    """
    before = {item.detection_index: item for item in estimated}
    firsts = [before[item.detection_index] for item in hypotheses]
    found = [detections[item.detection_index] for item in hypotheses]
    return {
        "detection": np.array([logit(item.score) for item in found]),
        **_of_backend(firsts, found),
        **_of_refiner(firsts, hypotheses, found),
        **_of_boxes(silhouettes, found),
        **_of_masks(silhouettes, hypotheses, found),
    }


def logit(share: float) -> float:
    """Return the logarithm of the odds of a share, which is kept off 0 and 1."""
    inside = min(max(share, _TINY), 1.0 - _TINY)
    return float(np.log(inside / (1.0 - inside)))


def own_score(item: PoseHypothesis, detection: Detection) -> float:
    """Return what the method adds to the detection's score."""
    return item.score / max(detection.score, 1e-6)


def _of_backend(firsts: Sequence[PoseHypothesis], found: Sequence[Detection]) -> dict[str, np.ndarray]:
    deviations = np.array([_deviations(item) for item in firsts]).reshape(-1, 2)
    return {
        "support": np.array([logit(own_score(item, box)) for item, box in zip(firsts, found, strict=True)]),
        "ray_deviation": deviations[:, 0],
        "turn_deviation": deviations[:, 1],
    }


def _of_refiner(
    firsts: Sequence[PoseHypothesis], hypotheses: Sequence[PoseHypothesis], found: Sequence[Detection]
) -> dict[str, np.ndarray]:
    rows = []
    for first, item, box in zip(firsts, hypotheses, found, strict=True):
        likeness = np.nan if item.similarity is None else item.similarity
        if item is first:
            rows.append([np.nan, likeness, np.nan, np.nan, np.nan, np.nan])
            continue
        moved = abs(np.log(_distance(item) / _distance(first)))
        ray = np.nan if item.rejected else _deviations(item)[0]
        agreement = np.nan if item.agreement is None else item.agreement
        rows.append([logit(own_score(item, box)), likeness, float(item.rejected), moved, ray, agreement])
    names = ("refiner", "similarity", "rejected", "moved", "refined_ray_deviation", "agreement")
    return dict(zip(names, np.array(rows, dtype=np.float64).reshape(-1, len(names)).T, strict=True))


def _distance(item: PoseHypothesis) -> float:
    return max(float(np.linalg.norm(item.camera_from_object[:3, 3])), 1e-6)


def _deviations(item: PoseHypothesis) -> tuple[float, float]:
    """Return the logarithms of the standard deviations along the ray, relative to the distance, and of the rotation."""
    if item.covariance is None:
        return np.nan, np.nan
    ray = item.camera_from_object[:3, 3] / _distance(item)
    along = float(ray @ item.covariance[:3, :3] @ ray) / _distance(item) ** 2
    turn = float(np.trace(item.covariance[3:, 3:])) / 3.0
    return 0.5 * float(np.log(max(along, 1e-12))), 0.5 * float(np.log(max(turn, 1e-12)))


def _of_boxes(silhouettes: Silhouettes, found: Sequence[Detection]) -> dict[str, np.ndarray]:
    rows = []
    for mask, detection in zip(silhouettes.masks, found, strict=True):
        box = np.asarray(detection.box, dtype=np.float64)
        rows.append(_box_overlap(_box_of(mask, silhouettes.pixel), box) if mask.any() else 0.0)
    return {"box_overlap": np.array(rows, dtype=np.float64)}


def _box_of(mask: np.ndarray, pixel: float) -> np.ndarray:
    """Return the box (4,) of a reduced mask in pixels of the image."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) * pixel - 0.5


def _box_overlap(first: np.ndarray, second: np.ndarray) -> float:
    common = np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0.0, None).prod()
    return float(common / max((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod() - common, 1e-6))


def _of_masks(
    silhouettes: Silhouettes, hypotheses: Sequence[PoseHypothesis], found: Sequence[Detection]
) -> dict[str, np.ndarray]:
    masks, overlaps = silhouettes.masks, silhouettes.overlaps()
    height, width = masks.shape[1:]
    seen = [None if item.mask is None else reduced(item.mask, height, width) for item in found]
    scores = np.array([item.score for item in hypotheses])
    kinds = np.array([item.object_index for item in hypotheses])
    # Only what is at least as sure as a pose itself can explain that the pose is not seen, and a pose of the same
    # thing explains nothing.
    twice = (kinds[:, None] == kinds[None, :]) & (overlaps > _SAME)
    surer = scores[:, None] >= scores[None, :]
    hidden = silhouettes.hidden(surer & ~twice)
    rivals = np.where(surer & (kinds[:, None] != kinds[None, :]), overlaps, 0.0).max(axis=0, initial=0.0)
    rows = []
    for number, mask in enumerate(masks):
        pixels = int(mask.sum())
        size = np.log(max(np.sqrt(pixels) * silhouettes.pixel, 1.0))
        own = seen[number]
        if own is None or pixels == 0:
            rows.append([*([np.nan] * 4 if own is None else [0.0] * 4), size])
            continue
        others = [
            item
            for other, item in enumerate(seen)
            if item is not None and surer[other, number] and other != number and not twice[other, number]
        ]
        behind = hidden[number] | (np.any(others, axis=0) & mask if others else False)
        common, visible = int((mask & own).sum()), mask & ~(hidden[number] & ~own)
        rows.append(
            [
                common / max(int(own.sum()), 1),
                int((mask & (own | behind)).sum()) / pixels,
                common / max(int((visible | own).sum()), 1),
                common / pixels,
                size,
            ]
        )
    names = ("mask_covered", "explained", "mask_overlap", "visible", "size")
    return {**dict(zip(names, np.array(rows, dtype=np.float64).reshape(-1, 5).T, strict=True)), "rivals": rivals}


def reduced(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a mask (H, W) bool at a lower resolution: pixels that it covers by half."""
    return cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA) >= 128
