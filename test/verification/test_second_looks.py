from dataclasses import replace

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.methods.base import LoadedMethod, Method, PoseHypothesis
from pose_estimation_ros.verification.second_looks import LOOKS, changed_box, look_again, most_agreed
from pose_estimation_ros.verification.settings import SecondLookSettings

from ..corner_cubes import CornerBackend, box_of, frame_with_corners, pipeline_of, random_pose

BOX = np.array([100.0, 50.0, 140.0, 130.0])
SETTINGS = SecondLookSettings()


def pose_at(x: float, score: float, number: int = 0) -> PoseHypothesis:
    pose = np.eye(4)
    pose[:3, 3] = x, 0.0, 1.0
    return PoseHypothesis(0, number, pose, score)


class Looking:
    """A backend whose pose is further to the right the wider the box, and a refiner that likes one place."""

    def __init__(self, liked: float = 0.3) -> None:
        self.liked, self.boxes = liked, []

    def estimate(self, detections):
        self.boxes += [item.box for item in detections]
        return [pose_at(item.box[2] - BOX[2], 0.1, number) for number, item in enumerate(detections)]

    def refine(self, detections, poses):
        near = [abs(item.camera_from_object[0, 3] - self.liked) for item in poses]
        return [replace(item, score=0.8 if way < 5 else 0.05) for item, way in zip(poses, near, strict=True)]


def test_a_box_that_is_too_small_is_made_good():
    eyes = Looking(liked=12.0)
    first = [pose_at(0.0, 0.1)]
    estimated, refined = look_again([Detection(0, 1.0, BOX)], first, first, eyes.estimate, eyes.refine, SETTINGS)
    assert len(eyes.boxes) == LOOKS
    assert refined[0].camera_from_object[0, 3] == pytest.approx(12.0)  # the box with 30 % more on its right
    assert refined[0].score == 0.8
    assert estimated[0].camera_from_object[0, 3] == pytest.approx(12.0)
    assert estimated[0].detection_index == refined[0].detection_index == 0


def test_sure_poses_are_left_alone():
    eyes = Looking()
    sure, doubted = pose_at(0.0, 0.25, 0), pose_at(0.0, 0.2, 1)  # of detections scored 0.5 and 1.0
    detections = [Detection(0, 0.5, BOX), Detection(0, 1.0, BOX + 300.0)]
    _, refined = look_again(detections, [sure, doubted], [sure, doubted], eyes.estimate, eyes.refine, SETTINGS)
    assert refined[0] is sure
    assert all(box[0] > 300.0 for box in eyes.boxes)
    assert refined[1].agreement is not None
    assert sure.agreement is None


def test_hopeless_poses_are_left_alone_where_their_probability_is_known():
    poses = [pose_at(0.0, 0.1, 0), pose_at(0.0, 0.1, 1)]
    detections = [Detection(0, 1.0, BOX), Detection(0, 1.0, BOX + 300.0)]
    choosy = SecondLookSettings(hopeless_below=0.05)
    for settings, known, looks in (
        (choosy, [0.04, 0.06], LOOKS),
        (choosy, None, 2 * LOOKS),
        (SecondLookSettings(hopeless_below=0.0), [0.0, 0.0], 2 * LOOKS),
    ):
        eyes = Looking()
        look_again(detections, poses, poses, eyes.estimate, eyes.refine, settings, known)
        assert len(eyes.boxes) == looks
        assert looks > LOOKS or all(box[0] > 300.0 for box in eyes.boxes)


def test_a_detection_without_a_pose_gets_one():
    eyes = Looking(liked=12.0)
    estimated, refined = look_again([Detection(0, 1.0, BOX)], [], [], eyes.estimate, eyes.refine, SETTINGS)
    assert len(estimated) == len(refined) == 1


def test_nothing_comes_of_nothing():
    assert look_again([Detection(0, 1.0, BOX)], [], [], lambda _: [], Looking().refine, SETTINGS) == ([], [])


def test_looks_that_agree_beat_a_surer_one_that_is_alone():
    poses = [pose_at(0.5, 0.3), pose_at(0.0, 0.2), pose_at(0.001, 0.2), pose_at(0.002, 0.2)]
    chosen, agreement = most_agreed(poses, Detection(0, 1.0, BOX))
    assert chosen != 0
    assert agreement == pytest.approx(0.6 / 0.9, abs=0.01)


def test_boxes_change_by_shares_of_their_sides():
    np.testing.assert_allclose(changed_box(BOX, (0.1, 0.0, 0.25, -0.1)), [96.0, 50.0, 150.0, 122.0])


@pytest.mark.parametrize(("options", "looks"), [({}, 1 + LOOKS), ({"second_looks.enabled": False}, 1)])
def test_the_pipeline_looks_again_where_the_refiner_doubts(options, looks):
    backend, truth = Counting(), random_pose(12)
    pipeline = pipeline_of([Detection(0, 0.9, box_of(truth))], backend, refiner=Doubting(), settings=options)
    pipeline.process(frame_with_corners([truth]))
    assert backend.crops == looks


def test_backends_that_search_are_not_asked_again():
    searching = Method("looking", "backend", "Looks.", "", "nowhere:Settings", "nowhere:load", searches=True)
    backend, truth = Counting(), random_pose(12)
    pipeline = pipeline_of([Detection(0, 0.9, box_of(truth))], LoadedMethod(searching, backend), refiner=Doubting())
    pipeline.process(frame_with_corners([truth]))
    assert backend.crops == 1


class Doubting:
    """A refiner that is never sure."""

    def refine(self, frame, detections, hypotheses, stages=None, thorough=True):
        return [replace(item, score=0.1) for item in hypotheses]


class Counting(CornerBackend):
    """Counts the crops that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.crops = 0

    def estimate(self, frame, crops, detections):
        self.crops += len(detections)
        return super().estimate(frame, crops, detections)
