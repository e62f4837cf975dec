"""Who is who: pixels and poses together tell instances of one kind apart, whatever one of them is wrong about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.box_outline import areas, box_outline, common_areas
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.tracking.tracker import Tracker

MUG, PLATE = 0, 1
FRAME_NS = 100_000_000
CAMERA = Camera(np.array([[600.0, 0.0, 319.5], [0.0, 600.0, 239.5], [0.0, 0.0, 1.0]]), 640, 480)
CATALOG = Catalog(
    tuple(
        ObjectModel(number, name, 0.15, ((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05)), Path("x.ply"))
        for number, name in ((1, "mug"), (2, "plate"))
    )
)
SCENE = [(PLATE, -0.3, 1.0), (PLATE, 0.0, 1.2), (PLATE, 0.3, 1.0)]  # at rest: the camera rests


def _at(x: float, z: float = 0.8) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = x, 0.0, z
    return pose


def _along_ray(x: float, z: float, factor: float) -> np.ndarray:
    """Return the pose of what is at (x, 0, z) as an estimate has it whose depth is wrong by a factor."""
    return _at(x * factor, z * factor)


def _run(tracker: Tracker, frame: int, seen: list[tuple[int, np.ndarray]]) -> list[int]:
    """Feed the poses of one frame; return the numbers of the mugs in their order."""
    hypotheses = [PoseHypothesis(index, row, pose, 0.9) for row, (index, pose) in enumerate(seen)]
    detections = [Detection(index, 0.9, np.zeros(4)) for index, _ in seen]
    found = tracker.update(hypotheses, detections, CAMERA, frame * FRAME_NS)
    return [item.track_id for item in found if item.object_index == MUG]


def _tracked(at: list[np.ndarray], others: list[tuple[int, np.ndarray]] | None = None, frames: int = 4) -> Tracker:
    """Return a tracker that has seen mugs, and others, at rest."""
    tracker = Tracker(CATALOG)
    for frame in range(frames):
        _run(tracker, frame, [*((MUG, pose) for pose in at), *(others or [])])
    return tracker


def test_a_wrong_detection_beside_an_instance_does_not_take_its_number():
    """The depth of the true one jumps farther than the wrong one is away."""
    tracker = _tracked([_at(0.0)])
    assert _run(tracker, 4, [(MUG, _at(0.11)), (MUG, _along_ray(0.0, 0.8, 1.2))]) == [1, 0]


def test_a_wrong_detection_that_stands_in_for_one_frame_does_not_keep_the_number():
    tracker = _tracked([_at(0.0)])
    wrong = _at(0.25)
    _run(tracker, 4, [(MUG, wrong)])  # the true one is missed
    assert _run(tracker, 5, [(MUG, wrong), (MUG, _at(0.0))]) == [1, 0]
    assert _run(tracker, 6, [(MUG, _at(0.0)), (MUG, wrong)]) == [0, 1]


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_an_instance_whose_depth_jumps_along_the_ray_keeps_its_number(factor):
    others = [(index, _at(x, z)) for index, x, z in SCENE]
    tracker = _tracked([_at(0.1)], others)
    jumped = _along_ray(0.1, 0.8, factor)
    assert np.linalg.norm(jumped - _at(0.1)) > CATALOG[MUG].diameter_m  # past the gate of a scene at rest
    assert _run(tracker, 4, [(MUG, jumped), *others]) == [0]


def test_another_instance_farther_along_the_ray_is_another_one():
    others = [(index, _at(x, z)) for index, x, z in SCENE]
    tracker = _tracked([_at(0.1)], others)
    assert _run(tracker, 4, [(MUG, _along_ray(0.1, 0.8, 1.6)), *others]) == [1]


def test_one_far_across_the_image_is_another_one_however_near_the_camera():
    """In space it is within three diameters; in the image it is five of the other's apparent ones away."""
    tracker = _tracked([_at(0.0)])
    assert _run(tracker, 4, [(MUG, _at(0.38, 0.57)), (MUG, _at(0.0))]) == [1, 0]
    tracker = _tracked([_at(0.0)])
    assert _run(tracker, 4, [(MUG, _at(0.38, 0.57))]) == [1]


@pytest.mark.parametrize(("noise", "least"), [(0.05, 3), (0.1, 2)])
def test_instances_that_cross_in_the_image_keep_their_numbers(noise, least):
    """One passes in front of the other and hides it meanwhile, and depth is wrong by up to what separates them."""
    assert sum(_keeps_numbers_in_a_crossing(seed, noise) for seed in range(3)) >= least


def _keeps_numbers_in_a_crossing(seed: int, noise: float) -> bool:
    rng = np.random.default_rng(seed)
    tracker, owners = Tracker(CATALOG), []
    for frame, x in enumerate(np.arange(-0.3, 0.3, 0.005)):
        places = [(x, 0.8), (-1.2 * x, 1.0)]
        seen = [number for number in range(2) if number == 0 or abs(places[1][0] - x) > 0.08]
        rng.shuffle(seen)
        poses = [_along_ray(*places[number], 1.0 + noise * rng.normal()) for number in seen]
        given_numbers = _run(tracker, frame, [(MUG, pose) for pose in poses])
        owners += list(zip(seen, given_numbers, strict=True))
    return len(set(owners)) == 2 and len({number for _, number in owners}) == 2


HIDDEN, OTHER = _at(-0.15, 1.0), _at(0.15)


def _with_a_lost_one(unseen: int, others: list[tuple[int, np.ndarray]] | None = None) -> tuple[Tracker, int]:
    """Return a tracker of two mugs, number 0 of which was not seen in the newest frames, and the next frame."""
    tracker = _tracked([HIDDEN, OTHER], others, frames=6)
    for frame in range(6, 6 + unseen):
        _run(tracker, frame, [(MUG, OTHER), *(others or [])])
    return tracker, 6 + unseen


def _turned(pose: np.ndarray, degrees: float) -> np.ndarray:
    turned, angle = pose.copy(), np.radians(degrees)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turned


def test_the_number_of_a_lost_instance_is_kept_for_it_while_others_of_its_kind_are_seen():
    tracker, frame = _with_a_lost_one(unseen=40)
    assert [state.track_id for state in tracker.states] == [1]
    assert _run(tracker, frame, [(MUG, OTHER), (MUG, _at(0.8, 1.6))]) == [1, 2]
    assert _run(tracker, frame + 1, [(MUG, HIDDEN), (MUG, OTHER), (MUG, _at(0.8, 1.6))]) == [0, 1, 2]


def test_the_number_of_a_lost_instance_is_free_again_in_the_end():
    tracker, frame = _with_a_lost_one(unseen=40)
    later = frame + 300  # half a minute after it was last seen
    assert _run(tracker, later, [(MUG, OTHER), (MUG, _at(0.8, 1.6))]) == [1, 0]


def test_what_was_seen_a_few_times_only_keeps_no_number():
    tracker = _tracked([OTHER], frames=6)
    for frame in range(6, 8):
        assert _run(tracker, frame, [(MUG, OTHER), (MUG, HIDDEN)]) == [0, 1]
    for frame in range(8, 30):
        _run(tracker, frame, [(MUG, OTHER)])
    assert _run(tracker, 30, [(MUG, OTHER), (MUG, _at(0.8, 1.6))]) == [0, 1]


def test_the_only_instance_gets_the_lowest_number_wherever_it_comes_back():
    tracker, frame = _with_a_lost_one(unseen=40)
    for empty in range(frame, frame + 20):
        _run(tracker, empty, [])
    assert _run(tracker, frame + 20, [(MUG, _turned(_at(0.8, 1.6), 120.0))]) == [0]


def test_an_instance_that_comes_back_where_it_was_is_not_the_one_that_is_seen_elsewhere():
    """One estimate, two diameters from a mug that was seen just now: where the other one was lost."""
    tracker, frame = _with_a_lost_one(unseen=40)
    assert _run(tracker, frame, [(MUG, HIDDEN)]) == [0]
    assert _run(tracker, frame + 1, [(MUG, HIDDEN), (MUG, OTHER)]) == [0, 1]


@pytest.mark.parametrize("unseen", [8, 40], ids=["unseen", "lost"])
def test_an_instance_that_moved_while_it_was_hidden_keeps_its_number(unseen):
    """The camera rests, as others show; beside it an estimate turned otherwise is another instance."""
    others = [(index, _at(x, z)) for index, x, z in SCENE]
    moved = _at(-0.35, 1.0)  # more than one diameter
    tracker, frame = _with_a_lost_one(unseen, others)
    assert _run(tracker, frame, [(MUG, OTHER), (MUG, _turned(moved, 30.0)), *others]) == [1, 0]
    tracker, frame = _with_a_lost_one(unseen, others)
    assert _run(tracker, frame, [(MUG, OTHER), (MUG, _turned(moved, 90.0)), *others]) == [1, 2]
    tracker, frame = _with_a_lost_one(2, others)  # so soon it is none that moved
    assert _run(tracker, frame, [(MUG, OTHER), (MUG, moved), *others]) == [1, 2]


def test_smoothing_begins_afresh_with_an_instance_that_comes_back():
    tracker, frame = _with_a_lost_one(unseen=40)
    moved = _at(-0.2, 1.0)
    hypothesis = PoseHypothesis(MUG, 0, moved, 0.9)
    (found,) = tracker.update([hypothesis], [Detection(MUG, 0.9, np.zeros(4))], CAMERA, frame * FRAME_NS)
    assert found.track_id == 0
    np.testing.assert_allclose(found.camera_from_object, moved)


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_common_areas_are_those_of_the_pixels(seed):
    """Polygons against their pixels, those that reach out of the image included."""
    import cv2

    rng = np.random.default_rng(seed)
    outlines = []
    for _ in range(3):
        pose = _at(rng.uniform(-0.5, 0.5), rng.uniform(0.4, 1.2))
        pose[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        outlines.append(box_outline(CATALOG[MUG], pose, CAMERA))
    outlines.append(outlines[0].copy())
    masks = np.zeros((4, 480, 640), np.uint8)
    for mask, outline in zip(masks, outlines, strict=True):
        if len(outline):
            cv2.fillConvexPoly(mask, np.round(outline).astype(np.int32), 1)
    flat = masks.reshape(4, -1).astype(np.float64)
    tolerance = 4.0 * sum(cv2.arcLength(outline, True) for outline in outlines if len(outline)) / 4 + 10
    common = common_areas(outlines, outlines)
    np.testing.assert_allclose(common, flat @ flat.T, atol=tolerance)
    np.testing.assert_allclose(common[0, 3], areas(outlines)[0], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("z", [-0.8, 0.0, 0.05, np.nan])
def test_what_reaches_up_to_the_camera_has_no_outline(z):
    assert box_outline(CATALOG[MUG], _at(0.0, z), CAMERA).shape == (0, 2)
    assert areas([box_outline(CATALOG[MUG], _at(3.0), CAMERA)]) == 0.0  # beside the image
