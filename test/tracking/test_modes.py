"""Estimates that alternate between two poses: the better one is held, and motions still go through."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.tracking.settings import ModeSettings, TrackerSettings
from pose_estimation_ros.tracking.tracker import Tracker

CATALOG = Catalog((ObjectModel(1, "can", 0.2, ((-0.06, -0.06, -0.08), (0.06, 0.06, 0.08)), Path("can.ply")),))
FRAME_NS = 100_000_000
CAMERA = Camera(np.array([[600.0, 0.0, 319.5], [0.0, 600.0, 239.5], [0.0, 0.0, 1.0]]), 640, 480)


def pose(x: float = 0.0, degrees: float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = x, 0.0, 0.8
    return matrix


GOOD, BAD = pose(), pose(0.033, 46.0)


def run(estimates, scores=None, settings: TrackerSettings | None = None, covariance=None):
    """Track one can; return the published poses and the tracker."""
    tracker = Tracker(CATALOG, settings)
    published = []
    for frame, estimate in enumerate(estimates):
        score = 0.9 if scores is None else scores[frame]
        hypothesis = PoseHypothesis(0, 0, estimate, score, covariance=covariance)
        detection = Detection(0, score, np.array([0.0, 0.0, 9.0, 9.0]))
        published += tracker.update([hypothesis], [detection], CAMERA, frame * FRAME_NS)
    return published, tracker


def shifts_mm(published) -> np.ndarray:
    return np.array([1000.0 * np.linalg.norm(item.camera_from_object[:3, 3] - GOOD[:3, 3]) for item in published])


@pytest.mark.parametrize("seed", range(4))
def test_the_pose_with_more_evidence_is_held_while_estimates_alternate(seed):
    rng = np.random.default_rng(seed)
    estimates = [GOOD] * 4 + [GOOD if rng.random() < 0.65 else BAD for _ in range(40)]
    shifts = shifts_mm(run(estimates)[0])
    assert np.count_nonzero(shifts > 1.0) <= 1  # two in a row, the first time, may be a motion
    off = TrackerSettings(modes=ModeSettings(enabled=False))
    assert shifts_mm(run(estimates, settings=off)[0]).std() > 10.0


def test_a_start_with_the_worse_one_is_left_for_good():
    rng = np.random.default_rng(3)
    estimates = [BAD] * 3 + [BAD if rng.random() < 0.25 else GOOD for _ in range(60)]
    shifts = shifts_mm(run(estimates)[0])
    assert shifts[:3].min() > 30.0 and shifts[25:].max() < 1e-6
    assert np.count_nonzero(np.abs(np.diff(shifts)) > 1.0) <= 3


def test_scores_decide_between_poses_that_are_seen_as_often():
    estimates = [BAD, BAD, BAD] + [GOOD, BAD] * 30
    scores = [0.3 if item is BAD else 0.9 for item in estimates]
    assert shifts_mm(run(estimates, scores)[0])[-20:].max() < 1e-6


def test_what_alternates_is_told_and_the_covariance_covers_it():
    covariance = np.diag([1e-6] * 3 + [1e-4] * 3)
    published, tracker = run([GOOD] * 4 + [GOOD, BAD] * 10 + [GOOD], covariance=covariance)
    assert tracker.states[0].alternatives == 1
    said = published[-1].covariance
    step = np.array([0.033, 0.0, 0.0, 0.0, np.deg2rad(46.0), 0.0])
    assert 0.2 < (said[0, 0] - 1e-6) / step[0] ** 2 < 0.6
    assert 0.2 < (said[4, 4] - 1e-4) / step[4] ** 2 < 0.6
    calm, tracker = run([GOOD] * 8, covariance=covariance)
    assert tracker.states[0].alternatives == 0
    np.testing.assert_allclose(calm[-1].covariance, covariance)


def test_one_estimate_elsewhere_of_an_instance_at_rest_is_not_followed_and_forgotten():
    published, tracker = run([GOOD] * 5 + [BAD] + [GOOD] * 80)
    assert shifts_mm(published).max() < 1e-6
    assert tracker.states[0].alternatives == 0


def test_one_that_is_put_elsewhere_is_there_with_the_second_estimate():
    there = pose(0.1, 30.0)
    shifts = shifts_mm(run([GOOD] * 5 + [there] * 3)[0])
    np.testing.assert_allclose(shifts, [0.0] * 6 + [100.0] * 2, atol=1e-6)
    after_alternation = shifts_mm(run([GOOD, BAD] * 10 + [GOOD, there, there])[0])
    assert after_alternation[-1] == pytest.approx(100.0)


def test_fast_motion_is_followed_from_its_second_frame_on():
    way = [pose(0.05 * step, 8.0 * step) for step in range(12)]
    published = run([way[0]] * 5 + way[1:])[0]
    errors = [
        np.linalg.norm(item.camera_from_object[:3, 3] - truth[:3, 3])
        for item, truth in zip(published[5:], way[1:], strict=True)
    ]
    assert errors[0] == pytest.approx(0.05)  # kept for one frame
    assert max(errors[1:]) < 1e-9


def test_slow_motion_from_rest_is_not_held_back():
    way = [pose(0.01 * step) for step in range(20)]
    published = run([way[0]] * 5 + way)[0]
    assert all(
        later.camera_from_object[0, 3] > earlier.camera_from_object[0, 3] for earlier, later in pairwise(published[7:])
    )
    assert np.linalg.norm(published[-1].camera_from_object[:3, 3] - way[-1][:3, 3]) < 0.01


def test_after_a_pause_and_without_smoothing_every_estimate_is_taken():
    plain = TrackerSettings(smoothing="none")
    np.testing.assert_allclose(shifts_mm(run([GOOD] * 5 + [BAD], settings=plain)[0])[-1], 33.0)
    tracker = Tracker(CATALOG)
    for stamp_ns, estimate in [(frame * FRAME_NS, GOOD) for frame in range(5)] + [(3_000_000_000, BAD)]:
        hypothesis, box = PoseHypothesis(0, 0, estimate, 0.9), np.array([0.0, 0.0, 9.0, 9.0])
        found = tracker.update([hypothesis], [Detection(0, 0.9, box)], CAMERA, stamp_ns)
    np.testing.assert_allclose(found[0].camera_from_object, BAD)


def test_a_motion_after_a_wavering_start_is_no_alternation():
    """The estimates come back once, and then go away for good, step by step: no two poses alternate."""
    x = [0.0] * 12 + [0.036, 0.02] + [0.036 + 0.018 * step for step in range(1, 15)]
    published, _ = run([pose(value) for value in x])
    behind = np.abs(np.array([item.camera_from_object[0, 3] for item in published]) - x)
    assert behind.max() < 0.08
    assert behind[-8:].max() < 0.01
