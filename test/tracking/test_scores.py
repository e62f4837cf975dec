"""What is published by the mean of its scores: no flicker, no number for what is never believed."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.tracking.settings import TrackerSettings
from pose_estimation_ros.tracking.tracker import Tracker

from .test_identities import CAMERA, CATALOG, FRAME_NS, MUG, PLATE, _at

LEAST = 0.5


def _run(tracker: Tracker, frame: float, *seen: tuple[int, np.ndarray, float], least: float = LEAST, rests=False):
    """Feed (object, pose, score) of one frame; return name, number and score of what is published."""
    hypotheses = [PoseHypothesis(index, row, pose, score, 50) for row, (index, pose, score) in enumerate(seen)]
    detections = [Detection(index, score, np.array([0.0, 0.0, 9.0, 9.0])) for index, _, score in seen]
    poses = tracker.update(hypotheses, detections, CAMERA, round(frame * FRAME_NS), least, rests)
    return [(pose.name, pose.track_id, pytest.approx(pose.score)) for pose in poses]


def test_scores_about_the_threshold_do_not_flicker():
    """As those of the glue on a photograph with new noise in every frame: from 0.03 to 0.61, 0.31 in the mean."""
    scores = np.clip(np.random.default_rng(0).normal(0.35, 0.15, (20, 40)), 0.02, 0.98)
    changes = {}
    for name, settings in (("alone", TrackerSettings(score_gain=1.0, keep_score_ratio=1.0)), ("mean", None)):
        changes[name] = 0
        for row in scores:
            tracker = Tracker(CATALOG, settings)
            published = [bool(_run(tracker, frame, (MUG, _at(0.1), score))) for frame, score in enumerate(row)]
            changes[name] += np.count_nonzero(np.diff(published))
    assert changes["mean"] < 0.15 * changes["alone"]


def test_what_is_sure_is_published_at_once_and_its_score_is_the_mean_of_late():
    tracker = Tracker(CATALOG, TrackerSettings(score_gain=0.4))
    told = [_run(tracker, frame, (MUG, _at(0.1), score)) for frame, score in enumerate((0.9, 0.5, 0.6, 0.9))]
    assert told == [[("mug", 0, score)] for score in (0.9, 0.7, 0.66, 0.756)]


def test_after_a_pause_the_score_begins_anew():
    tracker = Tracker(CATALOG)
    _run(tracker, 0, (MUG, _at(0.1), 0.2))
    assert _run(tracker, 20, (MUG, _at(0.1), 0.9)) == [("mug", 0, 0.9)]


def test_one_that_was_published_stays_until_its_mean_is_clearly_less():
    tracker = Tracker(CATALOG, TrackerSettings(score_gain=0.5, keep_score_ratio=0.8))
    scores = (0.6, 0.3, 0.45, 0.2, 0.45, 0.5, 0.6)
    told = [_run(tracker, frame, (MUG, _at(0.1), score)) for frame, score in enumerate(scores)]
    # Means 0.6, 0.45, 0.45, 0.325, 0.3875, 0.44375, 0.521875: below 0.4 it goes, from 0.5 on it comes back.
    assert [bool(item) for item in told] == [True, True, True, False, False, False, True]
    assert told[-1][0][:2] == ("mug", 0)
    assert [state.state for state in tracker.states] == ["seen"]
    _run(tracker, 7, (MUG, _at(0.1), 0.06))
    assert [state.state for state in tracker.states] == ["unsure"]


def test_another_threshold_counts_from_the_next_frame_on():
    tracker = Tracker(CATALOG)
    assert _run(tracker, 0, (MUG, _at(0.1), 0.9))
    assert not _run(tracker, 1, (MUG, _at(0.1), 0.9), least=0.95)
    assert _run(tracker, 2, (MUG, _at(0.1), 0.9), least=0.85)


def test_what_is_never_believed_takes_no_number():
    tracker = Tracker(CATALOG)
    for frame in range(5):
        told = _run(tracker, frame, (MUG, _at(-0.3), 0.3), (MUG, _at(0.3), 0.9))
        assert told == [("mug", 0, 0.9)]
    assert [(item.name, item.track_id) for item in tracker.states] == [("mug", 0)]


def test_an_unsure_estimate_elsewhere_is_not_of_what_is_known():
    """Taken for it, it would pull the pose away for as long as the true one is hidden."""
    tracker = Tracker(CATALOG)
    for frame in range(4):
        _run(tracker, frame, (MUG, _at(0.0), 0.9))
    for frame in range(4, 8):
        assert _run(tracker, frame, (MUG, _at(0.2), 0.3)) == []
    assert [item.state for item in tracker.states] == ["unseen"]
    assert _run(tracker, 8, (MUG, _at(0.0), 0.9)) == [("mug", 0, 0.9)]


def test_an_unsure_estimate_does_not_take_the_place_of_a_surer_one():
    tracker = Tracker(CATALOG)
    _run(tracker, 0, (MUG, _at(0.0), 0.9))
    hypotheses = [PoseHypothesis(MUG, row, _at(x), score) for row, (x, score) in enumerate([(0.0, 0.2), (0.02, 0.9)])]
    detections = [Detection(MUG, 0.9, np.zeros(4))] * 2
    (pose,) = tracker.update(hypotheses, detections, CAMERA, FRAME_NS, LEAST)
    assert pose.score == pytest.approx(0.9)


@pytest.mark.parametrize("count", [1, 2])
def test_a_few_instances_rest_where_the_images_say_that_the_camera_does(count):
    """Without that, three are needed to know."""
    spread = {}
    for rests in (False, True):
        rng, tracker, x = np.random.default_rng(1), Tracker(CATALOG), []
        for frame in range(40):
            seen = [(kind, _at(0.3 * kind + rng.normal(0.0, 0.005)), 0.9) for kind in (MUG, PLATE)[:count]]
            hypotheses = [PoseHypothesis(kind, row, pose, score) for row, (kind, pose, score) in enumerate(seen)]
            boxes = [Detection(kind, score, np.zeros(4)) for kind, _, score in seen]
            poses = tracker.update(hypotheses, boxes, CAMERA, frame * FRAME_NS, LEAST, rests)
            x.append(poses[0].camera_from_object[0, 3])
        spread[rests] = np.std(x[10:])
    assert spread[True] < 0.001
    assert spread[True] < 0.6 * spread[False]


def test_what_moves_before_a_camera_at_rest_is_followed():
    rng, tracker, behind = np.random.default_rng(2), Tracker(CATALOG), []
    for frame in range(60):
        x = -0.2 if frame < 20 else -0.2 + 0.01 * (frame - 20)  # 10 cm a second from the twentieth frame on
        hypothesis = PoseHypothesis(MUG, 0, _at(x + rng.normal(0.0, 0.002)), 0.9)
        (pose,) = tracker.update(
            [hypothesis], [Detection(MUG, 0.9, np.zeros(4))], CAMERA, frame * FRAME_NS, LEAST, True
        )
        behind.append(abs(pose.camera_from_object[0, 3] - x))
    assert max(behind[5:20]) < 0.003
    assert max(behind[20:]) < 0.025
    assert np.mean(behind[25:]) < 0.005
