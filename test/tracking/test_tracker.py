"""Identities over time: several instances, crossings, misses, symmetric objects that must not flip."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.symmetry import rotation_about, symmetric_distance
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.catalog import Catalog, ContinuousSymmetry, ObjectModel
from pose_estimation_ros.tracking.association import assign, pose_costs
from pose_estimation_ros.tracking.settings import TrackerSettings
from pose_estimation_ros.tracking.tracker import Tracker, object_symmetries, untracked

MUG, BRICK, BOTTLE = 0, 1, 2
FRAME_NS = 100_000_000
CAMERA = Camera(np.array([[600.0, 0.0, 319.5], [0.0, 600.0, 239.5], [0.0, 0.0, 1.0]]), 640, 480)


def _model(object_id: int, name: str, **symmetries) -> ObjectModel:
    return ObjectModel(object_id, name, 0.15, ((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05)), Path("x.ply"), **symmetries)


HALF_TURN = rotation_about((0, 0, 1), (0, 0, 0), math.pi)
CATALOG = Catalog(
    (
        _model(1, "mug"),
        _model(2, "brick", discrete_symmetries=(HALF_TURN,)),
        _model(3, "bottle", continuous_symmetries=(ContinuousSymmetry((0.0, 0.0, 1.0)),)),
    )
)


def _at(x: float, angle: float = 0.0) -> np.ndarray:
    pose = rotation_about((0.2, 1.0, 0.4), (0, 0, 0), angle)
    pose[:3, 3] = [x, 0.0, 0.8]
    return pose


def _run(tracker: Tracker, frame: int, *seen: tuple[int, np.ndarray, float]):
    """Feed (object, pose, score) of one frame."""
    hypotheses = [PoseHypothesis(index, row, pose, score, 50) for row, (index, pose, score) in enumerate(seen)]
    detections = [
        Detection(index, score, np.array([row, 0.0, row + 9, 9])) for row, (index, _, score) in enumerate(seen)
    ]
    return tracker.update(hypotheses, detections, CAMERA, frame * FRAME_NS)


def test_a_single_frame_is_reported_at_once_as_it_is():
    pose = _run(Tracker(CATALOG), 0, (MUG, _at(0.1, 0.3), 0.8))[0]
    assert (pose.name, pose.object_index, pose.track_id, pose.score, pose.inliers) == ("mug", MUG, 0, 0.8, 50)
    np.testing.assert_allclose(pose.camera_from_object, _at(0.1, 0.3), atol=1e-12)


def test_what_is_known_of_instances_is_told_until_they_are_given_up():
    tracker = Tracker(CATALOG, TrackerSettings(min_hits=2, max_missed=1))
    told = []
    mug, bottle = (MUG, _at(0.1), 0.8), (BOTTLE, _at(-0.2), 0.7)
    for frame, seen in enumerate([(mug,), (mug, bottle), (bottle,), (bottle,)]):
        _run(tracker, frame, *seen)
        told.append([(item.name, item.track_id, item.state, item.frames) for item in tracker.states])
    assert told == [
        [("mug", 0, "new", 1)],
        [("mug", 0, "seen", 2), ("bottle", 0, "new", 1)],
        [("mug", 0, "unseen", 2), ("bottle", 0, "seen", 2)],
        [("bottle", 0, "seen", 3)],
    ]


def test_ages_of_instances_are_those_of_the_images():
    tracker = Tracker(CATALOG)
    _run(tracker, 0, (MUG, _at(0.1), 0.8))
    _run(tracker, 3, (MUG, _at(0.1), 0.8))
    _run(tracker, 5)
    (state,) = tracker.states
    assert (state.age_s, state.unseen_s) == pytest.approx((0.5, 0.2))
    tracker.reset()
    assert tracker.states == []


def test_two_instances_keep_their_numbers_whatever_the_order_of_the_estimates():
    tracker = Tracker(CATALOG)
    first = _run(tracker, 0, (MUG, _at(-0.1), 0.9), (MUG, _at(0.1), 0.8), (BRICK, _at(0.3), 0.7))
    assert [(pose.name, pose.track_id) for pose in first] == [("mug", 0), ("mug", 1), ("brick", 0)]
    second = _run(tracker, 1, (BRICK, _at(0.3), 0.9), (MUG, _at(0.11), 0.95), (MUG, _at(-0.09), 0.5))
    assert [(pose.name, pose.track_id) for pose in second] == [("brick", 0), ("mug", 1), ("mug", 0)]


def test_instances_that_pass_each_other_are_told_apart_by_their_rotation():
    tracker = Tracker(CATALOG)
    for frame, x in enumerate(np.linspace(-0.2, 0.2, 21)):
        poses = _run(tracker, frame, (MUG, _at(x, 0.0), 0.9), (MUG, _at(-x, 1.5), 0.8))
    assert [pose.track_id for pose in poses] == [0, 1]


def test_assignment_is_the_best_in_sum_and_not_greedy():
    """The nearest pair is (1, 0), but taking it would leave the others farther apart."""
    known, estimated = [_at(0.0), _at(0.10)], [_at(0.09), _at(0.30)]
    symmetries = object_symmetries(CATALOG[MUG])
    assert sorted(assign(*pose_costs(known, estimated, symmetries, reach_m=0.5))) == [(0, 0), (1, 1)]
    assert assign(*pose_costs(known, estimated, symmetries, reach_m=0.15)) == [(1, 0)]


def test_a_new_instance_far_away_gets_a_number_of_its_own():
    tracker = Tracker(CATALOG)
    _run(tracker, 0, (MUG, _at(0.0), 0.9))
    assert _run(tracker, 1, (MUG, _at(1.0), 0.9))[0].track_id == 1


def test_missed_frames_keep_the_number_and_loss_frees_it():
    tracker = Tracker(CATALOG, TrackerSettings(max_missed=3))
    _run(tracker, 0, (MUG, _at(-0.1), 0.9), (MUG, _at(0.1), 0.8))
    for frame in (1, 2, 3):
        assert [pose.track_id for pose in _run(tracker, frame, (MUG, _at(0.1), 0.8))] == [1]
    both = _run(tracker, 4, (MUG, _at(-0.1), 0.9), (MUG, _at(0.1), 0.8))
    assert [pose.track_id for pose in both] == [0, 1]
    for frame in range(5, 9):
        _run(tracker, frame, (MUG, _at(0.1), 0.8))
    both = _run(tracker, 9, (MUG, _at(0.4), 0.9), (MUG, _at(0.1), 0.8))
    assert [pose.track_id for pose in both] == [0, 1]  # lost, so the number is free for the new one


def test_loss_by_time_at_low_frame_rates():
    tracker = Tracker(CATALOG, TrackerSettings(max_unseen_s=2.0))
    _run(tracker, 0, (MUG, _at(-0.1), 0.9), (MUG, _at(0.1), 0.8))
    _run(tracker, 25, (MUG, _at(0.1), 0.8))  # 2.5 s later: mug 0 is lost
    assert _run(tracker, 26, (MUG, _at(0.1), 0.8), (MUG, _at(0.3), 0.9))[1].track_id == 0


def test_empty_frames_are_counted():
    tracker = Tracker(CATALOG, TrackerSettings(max_missed=2))
    _run(tracker, 0, (MUG, _at(-0.1), 0.9), (MUG, _at(0.1), 0.8))
    for frame in range(1, 4):
        assert _run(tracker, frame) == []
    assert _run(tracker, 4, (MUG, _at(0.1), 0.8))[0].track_id == 0


def test_min_hits_holds_back_what_was_seen_once():
    tracker = Tracker(CATALOG, TrackerSettings(min_hits=2))
    assert _run(tracker, 0, (MUG, _at(0.0), 0.9)) == []
    assert len(_run(tracker, 1, (MUG, _at(0.0), 0.9))) == 1


def test_a_brick_that_the_estimator_flips_does_not_flip():
    tracker = Tracker(CATALOG)
    rotations = []
    for frame in range(10):
        estimate = _at(0.0, 0.5 + 0.02 * frame) @ (HALF_TURN if frame % 2 else np.eye(4))
        rotations.append(_run(tracker, frame, (BRICK, estimate, 0.9))[0].camera_from_object[:3, :3])
    for before, after in pairwise(rotations):
        assert math.acos((np.trace(before.T @ after) - 1) / 2) < 0.05


def test_a_bottle_does_not_spin():
    """The estimator's angle about the axis is random, the axis itself drifts slowly."""
    tracker = Tracker(CATALOG)
    rng = np.random.default_rng(0)
    before = None
    for frame in range(20):
        truth = _at(0.0, 0.5 + 0.02 * frame)
        spun = truth @ rotation_about((0, 0, 1), (0, 0, 0), rng.uniform(0, 2 * math.pi))
        now = _run(tracker, frame, (BOTTLE, spun, 0.9))[0].camera_from_object
        if before is not None:
            assert math.acos(min(1.0, (np.trace(before[:3, :3].T @ now[:3, :3]) - 1) / 2)) < 0.06
        assert symmetric_distance(truth, now, object_symmetries(CATALOG[BOTTLE]))[0] < 0.03
        before = now


def test_the_mug_is_allowed_to_turn_around():
    tracker = Tracker(CATALOG)
    _run(tracker, 0, (MUG, _at(0.0), 0.9))
    turned = _at(0.0) @ HALF_TURN
    _run(tracker, 1, (MUG, turned, 0.9))  # not believed yet
    np.testing.assert_allclose(_run(tracker, 2, (MUG, turned, 0.9))[0].camera_from_object, turned, atol=1e-12)


def test_reset_begins_to_count_anew():
    tracker = Tracker(CATALOG)
    _run(tracker, 0, (MUG, _at(0.0), 0.9), (MUG, _at(1.0), 0.8))
    tracker.reset()
    assert _run(tracker, 1, (MUG, _at(1.0), 0.8))[0].track_id == 0


def test_instances_of_another_tracker_live_by_the_rules_of_the_new_one():
    before, after = Tracker(CATALOG, TrackerSettings(max_missed=100)), Tracker(CATALOG, TrackerSettings(max_missed=1))
    _run(before, 0, (MUG, _at(0.1), 0.9))
    after.take_over(before, {MUG: MUG})
    for frame in (1, 2):
        _run(after, frame)
    assert after.states == []


def test_poses_that_were_handed_out_do_not_change_later():
    tracker = Tracker(CATALOG)
    first = _run(tracker, 0, (MUG, _at(0.0), 0.9))[0]
    _run(tracker, 1, (MUG, _at(0.02), 0.9))
    np.testing.assert_allclose(first.camera_from_object, _at(0.0), atol=1e-12)


def test_without_tracking_poses_stay_as_they_are():
    pose = _at(0.0) @ HALF_TURN
    hypotheses = [PoseHypothesis(BRICK, 1, pose, 0.9), PoseHypothesis(BRICK, 0, _at(0.2), 0.8)]
    detections = [Detection(BRICK, 0.9, np.array([0.0, 0, 9, 9])), Detection(BRICK, 0.9, np.array([5.0, 0, 9, 9]))]
    found = untracked(CATALOG, hypotheses, detections)
    assert [item.track_id for item in found] == [0, 1]
    assert found[0].box[0] == pytest.approx(5.0)
    np.testing.assert_array_equal(found[0].camera_from_object, pose)


def test_without_tracking_number_0_is_the_one_that_scores_best():
    scores = [(BRICK, 0.3), (MUG, 0.2), (BRICK, 0.9), (BRICK, 0.5)]
    hypotheses = [PoseHypothesis(index, 0, _at(0.1 * n), score) for n, (index, score) in enumerate(scores)]
    found = untracked(CATALOG, hypotheses, [Detection(BRICK, 0.9, np.array([0.0, 0, 9, 9]))])
    assert [(item.object_index, item.track_id) for item in found] == [(BRICK, 2), (MUG, 0), (BRICK, 0), (BRICK, 1)]


def test_the_covariance_is_that_of_the_published_pose():
    estimate, frames = np.diag([1e-6] * 3 + [1e-4] * 3), []
    for smoothing in ("none", "light"):
        tracker = Tracker(CATALOG, TrackerSettings(smoothing=smoothing))
        for frame, x in enumerate((0.1, 0.11, 0.1)):
            hypothesis = PoseHypothesis(MUG, 0, _at(x), 0.9, covariance=estimate)
            frames.append(tracker.update([hypothesis], [Detection(MUG, 0.9, np.zeros(4))], CAMERA, frame * FRAME_NS)[0])
    unsmoothed, smoothed = frames[2], frames[5]
    np.testing.assert_allclose(unsmoothed.covariance, estimate)
    assert smoothed.covariance[0, 0] > estimate[0, 0]  # it lies between 0.1 and 0.11
    np.testing.assert_allclose(smoothed.covariance[1, 1], estimate[1, 1])
    assert _run(Tracker(CATALOG), 0, (MUG, _at(0.1), 0.8))[0].covariance is None


def test_an_equivalent_pose_with_another_origin_has_its_covariance():
    """Turned about an axis beside the origin, the object has its origin elsewhere, where rotations move it."""
    beside = _model(1, "lid", discrete_symmetries=(rotation_about((0, 0, 1), (0.03, 0, 0), math.pi),))
    catalog = Catalog((beside,))
    covariance = np.diag([0.0, 0.0, 0.0, 0.0, 0.0, 0.01])
    upright = np.eye(4)
    upright[2, 3] = 0.8
    turned = upright @ beside.discrete_symmetries[0]
    found = Tracker(catalog).update(
        [PoseHypothesis(0, 0, turned, 0.9, covariance=covariance)], [Detection(0, 0.9, np.zeros(4))], CAMERA, 0
    )[0]
    np.testing.assert_allclose(found.camera_from_object, upright, atol=1e-12)
    # About z by w, 0.06 to the left of where it was: the origin moves by 0.06 w across.
    np.testing.assert_allclose(np.diag(found.covariance), [0.0, 0.06**2 * 0.01, 0.0, 0.0, 0.0, 0.01], atol=1e-12)


def test_smoothing_is_none_light_or_strong():
    noise = 0.002 * np.random.default_rng(3).normal(size=40)
    spread = {}
    for smoothing in ("none", "light", "strong"):
        tracker = Tracker(CATALOG, TrackerSettings(smoothing=smoothing))
        x = [
            _run(tracker, frame, (MUG, _at(value), 0.9))[0].camera_from_object[0, 3]
            for frame, value in enumerate(noise)
        ]
        spread[smoothing] = np.std(x[10:])
        if smoothing == "none":
            np.testing.assert_allclose(x, noise, atol=1e-12)
    assert spread["strong"] < 0.7 * spread["light"] < 0.7 * spread["none"]
