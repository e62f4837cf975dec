"""The camera's motion is told from that of single objects, and keeps their numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.symmetry import rotation_about
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.catalog import Catalog, ContinuousSymmetry, ObjectModel
from pose_estimation_ros.tracking.common_motion import common_motion
from pose_estimation_ros.tracking.settings import TrackerSettings
from pose_estimation_ros.tracking.tracker import Tracker, object_symmetries

MUG, DRILL, BRICK, BOTTLE = range(4)
FRAME_NS = 100_000_000
CAMERA = Camera(np.array([[600.0, 0.0, 319.5], [0.0, 600.0, 239.5], [0.0, 0.0, 1.0]]), 640, 480)
SIZE_M = 0.15


def _model(object_id: int, name: str, **symmetries) -> ObjectModel:
    bounds = ((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05))
    return ObjectModel(object_id, name, SIZE_M, bounds, Path("x.ply"), **symmetries)


CATALOG = Catalog(
    (
        _model(1, "mug"),
        _model(2, "drill"),
        _model(3, "brick", discrete_symmetries=(rotation_about((0, 0, 1), (0, 0, 0), math.pi),)),
        _model(4, "bottle", continuous_symmetries=(ContinuousSymmetry((0.0, 0.0, 1.0)),)),
    )
)
SYMMETRIES = [object_symmetries(model) for model in CATALOG]


def _pose(x: float, y: float, z: float = 0.8, turn=(0.0, 0.0, 0.0)) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    pose[:3, 3] = x, y, z
    return pose


SCENE = [
    (MUG, _pose(0.0, 0.0, turn=(0.3, 0.2, 0.1))),
    (DRILL, _pose(0.3, 0.0, turn=(1.0, 0.0, 0.5))),
    (BRICK, _pose(0.0, 0.3, turn=(0.1, 0.9, 0.0))),
    (BRICK, _pose(0.3, 0.3, turn=(0.1, 0.9, 0.0))),
]
# The bricks come to lie about where the other one was.
ORBIT = rotation_about((0.0, 0.0, 1.0), (0.15, 0.3, 0.8), 0.9 * math.pi)


def _moved(motion: np.ndarray, scene=SCENE) -> list[tuple[int, np.ndarray]]:
    return [(index, motion @ pose) for index, pose in scene]


def _noisy(scene, rng: np.random.Generator):
    return [
        (index, _pose(*rng.normal(0.0, 0.003, 2), 0.0, rng.normal(0.0, 0.02, 3)) + pose - np.eye(4))
        for index, pose in scene
    ]


def _run(tracker: Tracker, frame: int, scene) -> dict[tuple[int, int], np.ndarray]:
    """Feed poses of one frame; return those that come out, by object and number."""
    hypotheses = [PoseHypothesis(index, row, pose, 0.9, 50) for row, (index, pose) in enumerate(scene)]
    detections = [Detection(index, 0.9, np.array([row, 0.0, row + 9, 9])) for row, (index, _) in enumerate(scene)]
    found = tracker.update(hypotheses, detections, CAMERA, frame * FRAME_NS)
    return {(item.object_index, item.track_id): item.camera_from_object for item in found}


@pytest.mark.parametrize("seed", range(5))
def test_the_motion_of_most_is_found_among_noise_misses_and_false_ones(seed):
    rng = np.random.default_rng(seed)
    motion = _pose(*rng.uniform(-0.3, 0.3, 3), turn=rng.normal(0.0, 0.8, 3))
    scene = [*SCENE, (BOTTLE, _pose(0.15, 0.15))]
    found = [*_noisy(_moved(motion, scene[:3] + scene[4:]), rng), (MUG, _pose(-0.4, 0.2)), (DRILL, _pose(0.5, -0.3))]
    order = rng.permutation(len(found))
    said = common_motion(scene, [found[row] for row in order], CATALOG, SYMMETRIES)
    for index, pose in scene:
        away = (said @ pose)[:3, 3] - (motion @ pose)[:3, 3]
        assert np.linalg.norm(away) < 0.25 * SIZE_M, index


def test_two_that_move_alike_are_too_few_and_no_objects_are_none():
    alone = [(index, _pose(0.2 * row, 0.4, turn=(0.0, 0.0, row))) for row, (index, _) in enumerate(SCENE)]
    assert common_motion(SCENE, [*_moved(ORBIT)[:2], *alone[2:]], CATALOG, SYMMETRIES) is None
    assert common_motion(SCENE, _moved(ORBIT)[:2], CATALOG, SYMMETRIES) is None
    assert common_motion([], [], CATALOG, SYMMETRIES) is None
    rest = [(MUG, _pose(0.2 * row, -0.4)) for row in range(8)]
    apart = [(MUG, _pose(0.2 * row + 0.04 * row**2, -0.4 - 0.1 * row, 1.2)) for row in range(8)]
    minority = common_motion([*SCENE[1:], *rest], [*_moved(ORBIT)[1:], *apart], CATALOG, SYMMETRIES)
    assert minority is None  # three of eleven


def test_many_of_one_kind_are_looked_at_in_bounded_work():
    grid = [(BRICK, _pose(0.2 * row, 0.2 * column)) for row in range(6) for column in range(6)]
    shift = _pose(0.05, 0.02, 0.01)
    said = common_motion([*SCENE[:2], *grid], _moved(shift, [*SCENE[:2], *grid]), CATALOG, SYMMETRIES)
    np.testing.assert_allclose(said, shift, atol=1e-9)


def test_two_of_a_kind_keep_their_numbers_when_the_camera_goes_where_they_seem_to_have_changed_places():
    tracker = Tracker(CATALOG)
    _run(tracker, 0, SCENE)
    after = _run(tracker, 1, _moved(ORBIT))
    for number, (index, pose) in enumerate(SCENE[2:]):
        np.testing.assert_allclose(after[index, number][:3, 3], (ORBIT @ pose)[:3, 3], atol=1e-9)


def test_a_wrong_detection_takes_no_number_of_an_instance_that_is_missed():
    tracker = Tracker(CATALOG)
    for frame in range(3):
        _run(tracker, frame, SCENE)
    wrong = _pose(0.0, -0.3)  # two diameters away
    assert _run(tracker, 3, [*SCENE[1:], (MUG, wrong)]).keys() == {(DRILL, 0), (BRICK, 0), (BRICK, 1), (MUG, 1)}
    after = _run(tracker, 4, SCENE)
    np.testing.assert_allclose(after[MUG, 0], SCENE[0][1], atol=1e-9)


def test_one_that_moves_among_others_that_rest_keeps_its_number_up_to_a_diameter_a_frame():
    tracker = Tracker(CATALOG)
    for frame in range(6):
        moving = (MUG, _pose(-0.9 * SIZE_M * frame, 0.0, turn=(0.3, 0.2, 0.1)))
        assert (MUG, 0) in _run(tracker, frame, [moving, *SCENE[1:]])
    far = (MUG, _pose(-0.9 * SIZE_M * 5 - 2.0 * SIZE_M, 0.0, turn=(0.3, 0.2, 0.1)))
    assert (MUG, 1) in _run(tracker, 6, [far, *SCENE[1:]])
    wide = Tracker(CATALOG, TrackerSettings(static_gate_diameters=3.0))
    _run(wide, 0, SCENE)
    assert (MUG, 0) in _run(wide, 1, [(MUG, _pose(2.0 * SIZE_M, 0.0, turn=(0.3, 0.2, 0.1))), *SCENE[1:]])


def test_one_that_was_hidden_while_the_camera_moved_is_known_again():
    tracker = Tracker(CATALOG)
    _run(tracker, 0, SCENE)
    step = rotation_about((0.0, 1.0, 0.0), (0.1, 0.1, 0.8), 0.4)
    motion = np.eye(4)
    for frame in range(1, 6):
        motion = step @ motion
        _run(tracker, frame, _moved(motion)[1:])  # without the mug
    after = _run(tracker, 6, _moved(step @ motion))
    np.testing.assert_allclose(after[MUG, 0], step @ motion @ SCENE[0][1], atol=1e-9)


def test_a_bottle_does_not_spin_about_itself_while_the_camera_goes_round_it():
    tracker = Tracker(CATALOG)
    scene = [*SCENE, (BOTTLE, _pose(0.15, 0.15))]
    spun = rotation_about((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 1.3)
    _run(tracker, 0, scene)
    start = _run(tracker, 1, scene)[BOTTLE, 0]
    motion = rotation_about((0.0, 0.0, 1.0), (0.15, 0.15, 0.8), 0.35)  # about the bottle's own axis
    moved = [*_moved(motion), (BOTTLE, motion @ scene[-1][1] @ spun)]
    now = _run(tracker, 2, moved)[BOTTLE, 0]
    angle = Rotation.from_matrix((motion @ start)[:3, :3].T @ now[:3, :3]).magnitude()
    assert angle < 0.25  # smoothed, of .35
