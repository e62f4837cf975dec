"""Every method does what its kind promises, on images of objects and of noise, and on input that is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import PoseHypothesis

from .case import Case, View, fingerprint, methods_that

RIGID_TOLERANCE = 1e-4  # of rotations that were computed in single precision
OTHERS_TOLERANCE = 1e-3  # of poses, metres and elements of rotations: sums of a larger batch are rounded differently

detectors = methods_that(lambda method: method.kind == "detector")
refiners = methods_that(lambda method: method.kind == "refiner")
takers_of_boxes = methods_that(lambda method: method.kind != "detector")


def check_detections(case: Case, found: list[Detection], frame: Frame) -> None:
    height, width = frame.rgb.shape[:2]
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
    for item in found:
        assert 0 <= item.object_index < len(case.bundle.catalog)
        assert 0.0 <= item.score <= 1.0
        x0, y0, x1, y1 = item.box.tolist()
        assert -0.5 <= x0 < x1 <= width - 0.5 and -0.5 <= y0 < y1 <= height - 0.5
        assert item.is_tight == case.method.tight_boxes, "what the descriptor says of boxes"
        assert item.mask is None or (item.mask.shape == (height, width) and item.mask.dtype == bool)


def check_hypotheses(found: list[PoseHypothesis], detections: list[Detection]) -> None:
    assert len({item.detection_index for item in found}) == len(found), "expected at most one pose per box"
    for item in found:
        assert item.object_index == detections[item.detection_index].object_index
        assert 0.0 <= item.score <= 1.0
        check_pose(item.camera_from_object)
        if item.covariance is not None:
            assert item.covariance.shape == (6, 6)
            np.testing.assert_allclose(item.covariance, item.covariance.T, rtol=1e-6)
            assert np.linalg.eigvalsh(item.covariance).min() > 0.0, "expected None where the uncertainty is unknown"


def check_pose(pose: np.ndarray) -> None:
    assert pose.dtype == np.float64
    np.testing.assert_array_equal(pose[3], [0.0, 0.0, 0.0, 1.0])
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=RIGID_TOLERANCE)
    assert np.linalg.det(pose[:3, :3]) > 0.0 and pose[2, 3] > 0.0


def check(case: Case, found: list, view: View) -> None:
    if case.method.kind == "detector":
        check_detections(case, found, view.frame)
    else:
        check_hypotheses(found, view.detections)


def test_results_are_well_formed_on_every_image(case: Case):
    instance = case.load()
    results = [case.run(instance, view) for view in case.views]
    for found, view in zip(results, case.views, strict=True):
        check(case, found, view)
    assert any(results), "a trial with its settings finds something, or these tests show nothing"


@detectors
def test_objects_that_are_not_looked_for_are_not_found(case: Case):
    instance, view = case.load(), case.views[-1]
    kinds = {item.object_index for item in instance.detect(view.frame, 0.0)}
    for index in range(len(case.bundle.catalog)):
        found = instance.detect(view.frame, 0.0, {index})
        check_detections(case, found, view.frame)
        assert {item.object_index for item in found} <= {index}
        assert found or index not in kinds


@takers_of_boxes
@pytest.mark.parametrize("count", [0, 1, 5])
def test_no_object_one_and_many(case: Case, count: int):
    instance, view = case.load(), case.views[-1].first(count)
    found = case.run(instance, view)
    check(case, found, view)
    assert len(found) <= count
    if case.method.kind == "refiner":
        assert [item.detection_index for item in found] == sorted(item.detection_index for item in found)


def test_the_same_input_gives_the_same_result_bit_by_bit(case: Case):
    instance = case.load()
    first = [fingerprint(case.run(instance, view)) for view in case.views]
    assert [fingerprint(case.run(instance, view)) for view in case.views] == first, "the second time"
    other = case.load()
    assert [fingerprint(case.run(other, view)) for view in reversed(case.views)] == first[::-1], "loaded anew"


def test_input_stays_as_it_is(case: Case):
    instance, view = case.load(), case.views[1]
    pixels, boxes = view.frame.rgb.copy(), fingerprint(view.detections)
    poses = fingerprint(view.hypotheses)
    case.run(instance, view)
    np.testing.assert_array_equal(view.frame.rgb, pixels)
    assert (fingerprint(view.detections), fingerprint(view.hypotheses)) == (boxes, poses)


def test_images_of_messages_are_taken(case: Case):
    """They are read-only, and may be mirrored."""
    pipeline, view = case.pipeline(case.views[1].hypotheses), case.views[1]
    mirrored = np.ascontiguousarray(view.frame.rgb[:, ::-1])[:, ::-1]
    mirrored.setflags(write=False)
    expected = pipeline.process(view.frame, view.detections)
    found = pipeline.process(Frame(mirrored, view.frame.camera), view.detections)
    assert [item.score for item in found.poses] == [item.score for item in expected.poses]


@takers_of_boxes
def test_detections_of_unknown_objects_are_refused(case: Case):
    view = case.views[0]
    stranger = Detection(99, 1.0, view.detections[0].box)
    with pytest.raises(ValueError, match="detection of object 99: expected an index below 2"):
        case.pipeline().process(view.frame, [*view.detections, stranger])


@takers_of_boxes
@pytest.mark.parametrize(
    "box", [(50, 50, 50, 50), (60, 60, 40, 40), (500, 500, 600, 600), (-90, -90, -10, -10), (np.nan, 10, 50, 50)]
)
def test_boxes_without_a_part_of_the_image_give_no_pose(case: Case, box: tuple[float, ...]):
    view = case.views[0]
    result = case.pipeline(view.hypotheses).process(view.frame, [Detection(0, 1.0, np.array(box, dtype=np.float64))])
    assert result.poses == []
    assert result.reason == "1 detections, none inside the image"


@takers_of_boxes
def test_a_box_that_sticks_out_of_the_image_is_taken(case: Case):
    view = case.views[-1].first(1)
    low = replace(view.detections[0], box=np.array([-30.0, 60.0, 40.0, 150.0]))
    view = replace(view, detections=[low])
    check(case, case.run(case.load(), view), view)


@pytest.mark.parametrize("size", [(24, 16), (33, 70), (400, 90)])
def test_images_of_any_size_are_taken(case: Case, size: tuple[int, int]):
    width, height = size
    camera = Camera(np.array([[150.0, 0, width / 2], [0, 150.0, height / 2], [0, 0, 1.0]]), width, height)
    frame = Frame(np.full((height, width, 3), 90, dtype=np.uint8), camera)
    box = Detection(0, 1.0, np.array([0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height]))
    pose = np.eye(4)
    pose[2, 3] = 0.5
    view = View(frame, [box], [PoseHypothesis(0, 0, pose, 0.8)])
    check(case, case.run(case.load(), view), view)


@detectors
def test_a_threshold_keeps_what_is_above(case: Case):
    instance, view = case.load(), case.views[-1]
    everything = case.run(instance, view)
    middle = float(np.median([item.score for item in everything]))
    kept = instance.detect(view.frame, middle)
    assert fingerprint(kept) == fingerprint([item for item in everything if item.score >= middle])
    assert all(item.score >= 1.0 for item in instance.detect(view.frame, 1.0))


@detectors
def test_an_image_that_shows_nothing_is_taken(case: Case):
    view = case.views[0]
    black = View(Frame(np.zeros_like(view.frame.rgb), view.frame.camera), [], [])
    check(case, case.run(case.load(), black), black)


@refiners
@pytest.mark.parametrize("depth_m", [-0.5, 0.0, 1e4])
def test_a_pose_that_cannot_be_seen_spoils_no_others(case: Case, depth_m: float):
    """Behind the camera, in it, or far away: rejected, left out or moved to where it can be."""
    instance, view = case.load(), case.views[-1]
    pose = np.eye(4)
    pose[2, 3] = depth_m
    unseen, others = replace(view.hypotheses[0], camera_from_object=pose), view.hypotheses[1:]
    found = by_detection(case.run(instance, replace(view, hypotheses=[unseen, *others])))
    if 0 in found and not found[0].rejected:
        check_pose(found[0].camera_from_object)
    for index, item in by_detection(case.run(instance, replace(view, hypotheses=others))).items():
        difference = np.abs(found[index].camera_from_object - item.camera_from_object)
        assert difference.max() < OTHERS_TOLERANCE


def by_detection(hypotheses: list[PoseHypothesis]) -> dict[int, PoseHypothesis]:
    return {item.detection_index: item for item in hypotheses}
