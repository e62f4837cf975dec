"""Average precision against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.evaluation.detection_ap import BoxDetection, BoxTruth, average_precision, box_iou

SQUARE = np.array([10.0, 10.0, 20.0, 20.0])
AWAY = SQUARE + 50.0


def _truth(image: int, box: np.ndarray = SQUARE, object_id: int = 1, ignore: bool = False) -> BoxTruth:
    return BoxTruth((1, image), object_id, box, ignore)


def _found(image: int, score: float, box: np.ndarray = SQUARE, object_id: int = 1) -> BoxDetection:
    return BoxDetection((1, image), object_id, score, box)


def test_iou_of_shifted_squares() -> None:
    overlap = box_iou(
        SQUARE[None], np.stack([SQUARE, SQUARE + np.array([5.0, 0.0, 5.0, 0.0]), AWAY, SQUARE[[0, 1, 0, 1]]])
    )
    np.testing.assert_allclose(overlap, [[1.0, 1.0 / 3.0, 0.0, 0.0]])


def test_truth_as_detection_is_perfect() -> None:
    truths = [_truth(0), _truth(0, AWAY), _truth(1), _truth(1, AWAY, object_id=2)]
    found = [BoxDetection(item.image, item.object_id, 0.3, item.box) for item in truths]
    assert average_precision(found, truths) == {1: {"ap": 1.0, "ap50": 1.0}, 2: {"ap": 1.0, "ap50": 1.0}}


def test_nothing_found_is_zero() -> None:
    assert average_precision([], [_truth(0)]) == {1: {"ap": 0.0, "ap50": 0.0}}


def test_half_found_reaches_51_of_101_recall_points() -> None:
    scores = average_precision([_found(0, 0.9)], [_truth(0), _truth(1)])
    assert scores[1]["ap50"] == pytest.approx(51 / 101)


def test_false_alarm_before_the_hit_halves_the_precision() -> None:
    scores = average_precision([_found(0, 0.9, AWAY), _found(0, 0.5)], [_truth(0)])
    assert scores[1]["ap50"] == pytest.approx(0.5)


def test_false_alarm_after_the_hit_costs_nothing() -> None:
    scores = average_precision([_found(0, 0.9), _found(0, 0.5, AWAY)], [_truth(0)])
    assert scores[1]["ap50"] == pytest.approx(1.0)


def test_second_detection_of_one_object_is_a_false_alarm() -> None:
    found = [_found(0, 0.9), _found(0, 0.8), _found(1, 0.7)]
    # Hit, alarm, hit: precision 1 up to half the recall, then 2/3.
    assert average_precision(found, [_truth(0), _truth(1)])[1]["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_thresholds_are_averaged() -> None:
    # An overlap of 0.72 is a hit at .50, .55, .60, .65 and .70.
    box = np.array([10.0, 10.0, 20.0, 17.2])
    assert average_precision([_found(0, 0.9, box)], [_truth(0)])[1]["ap"] == pytest.approx(0.5)


def test_ignored_truth_neither_counts_nor_makes_false_alarms() -> None:
    found = [_found(0, 0.9, AWAY), _found(0, 0.8)]
    scores = average_precision(found, [_truth(0), _truth(0, AWAY, ignore=True)])
    assert scores[1]["ap50"] == pytest.approx(1.0)


def test_objects_do_not_share_boxes() -> None:
    scores = average_precision([_found(0, 0.9, object_id=2)], [_truth(0), _truth(0, AWAY, object_id=2)])
    assert (scores[1]["ap"], scores[2]["ap"]) == (0.0, 0.0)


def test_only_the_hundred_best_of_an_image_count() -> None:
    found = [_found(0, 0.9, AWAY) for _ in range(100)] + [_found(0, 0.5)]
    assert average_precision(found, [_truth(0)])[1]["ap50"] == 0.0
