"""Following without detecting: where objects are looked for, and when the detector has to look again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.tracking.following import Follower
from pose_estimation_ros.tracking.settings import FollowingSettings

CAMERA = Camera(np.array([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]]), 640, 480)
CATALOG = Catalog(
    tuple(
        ObjectModel(number, name, 0.1, ((-0.05, -0.02, -0.02), (0.05, 0.02, 0.02)), Path("x.ply"))
        for number, name in enumerate(("mug", "brick"), 1)
    )
)
FRAME_NS = 33_000_000


def _hypothesis(index: int, detection: int, x: float, score: float) -> PoseHypothesis:
    pose = np.eye(4)
    pose[:3, 3] = [x, 0.0, 0.5]
    return PoseHypothesis(index, detection, pose, score)


def _follower(**settings) -> Follower:
    """Return a follower that has seen a brick (second detection) and a mug (third)."""
    follower = Follower(CATALOG, FollowingSettings(**settings))
    detections = [Detection(0, score, np.array([0.0, 0.0, 9.0, 9.0])) for score in (0.3, 0.9, 0.8)]
    follower.detected([_hypothesis(1, 1, 0.1, 0.6), _hypothesis(0, 2, -0.1, 0.7)], detections, 0)
    return follower


def test_nothing_is_followed_before_something_was_detected():
    assert Follower(CATALOG).start(CAMERA, 0) is None
    follower = _follower()
    follower.reset()
    assert follower.start(CAMERA, FRAME_NS) is None


def test_objects_are_looked_for_where_they_were():
    start = _follower().start(CAMERA, FRAME_NS)
    assert start is not None
    detections, hypotheses = start
    assert [(item.object_index, item.score) for item in detections] == [(1, 0.9), (0, 0.8)]
    assert [(item.detection_index, item.score) for item in hypotheses] == [(0, 0.6), (1, 0.7)]
    near, far = 500.0 / 0.48, 500.0 / 0.52
    expected = [320 + 0.05 * far, 240 - 0.02 * near, 320 + 0.15 * near, 240 + 0.02 * near]
    np.testing.assert_allclose(detections[0].box, expected)


def test_poses_that_are_less_sure_than_they_were_need_the_detector():
    follower = _follower(min_score_ratio=0.5)
    start = follower.start(CAMERA, FRAME_NS)
    assert start is not None
    given = start[1]
    sure = [_hypothesis(1, 0, 0.1, 0.31), _hypothesis(0, 1, -0.1, 0.36)]
    assert follower.is_confident(given, sure)
    assert not follower.is_confident(given, [sure[0], replace(sure[1], score=0.35)])
    assert not follower.is_confident(given, [sure[0], replace(sure[1], rejected=True)])
    assert not follower.is_confident(given, sure[:1])


def test_what_cannot_be_followed_straight_after_a_detection_is_detected_for_a_while():
    follower = _follower(detect_every=3)
    assert follower.start(CAMERA, FRAME_NS) is not None
    follower.failed()
    tries = []
    for frame in range(1, 8):
        tries.append(follower.start(CAMERA, frame * FRAME_NS) is not None)
        detections = [Detection(0, 0.9, np.array([0.0, 0.0, 9.0, 9.0]))] * 2
        follower.detected([_hypothesis(1, 0, 0.1, 0.6), _hypothesis(0, 1, -0.1, 0.7)], detections, frame * FRAME_NS)
    assert tries == [False, False, False, True, True, True, True]


def test_the_detector_looks_again_after_so_many_frames():
    follower = _follower(detect_every=3)
    for frame in (1, 2):
        assert follower.start(CAMERA, frame * FRAME_NS) is not None
        follower.followed([_hypothesis(1, 0, 0.1, 0.6), _hypothesis(0, 1, -0.1, 0.7)], frame * FRAME_NS)
    assert follower.start(CAMERA, 3 * FRAME_NS) is None


@pytest.mark.parametrize("stamp_ns", [-1, 600_000_000])
def test_a_gap_or_a_step_back_in_time_needs_the_detector(stamp_ns):
    assert _follower(max_gap_s=0.5).start(CAMERA, stamp_ns) is None


@pytest.mark.parametrize("place", [(0.6, 0.0, 0.5), (0.0, 0.0, 0.01), (0.0, 0.0, -0.5)])
def test_objects_that_left_the_image_need_the_detector(place):
    follower = _follower()
    gone = _hypothesis(1, 0, 0.0, 0.6)
    gone.camera_from_object[:3, 3] = place
    follower.followed([gone, _hypothesis(0, 1, -0.1, 0.7)], FRAME_NS)
    assert follower.start(CAMERA, 2 * FRAME_NS) is None


def test_probabilities_stay_and_fall_with_the_refiner():
    follower = Follower(CATALOG)
    detections = [Detection(0, 0.9, np.array([0.0, 0.0, 9.0, 9.0]))] * 2
    refined = [_hypothesis(1, 0, 0.1, 0.4), _hypothesis(0, 1, -0.1, 0.2)]
    follower.detected(refined, detections, 0, [0.95, 0.8])
    surer, less = _hypothesis(1, 0, 0.1, 0.6), _hypothesis(0, 1, -0.1, 0.15)
    assert [item.score for item in follower.with_probabilities([surer, less])] == pytest.approx([0.95, 0.6])
