"""The run time without ROS: right poses through real crops and PnP, honest timings, a reason for every empty result."""

from __future__ import annotations

import math
import re
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.debug_images import debug_names, draw_debug_images
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.pnp import solve_pnp
from pose_estimation_ros.methods.base import LoadedMethod, Method, PoseHypothesis
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.networks.precision import chosen_precision
from pose_estimation_ros.objects.bundle import Bundle, BundleError, PosePrior
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.pipeline import STAGES, Pipeline, PipelineResult
from pose_estimation_ros.verification.settings import VerificationSettings

CAMERA = Camera(np.array([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]]), 640, 480)
BOUNDS = ((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05))
CATALOG = Catalog(
    tuple(ObjectModel(number, name, 0.17, BOUNDS, Path("x.ply")) for number, name in enumerate(("mug", "brick"), 1))
)
BUNDLE = Bundle(Path("nowhere"), "test", CATALOG, {}, PosePrior())
CORNERS = 0.05 * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
COLORS = np.array([[255, 10 + 34 * bit, 255 - 34 * bit] for bit in range(8)], dtype=np.uint8)


def _pose(seed: int, x: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    pose[:3, 3] = [x, 0.02, 0.7]
    return pose


def _corner_pixels(pose: np.ndarray, camera: Camera) -> np.ndarray:
    return camera.project(CORNERS @ pose[:3, :3].T + pose[:3, 3])


def _frame_with_corners(poses: list[np.ndarray], camera: Camera = CAMERA, stamp_ns: int = 0) -> Frame:
    """Draw every corner of every cube as a small disc of its own colour, visible through the cube."""
    rgb = np.zeros((camera.height, camera.width, 3), dtype=np.uint8)
    rows, columns = np.mgrid[: camera.height, : camera.width]
    for pose in poses:
        for (u, v), color in zip(_corner_pixels(pose, camera), COLORS, strict=True):
            rgb[(columns - u) ** 2 + (rows - v) ** 2 < 3.0**2] = color
    return Frame(rgb, camera, stamp_ns)


def _box(pose: np.ndarray) -> np.ndarray:
    pixels = _corner_pixels(pose, CAMERA)
    return np.concatenate([pixels.min(axis=0) - 4, pixels.max(axis=0) + 4])


class CornerBackend:
    """Finds the coloured corners in each crop, solves PnP with the crop's own camera."""

    crop_size = 256
    crop_padding = 1.2

    def __init__(self, score: float = 0.9, delay_s: float = 0.0) -> None:
        self.score, self.delay_s, self.calls = score, delay_s, 0

    def estimate(self, frame, crops, detections):
        self.calls += 1
        time.sleep(self.delay_s)
        hypotheses = []
        for row in range(len(crops)):
            image = 255 * crops.pixels[row].permute(1, 2, 0).numpy()
            seen = [np.argwhere(np.abs(image - color).max(axis=2) < 12) for color in COLORS]
            found = [bit for bit in range(8) if len(seen[bit])]
            pixels = np.array([seen[bit].mean(axis=0)[::-1] for bit in found]).reshape(-1, 2)
            result = solve_pnp(pixels, CORNERS[found], crops.camera[row].double().numpy(), threshold_px=5.0)
            if result is not None:
                hypotheses.append(
                    PoseHypothesis(
                        detections[row].object_index,
                        row,
                        result.camera_from_object,
                        self.score,
                        len(found),
                        result.covariance,
                    )
                )
        return hypotheses


class FixedDetector:
    def __init__(self, detections: list[Detection], delay_s: float = 0.0) -> None:
        self.detections, self.delay_s, self.thresholds = detections, delay_s, []

    def detect(self, frame, score_threshold):
        self.thresholds.append(score_threshold)
        time.sleep(self.delay_s)
        return [item for item in self.detections if item.score >= score_threshold]


def _pipeline(detections: list[Detection], backend=None, **options) -> Pipeline:
    return Pipeline(
        BUNDLE, backend=backend or CornerBackend(), device="cpu", detector=FixedDetector(detections), **options
    )


def _assert_pose(found: np.ndarray, truth: np.ndarray, degrees: float = 1.5, metres: float = 0.01) -> None:
    assert math.degrees(Rotation.from_matrix(found[:3, :3].T @ truth[:3, :3]).magnitude()) < degrees
    assert np.linalg.norm(found[:3, 3] - truth[:3, 3]) < metres


def test_two_objects_come_out_with_their_poses_best_first():
    truths = [_pose(1, -0.15), _pose(2, 0.15)]
    detections = [Detection(1, 0.8, _box(truths[0])), Detection(0, 0.9, _box(truths[1]))]
    result = _pipeline(detections).process(_frame_with_corners(truths))
    assert result.reason is None
    assert {pose.name for pose in result.poses} == {"brick", "mug"}
    by_name = {pose.name: pose for pose in result.poses}
    _assert_pose(by_name["brick"].camera_from_object, truths[0])
    _assert_pose(by_name["mug"].camera_from_object, truths[1])
    np.testing.assert_array_equal(by_name["mug"].box, detections[1].box)
    assert np.trace(by_name["mug"].covariance) > 0


def test_a_distorted_camera_gives_the_same_pose():
    truth = _pose(3)
    distorted = replace(CAMERA, distortion=(-0.25, 0.08, 0.001, -0.001, 0.0))
    frame = _frame_with_corners([truth], distorted)
    result = _pipeline([Detection(0, 0.9, _box(truth))]).process(frame)
    _assert_pose(result.poses[0].camera_from_object, truth)


@pytest.mark.parametrize("kind", ["read only", "mirrored"])
def test_images_that_tensors_cannot_share_are_welcome(kind):
    truth = _pose(3)
    frame = _frame_with_corners([truth])
    rgb = frame.rgb.copy()
    if kind == "mirrored":
        rgb = np.ascontiguousarray(rgb[..., ::-1])[..., ::-1]
    else:
        rgb.flags.writeable = False
    result = _pipeline([Detection(0, 0.9, _box(truth))]).process(replace(frame, rgb=rgb))
    _assert_pose(result.poses[0].camera_from_object, truth)


def test_given_detections_replace_the_detector():
    truth = _pose(4)
    pipeline = _pipeline([])
    result = pipeline.process(_frame_with_corners([truth]), [Detection(1, 0.7, _box(truth))])
    assert result.poses[0].name == "brick"
    assert pipeline.detector.thresholds == []


def test_the_detector_alone_runs_in_the_precision_of_the_settings_on_the_undistorted_image():
    class Curious(FixedDetector):
        def detect(self, frame, score_threshold):
            self.seen = chosen_precision(), frame.camera.is_distorted
            return super().detect(frame, score_threshold)

    truth, detector = _pose(4), Curious([])
    pipeline = Pipeline(BUNDLE, CornerBackend(), device="cpu", detector=detector, settings={"precision": "bfloat16"})
    distorted = replace(CAMERA, distortion=(-0.25, 0.08, 0.001, -0.001, 0.0))
    for run in (lambda frame: pipeline.detect(frame, 0.5), pipeline.process):
        detector.seen = None
        run(_frame_with_corners([truth], distorted))
        assert detector.seen == ("bfloat16", False)


def test_what_the_bundle_lacks_is_told_before_anything_is_loaded():
    with pytest.raises(BundleError, match="no network 'attention'"):
        Pipeline(BUNDLE, CornerBackend(), "attention", device="cpu", detector=FixedDetector([]))


def test_thresholds_may_change_between_frames():
    truth = _pose(5)
    frame = _frame_with_corners([truth])
    pipeline = _pipeline([Detection(0, 0.6, _box(truth))])
    assert len(pipeline.process(frame).poses) == 1
    pipeline.score_threshold = 0.7
    assert pipeline.process(frame).detections == []
    pipeline.score_threshold, pipeline.min_pose_score = 0.5, 0.95
    result = pipeline.process(frame)
    assert result.poses == []
    assert len(result.detections) == 1
    assert pipeline.detector.thresholds == [0.5, 0.7, 0.5]


def _empty_results() -> dict[str, PipelineResult]:
    truth = _pose(6)
    frame, blank = _frame_with_corners([truth]), _frame_with_corners([])
    seen = Detection(0, 0.9, _box(truth))
    strict = _pipeline([seen])
    strict.min_pose_score = 0.95
    return {
        r"no detections scored 0\.5 or more": _pipeline([]).process(frame),
        r"^no detections$": _pipeline([]).process(frame, []),
        r"1 detections, none inside": _pipeline([]).process(frame, [replace(seen, box=np.array([700.0, 10, 800, 90]))]),
        r"none inside the image": _pipeline([]).process(frame, [replace(seen, box=np.full(4, np.nan))]),
        r"too few correspondences": _pipeline([seen]).process(blank),
        r"1 poses, the best scored 0\.90, below 0\.95": strict.process(frame),
    }


def test_every_empty_result_says_why():
    for reason, result in _empty_results().items():
        assert result.poses == []
        assert re.search(reason, result.reason), (reason, result.reason)
        assert set(result.timings_s) == {*STAGES, "total"}


def test_the_backend_is_not_called_without_boxes():
    backend = CornerBackend()
    _pipeline([], backend).process(_frame_with_corners([]))
    assert backend.calls == 0


def test_timings_belong_to_their_stages_and_sum_to_the_total():
    truth = _pose(7)
    detector = FixedDetector([Detection(0, 0.9, _box(truth))], delay_s=0.05)
    pipeline = Pipeline(BUNDLE, backend=CornerBackend(delay_s=0.1), device="cpu", detector=detector)
    timings = pipeline.process(_frame_with_corners([truth])).timings_s
    assert 0.05 <= timings["detection"] < timings["pose"]
    assert timings["pose"] >= 0.1
    assert timings["total"] >= sum(timings[stage] for stage in STAGES)
    assert timings["total"] - sum(timings[stage] for stage in STAGES) < 0.5


def test_numbers_stay_over_frames_and_reset_begins_anew():
    truths = [_pose(8, -0.15), _pose(9, 0.15)]
    left, right = (Detection(0, 0.9, _box(truth)) for truth in truths)
    pipeline = _pipeline([])
    frame = _frame_with_corners(truths)
    first = pipeline.process(frame, [left, right]).poses
    where = {pose.track_id: pose.camera_from_object[0, 3] for pose in first}
    again = pipeline.process(replace(frame, stamp_ns=10**8), [right]).poses[0]
    assert where[again.track_id] == pytest.approx(0.15, abs=0.01)
    pipeline.reset_tracks()
    assert pipeline.process(frame, [right]).poses[0].track_id == 0


def test_without_tracking_frames_stand_alone():
    truth = _pose(10)
    pipeline = _pipeline([Detection(0, 0.9, _box(truth))], settings={"tracking.enabled": False})
    moved = truth.copy()
    moved[0, 3] += 0.003
    pipeline.process(_frame_with_corners([truth]))
    alone = _pipeline([Detection(0, 0.9, _box(truth))], settings={"tracking.enabled": False}).process(
        _frame_with_corners([moved])
    )
    after = pipeline.process(_frame_with_corners([moved]))
    np.testing.assert_array_equal(after.poses[0].camera_from_object, alone.poses[0].camera_from_object)


def test_warm_up_runs_every_stage_and_leaves_no_tracks():
    backend = CornerBackend()
    truth = _pose(11)
    pipeline = _pipeline([Detection(0, 0.9, _box(truth))], backend)
    pipeline.warm_up(320, 240)
    assert backend.calls >= 1
    assert pipeline.process(_frame_with_corners([truth])).poses[0].track_id == 0


def test_a_refiner_takes_part_and_may_reject():
    class Rejecting:
        def refine(self, frame, detections, hypotheses, stages=None):
            return [replace(item, score=0.2) for item in hypotheses if item.object_index == 0]

    truths = [_pose(12, -0.15), _pose(13, 0.15)]
    detections = [Detection(1, 0.8, _box(truths[0])), Detection(0, 0.9, _box(truths[1]))]
    result = _pipeline(detections, refiner=Rejecting()).process(_frame_with_corners(truths))
    assert [(pose.name, pose.score) for pose in result.poses] == [("mug", 0.2)]


class Keeping:
    """A refiner that is as sure as it is told."""

    def __init__(self) -> None:
        self.sure = True

    def refine(self, frame, detections, hypotheses, stages=None):
        share = 0.8 if self.sure else 0.1
        return [
            replace(
                item,
                camera_from_object=item.camera_from_object.copy(),
                score=share * detections[item.detection_index].score,
            )
            for item in hypotheses
        ]


def draw_red(refiner, frame, hypotheses, stages):
    refiner.drawn = [item.score for item in hypotheses], stages
    return np.full((7, 9, 3), (255, 0, 0), np.uint8)


def test_following_leaves_out_detector_and_backend_until_a_pose_is_unsure():
    truth = _pose(14)
    backend, refiner = CornerBackend(), Keeping()
    pipeline = _pipeline(
        [Detection(0, 0.9, _box(truth))],
        backend,
        refiner=refiner,
        settings={"tracking.mode": "refine", "tracking.detect_every": 4},
    )
    counts = []
    for number in range(6):
        refiner.sure = number != 2
        result = pipeline.process(_frame_with_corners([truth], stamp_ns=number * 33_000_000))
        assert [pose.track_id for pose in result.poses] == [0]
        assert result.detections[0].score == 0.9
        counts.append(backend.calls)
    # Detected in frame 0, followed in 1, unsure in 2 and from there every fourth frame.
    assert counts == [1, 1, 2, 2, 2, 2]


def test_following_needs_a_refiner():
    with pytest.raises(ValueError, match="needs a refiner"):
        _pipeline([], settings={"tracking.mode": "refine"})


@pytest.fixture
def keeping(monkeypatch):
    """A refiner with a descriptor that says how it is drawn."""
    module = types.ModuleType("drawings_of_the_test")
    module.draw_red = draw_red
    monkeypatch.setitem(sys.modules, module.__name__, module)
    method = Method(
        "keeping",
        "refiner",
        "Keeps poses.",
        "",
        "nowhere:Settings",
        "nowhere:load",
        drawing=f"{module.__name__}:draw_red",
    )
    return LoadedMethod(method, Keeping())


def test_refiners_draw_what_they_did_and_images_without_detections_stay_plain(keeping):
    truth = _pose(15)
    frame = _frame_with_corners([truth])
    pipeline = _pipeline([], CornerBackend(), refiner=keeping)
    assert debug_names(pipeline) == ("keeping",)
    np.testing.assert_array_equal(draw_debug_images(pipeline, pipeline.process(frame))["keeping"], frame.rgb)
    result = pipeline.process(frame, [Detection(0, 0.9, _box(truth))])
    np.testing.assert_array_equal(draw_debug_images(pipeline, result)["keeping"][0, 0], (255, 0, 0))
    assert draw_debug_images(pipeline, result, ["other"]) == {}


def test_what_is_drawn_is_the_refinement_that_was_made(keeping):
    truth = _pose(16)
    backend = CornerBackend()
    pipeline = _pipeline(
        [Detection(0, 0.9, _box(truth))],
        backend,
        refiner=keeping,
        settings={"tracking.mode": "refine", "tracking.stages": 3},
    )
    for number, stages in enumerate((None, 3)):
        frame = _frame_with_corners([truth], stamp_ns=number * 33_000_000)
        draw_debug_images(pipeline, pipeline.process(frame))
        assert keeping.instance.drawn[1] == stages
    assert backend.calls == 1


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
        _pipeline([]).process(_frame_with_corners([]), [Detection(2, 0.9, np.array([0.0, 0, 9, 9]))])


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


class HalfSure:
    """Stands in for what checks poses: knows their chances by their detections, and that two of them are one."""

    settings = VerificationSettings(max_poses=3)

    def __init__(self, chances):
        self.chances = chances

    def verify(self, frame, detections, estimated, hypotheses):
        return [replace(item, score=self.chances[item.detection_index]) for item in hypotheses][: len(self.chances)]


def test_unsure_detections_get_a_pose_that_is_published_where_it_proves_likely():
    truths = [_pose(1, -0.15), _pose(2, 0.15)]
    boxes = [_box(truths[0]), _box(truths[1])]
    found = [
        Detection(0, 0.6, boxes[0]),
        Detection(1, 0.2, boxes[1]),
        Detection(1, 0.15, boxes[0]),
        Detection(0, 0.1, boxes[1]),
    ]
    pipeline = _pipeline(found)
    pipeline.verifier = HalfSure([0.45, 0.97, 0.1])
    result = pipeline.process(_frame_with_corners(truths))
    assert pipeline.detector.thresholds == [0.1]
    assert len(result.detections) == 3  # no more than `max_poses`
    assert [(pose.name, pose.score) for pose in result.poses] == [("brick", 0.97)]
    assert [item.score for item in result.trace.refined] == [0.9] * 3
    pipeline.min_pose_score = 0.4
    assert len(pipeline.process(_frame_with_corners(truths)).poses) == 2


def test_without_a_calibrated_score_everything_is_as_the_methods_say():
    truth = _pose(4)
    pipeline = _pipeline([Detection(0, 0.6, _box(truth)), Detection(0, 0.3, _box(truth))], CornerBackend(score=0.2))
    assert pipeline.verifier is None
    assert [pose.score for pose in pipeline.process(_frame_with_corners([truth])).poses] == [0.2]
    assert pipeline.detector.thresholds == [0.5]


def test_only_what_is_published_is_followed():
    truths = [_pose(1, -0.15), _pose(2, 0.15)]
    detections = [Detection(number, 0.9, _box(truth)) for number, truth in enumerate(truths)]
    pipeline = _pipeline(detections, refiner=Keeping(), settings={"tracking.mode": "refine"})
    pipeline.verifier = HalfSure([0.8, 0.3])
    pipeline.process(_frame_with_corners(truths))
    followed = pipeline.process(_frame_with_corners(truths, stamp_ns=10**7))
    assert [(pose.name, pose.score) for pose in followed.poses] == [("mug", pytest.approx(0.8))]
    assert len(pipeline.detector.thresholds) == 1
