"""Second looks at poses in doubt, from other boxes: that of a half-hidden object is often wrong, and so is its pose."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.verification.evidence import own_score
from pose_estimation_ros.verification.probability import RIGHT_SHARE
from pose_estimation_ros.verification.settings import SecondLookSettings

# By which share of its sides a box grows to the left, the top, the right and the bottom.
_CHANGES = (
    (0.12, 0.12, 0.12, 0.12),
    (0.3, 0.0, 0.0, 0.0),
    (0.0, 0.3, 0.0, 0.0),
    (0.0, 0.0, 0.3, 0.0),
    (0.0, 0.0, 0.0, 0.3),
    (-0.1, -0.1, -0.1, -0.1),
)
LOOKS = len(_CHANGES)
_SAME = RIGHT_SHARE / 2.0  # standard deviation of what counts as the same place, over the distance

Estimate = Callable[[list[Detection]], list[PoseHypothesis]]
Refine = Callable[[list[Detection], list[PoseHypothesis]], list[PoseHypothesis]]


def look_again(
    detections: Sequence[Detection],
    estimated: Sequence[PoseHypothesis],
    refined: Sequence[PoseHypothesis],
    estimate: Estimate,
    refine: Refine,
    settings: SecondLookSettings,
    probability: Sequence[float] | None = None,
) -> tuple[list[PoseHypothesis], list[PoseHypothesis]]:
    """Estimate the poses that are in doubt from other boxes, too, and take those that most looks lead to.

    Of all poses of an object, the one is taken that the refiner is sure of and that it comes to again: the product of
    its own score and the scores of those near by is largest.

    Args:
        detections: what the hypotheses' `detection_index` counts in.
        estimated: poses as the backend left them, at most one per detection.
        refined: the same, refined.
        estimate: the backend.
        refine: the refiner, in a hurry.
        settings: which poses are in doubt, and which are hopeless.
        probability: that the refined poses are right, as far as that is known; None where nothing is known of it.

    Returns:
        Estimated and refined poses; of those in doubt, the ones taken, with `agreement`.
    """
    first, last = by_detection(estimated), by_detection(refined)
    chance = dict(zip(last, [1.0] * len(last) if probability is None else probability, strict=True))
    doubted = [
        number
        for number, item in enumerate(detections)
        if number not in last
        or (own_score(last[number], item) < settings.below and chance[number] >= settings.hopeless_below)
    ]
    if not doubted:
        return list(estimated), list(refined)
    owners = [number for number in doubted for _ in range(LOOKS)]
    changed = [
        replace(detections[number], box=changed_box(detections[number].box, change))
        for number in doubted
        for change in _CHANGES
    ]
    tried = by_detection(estimate(changed))
    ended = by_detection(refine(changed, list(tried.values()))) if tried else {}
    looks: dict[int, list[tuple[PoseHypothesis, PoseHypothesis]]] = defaultdict(list)
    for number in doubted:
        if number in last:
            looks[number].append((first[number], last[number]))
    for look, item in ended.items():
        number = owners[look]
        looks[number].append((replace(tried[look], detection_index=number), replace(item, detection_index=number)))
    for number, pairs in looks.items():
        chosen, agreement = most_agreed([item for _, item in pairs], detections[number])
        first[number] = pairs[chosen][0]
        last[number] = replace(pairs[chosen][1], agreement=agreement)
    return [first[number] for number in sorted(first)], [last[number] for number in sorted(last)]


def by_detection(hypotheses: Sequence[PoseHypothesis]) -> dict[int, PoseHypothesis]:
    """Return hypotheses by the detections they are of."""
    return {item.detection_index: item for item in hypotheses}


def changed_box(box: np.ndarray, change: tuple[float, float, float, float]) -> np.ndarray:
    """Return a box (4,) grown by shares of its sides to the left, the top, the right and the bottom."""
    sides = np.tile(np.asarray(box[2:], dtype=np.float64) - box[:2], 2)
    return np.asarray(box, dtype=np.float64) + np.array([-1.0, -1.0, 1.0, 1.0]) * sides * change


def most_agreed(poses: Sequence[PoseHypothesis], detection: Detection) -> tuple[int, float]:
    """Return which of N poses of one object is taken, and the share of all looks' scores that is near it."""
    places = np.array([item.camera_from_object[:3, 3] for item in poses])
    scores = np.array([max(own_score(item, detection), 1e-6) for item in poses])
    apart = np.linalg.norm(places[:, None] - places[None, :], axis=2)
    apart /= np.maximum(np.linalg.norm(places, axis=1), 1e-6)[:, None]
    near = np.exp(-0.5 * (apart / _SAME) ** 2) @ scores
    chosen = int(np.argmax(scores * near))
    return chosen, float(near[chosen] / scores.sum())
