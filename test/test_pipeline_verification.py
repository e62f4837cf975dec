"""Poses of detections that nobody is sure of: which are tried, which are published, which are followed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.verification.settings import VerificationSettings

from .corner_cubes import CAMERA, CornerBackend, Keeping, box_of, frame_with_corners, pipeline_of, random_pose


class HalfSure:
    """Stands in for what checks poses: knows their chances by their detections, and that two of them are one."""

    settings = VerificationSettings(max_poses=3)

    def __init__(self, chances):
        self.chances = chances

    def verify(self, frame, detections, estimated, hypotheses):
        return [replace(item, score=self.chances[item.detection_index]) for item in hypotheses][: len(self.chances)]


def test_unsure_detections_get_a_pose_that_is_published_where_it_proves_likely():
    truths = [random_pose(1, -0.15), random_pose(2, 0.15)]
    boxes = [box_of(truths[0]), box_of(truths[1])]
    found = [
        Detection(0, 0.6, boxes[0]),
        Detection(1, 0.2, boxes[1]),
        Detection(1, 0.15, boxes[0]),
        Detection(0, 0.1, boxes[1]),
    ]
    pipeline = pipeline_of(found)
    pipeline.verifier = HalfSure([0.45, 0.97, 0.1])
    result = pipeline.process(frame_with_corners(truths))
    assert pipeline.detector.thresholds == [0.05]
    assert len(result.detections) == 3  # no more than `max_poses`
    assert [(pose.name, pose.score) for pose in result.poses] == [("brick", 0.97)]
    assert [item.score for item in result.trace.refined] == [0.9] * 3
    pipeline.min_pose_score = 0.4
    assert len(pipeline.process(frame_with_corners(truths)).poses) == 2


def test_without_a_calibrated_score_everything_is_as_the_methods_say():
    truth = random_pose(4)
    pipeline = pipeline_of(
        [Detection(0, 0.6, box_of(truth)), Detection(0, 0.3, box_of(truth))], CornerBackend(score=0.2)
    )
    assert pipeline.verifier is None
    assert [pose.score for pose in pipeline.process(frame_with_corners([truth])).poses] == [0.2]
    assert pipeline.detector.thresholds == [0.5]


def test_only_what_is_published_is_followed():
    truths = [random_pose(1, -0.15), random_pose(2, 0.15)]
    detections = [Detection(number, 0.9, box_of(truth)) for number, truth in enumerate(truths)]
    pipeline = pipeline_of(detections, refiner=Keeping(), settings={"tracking.mode": "refine"})
    pipeline.verifier = HalfSure([0.8, 0.3])
    pipeline.process(frame_with_corners(truths))
    followed = pipeline.process(frame_with_corners(truths, stamp_ns=10**7))
    assert [(pose.name, pose.score) for pose in followed.poses] == [("mug", pytest.approx(0.8))]
    assert len(pipeline.detector.thresholds) == 1


def test_no_detections_names_the_threshold_that_was_asked_for():
    pipeline = pipeline_of([Detection(0, 0.02, box_of(random_pose(1)))])
    assert pipeline.process(frame_with_corners([])).reason == "no detections scored 0.5 or more"
    pipeline.verifier = HalfSure([])
    assert pipeline.process(frame_with_corners([])).reason == "no detections scored 0.05 or more"


@pytest.mark.parametrize("mode", ["detect", "refine"])
def test_pixels_have_one_explanation_where_nothing_is_verified(mode):
    """What is found twice, as the same or as another object, is published once, and what is beside it stays."""
    truths = [random_pose(1, -0.15), random_pose(2, 0.15)]
    found = [
        Detection(0, 0.9, box_of(truths[0])),
        Detection(0, 0.8, box_of(truths[0])),
        Detection(1, 0.7, box_of(truths[0])),
        Detection(0, 0.6, box_of(truths[1])),
    ]
    pipeline = pipeline_of(found, refiner=Keeping(), settings={"tracking.mode": mode})
    assert pipeline.verifier is None
    for frame in range(3):
        result = pipeline.process(frame_with_corners(truths, stamp_ns=frame * 10**7))
        assert [(pose.name, pose.track_id) for pose in result.poses] == [("mug", 0), ("mug", 1)]
    assert len(result.detections) == (4 if mode == "detect" else 2)


def _scored(pipeline, truths, scores, **frame):
    """Process a frame whose poses have these chances; return what is published."""
    pipeline.verifier = HalfSure(scores)
    result = pipeline.process(frame_with_corners(truths, **frame))
    return [(pose.name, pytest.approx(pose.score)) for pose in result.poses], result.reason


def test_the_mean_of_late_decides_what_is_published_and_is_published():
    truths = [random_pose(1, -0.15), random_pose(2, 0.15)]
    pipeline = pipeline_of([Detection(number, 0.9, box_of(truth)) for number, truth in enumerate(truths)])
    told = [
        _scored(pipeline, truths, scores, stamp_ns=frame * 10**8)
        for frame, scores in enumerate([(0.9, 0.3), (0.3, 0.6), (0.42, 0.3)])
    ]
    assert [poses for poses, _ in told] == [[("mug", 0.9)], [("mug", 0.6)], [("mug", 0.54)]]
    pipeline.reset_tracks()
    assert _scored(pipeline, truths, (0.3, 0.6), stamp_ns=4 * 10**8)[0] == [("brick", 0.6)]


def test_the_reason_tells_a_low_mean_from_low_scores():
    truths = [random_pose(1, -0.15), random_pose(2, 0.15)]
    pipeline = pipeline_of([Detection(number, 0.9, box_of(truth)) for number, truth in enumerate(truths)])
    reasons = [_scored(pipeline, truths, (score, 0.1), stamp_ns=n * 10**8)[1] for n, score in enumerate((0.2, 0.6))]
    assert reasons == [
        "2 poses, the best scored 0.20, below 0.5",
        "2 poses, the best scored 0.60, but in the mean of late all are below 0.5",
    ]


def test_another_pipeline_goes_on_with_the_scores():
    truths = [random_pose(1, -0.15), random_pose(2, 0.15)]
    detections = [Detection(number, 0.9, box_of(truth)) for number, truth in enumerate(truths)]
    previous, pipeline = pipeline_of(detections), pipeline_of(detections)
    assert _scored(previous, truths, (0.9, 0.2), stamp_ns=0)[0] == [("mug", 0.9)]
    pipeline.continue_tracks(previous)
    assert _scored(pipeline, truths, (0.3, 0.6), stamp_ns=10**8)[0] == [("mug", 0.6)]


def test_what_is_held_back_is_not_followed_either():
    """Without a calibrated score, too."""
    truths = [random_pose(1, -0.15), random_pose(2, 0.15)]
    detections = [Detection(number, 0.9, box_of(truth)) for number, truth in enumerate(truths)]
    settings = {"tracking.mode": "refine", "pose.score_threshold": 0.95}
    pipeline = pipeline_of(detections, backend=CornerBackend(score=0.9), refiner=Keeping(), settings=settings)
    told = [pipeline.process(frame_with_corners(truths, stamp_ns=frame * 10**7)).poses for frame in range(4)]
    assert told == [[]] * 4


def test_every_frame_is_alone_without_tracking():
    truth = random_pose(1)
    pipeline = pipeline_of([Detection(0, 0.9, box_of(truth))], settings={"tracking.enabled": False})
    told = [_scored(pipeline, [truth], [score], stamp_ns=n * 10**8)[0] for n, score in enumerate((0.2, 0.6, 0.4))]
    assert told == [[], [("mug", 0.6)], []]
    assert pipeline.lowest_score == pipeline.least_score == 0.5


def test_what_is_published_by_its_mean_is_followed_and_stays_published():
    truths = [random_pose(1, -0.15), random_pose(2, 0.15)]
    detections = [Detection(number, 0.9, box_of(truth)) for number, truth in enumerate(truths)]
    settings = {"tracking.mode": "refine", "tracking.detect_every": 2}
    pipeline = pipeline_of(detections, refiner=Keeping(), settings=settings)
    told = [
        [name for name, _ in _scored(pipeline, truths, (0.9, score), stamp_ns=frame * 10**7)[0]]
        for frame, score in enumerate((0.6, 0.6, 0.3, 0.3, 0.4, 0.4))
    ]
    assert told == [["mug", "brick"]] * 6
    assert pipeline.lowest_score == pytest.approx(0.4)
    assert len(pipeline.detector.thresholds) == 3


def test_a_pose_before_a_camera_at_rest_is_averaged():
    """The image tells: one object alone shows no motion of the camera."""
    spread = {}
    for moves in (False, True):
        rng, x = np.random.default_rng(3), []
        truth = random_pose(1)
        pipeline = pipeline_of([Detection(0, 0.9, box_of(truth))], backend=Wandering(rng))
        picture = rng.integers(0, 255, (30, 40, 3)).astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
        for frame in range(30):
            shown = np.roll(picture, 16 * frame, axis=1) if moves else picture
            result = pipeline.process(Frame(np.ascontiguousarray(shown), CAMERA, frame * 10**8))
            x.append(result.poses[0].camera_from_object[0, 3])
        spread[moves] = np.std(x[10:])
    assert spread[False] < 0.6 * spread[True]


class Wandering:
    """Backend whose poses scatter."""

    crop_size, crop_padding = 32, 1.0

    def __init__(self, rng):
        self.rng = rng

    def estimate(self, frame, crops, detections):
        pose = random_pose(1)
        pose[0, 3] += self.rng.normal(0.0, 0.004)
        return [PoseHypothesis(0, 0, pose, 0.9)]
