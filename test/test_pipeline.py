"""The run time without ROS: right poses through real crops and PnP, honest timings, a reason for every empty result."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.methods.base import LoadedMethod, Method
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.networks.precision import chosen_precision
from pose_estimation_ros.objects.bundle import BundleError
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_result import STAGES, PipelineResult
from pose_estimation_ros.pipeline_warm_up import warm_up

from .corner_cubes import (
    BUNDLE,
    CAMERA,
    CornerBackend,
    FixedDetector,
    assert_pose,
    box_of,
    frame_with_corners,
    pipeline_of,
    random_pose,
)


def test_two_objects_come_out_with_their_poses_best_first():
    truths = [random_pose(1, -0.15), random_pose(2, 0.15)]
    detections = [Detection(1, 0.8, box_of(truths[0])), Detection(0, 0.9, box_of(truths[1]))]
    result = pipeline_of(detections).process(frame_with_corners(truths))
    assert result.reason is None
    assert {pose.name for pose in result.poses} == {"brick", "mug"}
    by_name = {pose.name: pose for pose in result.poses}
    assert_pose(by_name["brick"].camera_from_object, truths[0])
    assert_pose(by_name["mug"].camera_from_object, truths[1])
    np.testing.assert_array_equal(by_name["mug"].box, detections[1].box)
    assert np.trace(by_name["mug"].covariance) > 0


def test_a_distorted_camera_gives_the_same_pose():
    truth = random_pose(3)
    distorted = replace(CAMERA, distortion=(-0.25, 0.08, 0.001, -0.001, 0.0))
    frame = frame_with_corners([truth], distorted)
    result = pipeline_of([Detection(0, 0.9, box_of(truth))]).process(frame)
    assert_pose(result.poses[0].camera_from_object, truth)


@pytest.mark.parametrize("kind", ["read only", "mirrored"])
def test_images_that_tensors_cannot_share_are_welcome(kind):
    truth = random_pose(3)
    frame = frame_with_corners([truth])
    rgb = frame.rgb.copy()
    if kind == "mirrored":
        rgb = np.ascontiguousarray(rgb[..., ::-1])[..., ::-1]
    else:
        rgb.flags.writeable = False
    result = pipeline_of([Detection(0, 0.9, box_of(truth))]).process(replace(frame, rgb=rgb))
    assert_pose(result.poses[0].camera_from_object, truth)


def test_given_detections_replace_the_detector():
    truth = random_pose(4)
    pipeline = pipeline_of([])
    result = pipeline.process(frame_with_corners([truth]), [Detection(1, 0.7, box_of(truth))])
    assert result.poses[0].name == "brick"
    assert pipeline.detector.thresholds == []


def test_the_detector_alone_runs_in_the_precision_of_the_settings_on_the_undistorted_image():
    class Curious(FixedDetector):
        def detect(self, frame, score_threshold):
            self.seen = chosen_precision(), frame.camera.is_distorted
            return super().detect(frame, score_threshold)

    truth, detector = random_pose(4), Curious([])
    pipeline = Pipeline(BUNDLE, CornerBackend(), device="cpu", detector=detector, settings={"precision": "bfloat16"})
    distorted = replace(CAMERA, distortion=(-0.25, 0.08, 0.001, -0.001, 0.0))
    for run in (lambda frame: pipeline.detect(frame, 0.5), pipeline.process):
        detector.seen = None
        run(frame_with_corners([truth], distorted))
        assert detector.seen == ("bfloat16", False)


def test_what_the_bundle_lacks_is_told_before_anything_is_loaded():
    with pytest.raises(BundleError, match="no network 'attention'"):
        Pipeline(BUNDLE, CornerBackend(), "attention", device="cpu", detector=FixedDetector([]))


def test_thresholds_may_change_between_frames():
    truth = random_pose(5)
    frame = frame_with_corners([truth])
    pipeline = pipeline_of([Detection(0, 0.6, box_of(truth))])
    assert len(pipeline.process(frame).poses) == 1
    pipeline.score_threshold = 0.7
    assert pipeline.process(frame).detections == []
    pipeline.score_threshold, pipeline.min_pose_score = 0.5, 0.95
    result = pipeline.process(frame)
    assert result.poses == []
    assert len(result.detections) == 1
    assert pipeline.detector.thresholds == [0.5, 0.7, 0.5]


def _empty_results() -> dict[str, PipelineResult]:
    truth = random_pose(6)
    frame, blank = frame_with_corners([truth]), frame_with_corners([])
    seen = Detection(0, 0.9, box_of(truth))
    strict = pipeline_of([seen])
    strict.min_pose_score = 0.95
    return {
        r"no detections scored 0\.5 or more": pipeline_of([]).process(frame),
        r"^no detections$": pipeline_of([]).process(frame, []),
        r"1 detections, none inside": pipeline_of([]).process(
            frame, [replace(seen, box=np.array([700.0, 10, 800, 90]))]
        ),
        r"none inside the image": pipeline_of([]).process(frame, [replace(seen, box=np.full(4, np.nan))]),
        r"too few correspondences": pipeline_of([seen]).process(blank),
        r"1 poses, the best scored 0\.90, below 0\.95": strict.process(frame),
    }


def test_every_empty_result_says_why():
    for reason, result in _empty_results().items():
        assert result.poses == []
        assert re.search(reason, result.reason), (reason, result.reason)
        assert set(result.timings_s) == {*STAGES, "total"}


def test_the_backend_is_not_called_without_boxes():
    backend = CornerBackend()
    pipeline_of([], backend).process(frame_with_corners([]))
    assert backend.calls == 0


def test_timings_belong_to_their_stages_and_sum_to_the_total():
    truth = random_pose(7)
    detector = FixedDetector([Detection(0, 0.9, box_of(truth))], delay_s=0.05)
    pipeline = Pipeline(BUNDLE, backend=CornerBackend(delay_s=0.1), device="cpu", detector=detector)
    timings = pipeline.process(frame_with_corners([truth])).timings_s
    assert 0.05 <= timings["detection"] < timings["pose"]
    assert timings["pose"] >= 0.1
    assert timings["total"] >= sum(timings[stage] for stage in STAGES)
    assert timings["total"] - sum(timings[stage] for stage in STAGES) < 0.5


def test_numbers_stay_over_frames_and_reset_begins_anew():
    truths = [random_pose(8, -0.15), random_pose(9, 0.15)]
    left, right = (Detection(0, 0.9, box_of(truth)) for truth in truths)
    pipeline = pipeline_of([])
    frame = frame_with_corners(truths)
    first = pipeline.process(frame, [left, right]).poses
    where = {pose.track_id: pose.camera_from_object[0, 3] for pose in first}
    again = pipeline.process(replace(frame, stamp_ns=10**8), [right]).poses[0]
    assert where[again.track_id] == pytest.approx(0.15, abs=0.01)
    pipeline.reset_tracks()
    assert pipeline.process(frame, [right]).poses[0].track_id == 0


def test_without_tracking_frames_stand_alone():
    truth = random_pose(10)
    pipeline = pipeline_of([Detection(0, 0.9, box_of(truth))], settings={"tracking.enabled": False})
    moved = truth.copy()
    moved[0, 3] += 0.003
    pipeline.process(frame_with_corners([truth]))
    alone = pipeline_of([Detection(0, 0.9, box_of(truth))], settings={"tracking.enabled": False}).process(
        frame_with_corners([moved])
    )
    after = pipeline.process(frame_with_corners([moved]))
    np.testing.assert_array_equal(after.poses[0].camera_from_object, alone.poses[0].camera_from_object)


def test_warm_up_runs_every_stage_and_leaves_no_tracks():
    backend = CornerBackend()
    truth = random_pose(11)
    pipeline = pipeline_of([Detection(0, 0.9, box_of(truth))], backend)
    warm_up(pipeline, 320, 240)
    assert backend.calls >= 1
    assert pipeline.process(frame_with_corners([truth])).poses[0].track_id == 0


def test_a_refiner_takes_part_and_may_reject():
    class Rejecting:
        def refine(self, frame, detections, hypotheses, stages=None, thorough=True):
            return [replace(item, score=0.2) for item in hypotheses if item.object_index == 0]

    truths = [random_pose(12, -0.15), random_pose(13, 0.15)]
    detections = [Detection(1, 0.8, box_of(truths[0])), Detection(0, 0.9, box_of(truths[1]))]
    result = pipeline_of(detections, refiner=Rejecting()).process(frame_with_corners(truths))
    assert [(pose.name, pose.score) for pose in result.poses] == [("mug", 0.2)]


def test_a_backend_that_needs_tight_boxes_refuses_a_detector_that_gives_none():
    sliding = Method("sliding", "detector", "Slides.", "", "nowhere:Settings", "nowhere:load", tight_boxes=False)
    fitting = Method("fitting", "backend", "Fits.", "", "nowhere:Settings", "nowhere:load")
    with pytest.raises(ValueError, match=r"backend = 'fitting' needs boxes that end .* detector.method = 'sliding'"):
        Pipeline(
            BUNDLE,
            LoadedMethod(fitting, CornerBackend()),
            device="cpu",
            detector=LoadedMethod(sliding, FixedDetector([])),
        )


def test_objects_that_the_bundle_does_not_have_are_refused():
    with pytest.raises(ValueError, match="object 2: expected an index below 2"):
        pipeline_of([]).process(frame_with_corners([]), [Detection(2, 0.9, np.array([0.0, 0, 9, 9]))])


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "cuda:x", "cpu:0", "cuda:", ""):
        with pytest.raises(ValueError, match="expected auto, cpu, cuda or cuda:N"):
            resolve_device(name)
    with pytest.raises(ValueError, match=r"device = 'cuda:99': PyTorch sees \d+ CUDA devices"):
        resolve_device("cuda:99")


def test_unknown_backends_are_refused_by_name():
    with pytest.raises(ValueError, match="telepathy"):
        Pipeline(BUNDLE, backend="telepathy", device="cpu", detector=FixedDetector([]))


def test_only_the_objects_that_are_asked_for_get_a_pose():
    truths = [random_pose(1, -0.15), random_pose(2, 0.15)]
    detections = [Detection(1, 0.8, box_of(truths[0])), Detection(0, 0.9, box_of(truths[1]))]
    pipeline, frame = pipeline_of(detections, settings={"objects": ["brick"]}), frame_with_corners(truths)
    for given in (None, detections):
        result = pipeline.process(frame, given)
        assert [pose.name for pose in result.poses] == ["brick"]
        assert [item.object_index for item in result.detections] == [1]
    assert [item.object_index for item in pipeline.detect(frame, 0.5)] == [1]
    result = pipeline.process(frame, detections[1:])
    assert (result.poses, result.reason) == ([], "1 detections, none of brick")
    pipeline.objects = ()
    assert {pose.name for pose in pipeline.process(frame).poses} == {"brick", "mug"}
    with pytest.raises(ValueError, match="no object 'drill'; expected names of mug, brick"):
        pipeline.objects = ("mug", "drill")
    assert pipeline.objects == ()


def test_tracks_go_on_in_another_pipeline_where_the_object_is_the_same():
    truths = [random_pose(1, -0.15), random_pose(1, 0.15)]
    frame = frame_with_corners(truths)
    first, second = (Detection(0, 0.9, box_of(truth)) for truth in truths)
    before = pipeline_of([second, replace(first, score=0.8)])
    ids = {pose.track_id: pose.box[0] for pose in before.process(frame).poses}
    mug, brick = BUNDLE.catalog
    swapped = replace(BUNDLE, catalog=replace(BUNDLE.catalog, objects=(brick, mug)))
    other = Pipeline(swapped, CornerBackend(), device="cpu", detector=FixedDetector([replace(first, object_index=1)]))
    other.continue_tracks(before)
    (pose,) = other.process(frame).poses
    assert (pose.name, ids[pose.track_id]) == ("mug", first.box[0])
    assert pose.track_id == 1
