"""Pose errors against what can be worked out by hand, and against plain loops."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pose_estimation_ros.evaluation import metrics
from pose_estimation_ros.evaluation.metrics import ObjectPoints
from pose_estimation_ros.geometry.symmetry import symmetry_transforms

INTRINSICS = np.array([[500.0, 0.0, 320.0], [0.0, 510.0, 240.0], [0.0, 0.0, 1.0]])
CORNERS = 0.05 * np.array(list(product((-1.0, 1.0), repeat=3)))
ANGLES = st.tuples(*[st.floats(-3.0, 3.0)] * 3)
SHIFTS = st.tuples(*[st.floats(-0.1, 0.1)] * 3)


def _pose(rotation_vector=(0.0, 0.0, 0.0), position=(0.0, 0.0, 0.7)) -> np.ndarray:
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_rotvec(rotation_vector).as_matrix()
    transform[:3, 3] = position
    return transform


def _cube() -> ObjectPoints:
    transforms = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        transform = np.eye(4)
        transform[:3, :3] = 0.0
        transform[range(3), order] = signs
        if np.linalg.det(transform) > 0:
            transforms.append(transform)
    symmetries = symmetry_transforms(transforms)
    assert len(symmetries) == 24
    return ObjectPoints(CORNERS, float(0.1 * np.sqrt(3)), symmetries, True)


def _cloud(symmetries: np.ndarray | None = None, count: int = 200) -> ObjectPoints:
    points = np.random.default_rng(3).normal(size=(count, 3)) * [0.03, 0.02, 0.05]
    return ObjectPoints(points, 0.3, np.eye(4)[None] if symmetries is None else symmetries, symmetries is not None)


def test_truth_as_estimate_has_no_error() -> None:
    truth = _pose((0.3, -1.0, 2.0), (0.1, -0.05, 0.8))
    for model in (_cube(), _cloud()):
        errors = [
            metrics.add_error(model.points, truth, truth),
            metrics.adi_error(model.points, truth, truth),
            metrics.projection_error(model.points, truth, truth, INTRINSICS),
            metrics.mssd(model, truth, truth),
            metrics.mspd(model, truth, truth, INTRINSICS, 640),
            metrics.rotation_error(truth, truth),
            metrics.translation_error(truth, truth),
        ]
        assert max(errors) < 1e-9


@pytest.mark.parametrize("axis", range(3))
def test_quarter_turn_of_a_cube_is_seen_by_add_only(axis: int) -> None:
    cube, truth = _cube(), _pose((0.4, 0.1, -0.7), (0.05, 0.0, 0.6))
    turn = np.zeros(3)
    turn[axis] = np.pi / 2
    estimate = truth @ _pose(turn, (0.0, 0.0, 0.0))
    # Every corner moves along a chord of 90 degrees at the radius sqrt(2) * 5 cm.
    assert metrics.add_error(cube.points, estimate, truth) == pytest.approx(0.1, abs=1e-9)
    assert metrics.adi_error(cube.points, estimate, truth) < 1e-9
    assert metrics.mssd(cube, estimate, truth) < 1e-9
    assert metrics.mspd(cube, estimate, truth, INTRINSICS, 640) < 1e-6
    assert metrics.rotation_error(estimate, truth) == pytest.approx(np.pi / 2)
    assert metrics.symmetric_rotation_error(cube, estimate, truth) < 1e-7


@given(shift=SHIFTS, angles=ANGLES)
@settings(max_examples=30, deadline=None)
def test_translation_is_measured_by_its_length(shift, angles) -> None:
    model, truth = _cloud(), _pose(angles)
    estimate = truth.copy()
    estimate[:3, 3] += shift
    length = float(np.linalg.norm(shift))
    assert metrics.add_error(model.points, estimate, truth) == pytest.approx(length, abs=1e-9)
    assert metrics.mssd(model, estimate, truth) == pytest.approx(length, abs=1e-9)
    assert metrics.translation_error(estimate, truth) == pytest.approx(length, abs=1e-9)
    assert metrics.adi_error(model.points, estimate, truth) <= length + 1e-9


@given(angles=ANGLES, more=ANGLES, shift=SHIFTS)
@settings(max_examples=25, deadline=None)
def test_fast_symmetric_distances_equal_plain_loops(angles, more, shift) -> None:
    """The convex hull and the bounds leave nothing out."""
    symmetries = symmetry_transforms([np.diag([-1.0, 1.0, -1.0, 1.0])], [((0.0, 0.0, 1.0), (0.002, 0.0, 0.0))], 0.2)
    model, truth = _cloud(symmetries), _pose(angles)
    estimate = _pose(more, truth[:3, 3] + shift)
    moved = model.points @ estimate[:3, :3].T + estimate[:3, 3]
    distances, pixels = [], []
    for symmetry in symmetries:
        pose = truth @ symmetry
        target = model.points @ pose[:3, :3].T + pose[:3, 3]
        distances.append(np.linalg.norm(moved - target, axis=1).max())
        projected = [cloud @ INTRINSICS.T for cloud in (moved, target)]
        difference = projected[0][:, :2] / projected[0][:, 2:] - projected[1][:, :2] / projected[1][:, 2:]
        pixels.append(np.linalg.norm(difference, axis=1).max())
    assert metrics.mssd(model, estimate, truth) == pytest.approx(min(distances), rel=1e-9)
    assert metrics.mspd(model, estimate, truth, INTRINSICS, 1280) == pytest.approx(min(pixels) / 2.0, rel=1e-9)


@given(angles=ANGLES, more=ANGLES, index=st.integers(0, 23))
@settings(max_examples=25, deadline=None)
def test_symmetric_distances_do_not_tell_equal_looks_apart(angles, more, index: int) -> None:
    cube, truth, estimate = _cube(), _pose(angles), _pose(more)
    other = truth @ cube.symmetries[index]
    assert metrics.mssd(cube, estimate, other) == pytest.approx(metrics.mssd(cube, estimate, truth), abs=1e-9)
    assert metrics.adi_error(cube.points, estimate, other) == pytest.approx(
        metrics.adi_error(cube.points, estimate, truth), abs=1e-9
    )


def test_flat_objects_have_symmetric_distances_too() -> None:
    flat = ObjectPoints(CORNERS * [1.0, 1.0, 0.0], 0.2, np.eye(4)[None], False)
    assert metrics.mssd(flat, _pose(position=(0.0, 0.03, 0.7)), _pose()) == pytest.approx(0.03)


def test_projection_of_a_sideways_shift() -> None:
    plane = np.array([[x, y, 0.0] for x in (-0.1, 0.1) for y in (-0.1, 0.1)])
    estimate, truth = _pose(position=(0.02, 0.0, 1.0)), _pose(position=(0.0, 0.0, 1.0))
    assert metrics.projection_error(plane, estimate, truth, INTRINSICS) == pytest.approx(10.0)
    model = ObjectPoints(plane, 0.3, np.eye(4)[None], False)
    assert metrics.mspd(model, estimate, truth, INTRINSICS, 320) == pytest.approx(20.0)


def test_behind_the_camera_is_infinitely_wrong() -> None:
    model, behind = _cloud(), _pose(position=(0.0, 0.0, -0.5))
    assert metrics.projection_error(model.points, behind, _pose(), INTRINSICS) == np.inf
    assert metrics.mspd(model, behind, _pose(), INTRINSICS, 640) == np.inf


@given(angle=st.floats(1e-7, np.pi - 1e-7), axis=ANGLES.filter(lambda item: np.linalg.norm(item) > 0.1), base=ANGLES)
@settings(max_examples=50, deadline=None)
def test_rotation_error_is_the_angle_even_where_it_is_tiny(angle: float, axis, base) -> None:
    turn = np.asarray(axis) / np.linalg.norm(axis) * angle
    truth = _pose(base)
    assert metrics.rotation_error(truth @ _pose(turn, (0, 0, 0)), truth) == pytest.approx(angle, rel=1e-5, abs=1e-8)


def _square(depth: float, columns: slice) -> np.ndarray:
    image = np.zeros((40, 60))
    image[10:30, columns] = depth
    return image


class TestVsd:
    """Visible surface discrepancy of squares that face the camera."""

    camera = np.array([[200.0, 0.0, 29.5], [0.0, 200.0, 19.5], [0.0, 0.0, 1.0]])

    def vsd(self, estimated: np.ndarray, true: np.ndarray, measured: np.ndarray) -> np.ndarray:
        return metrics.vsd(estimated, true, measured, self.camera, diameter_m=0.1)

    def test_same_pose(self) -> None:
        true = _square(1.0, slice(10, 30))
        np.testing.assert_array_equal(self.vsd(true, true, true), np.zeros(10))

    def test_apart(self) -> None:
        true, estimated = _square(1.0, slice(5, 20)), _square(1.0, slice(30, 45))
        np.testing.assert_array_equal(self.vsd(estimated, true, np.zeros((40, 60))), np.ones(10))

    def test_half_overlap(self) -> None:
        true, estimated = _square(1.0, slice(10, 30)), _square(1.0, slice(20, 40))
        np.testing.assert_allclose(self.vsd(estimated, true, np.zeros((40, 60))), np.full(10, 2.0 / 3.0))

    def test_depth_error_is_compared_with_each_tolerance(self) -> None:
        # 22 mm of 100 mm: within the tolerances from 0.25 on (rays stretch it by at most 1.5 %).
        true, estimated = _square(1.0, slice(10, 30)), _square(1.022, slice(10, 30))
        expected = [1.0] * 4 + [0.0] * 6
        np.testing.assert_array_equal(self.vsd(estimated, true, np.zeros((40, 60))), expected)

    def test_occluded_part_does_not_count(self) -> None:
        true, estimated = _square(1.0, slice(10, 30)), _square(1.0, slice(15, 30))
        occluder = np.full((40, 60), 1.0)
        occluder[:, :15] = 0.5
        np.testing.assert_array_equal(self.vsd(estimated, true, occluder), np.zeros(10))

    def test_share_of_wrong_pixels_is_rounded_once(self) -> None:
        """A tenth of the pixels is the number 0.1, which is not below a threshold of 0.1."""
        true, estimated = _square(1.0, slice(10, 30)), _square(1.0, slice(10, 30))
        estimated[:, 28:30] += np.where(estimated[:, 28:30] > 0, 0.5, 0.0)
        assert self.vsd(estimated, true, np.zeros((40, 60))).tolist() == [0.1] * 10

    def test_nothing_visible(self) -> None:
        empty = np.zeros((40, 60))
        np.testing.assert_array_equal(self.vsd(empty, empty, empty), np.ones(10))


@pytest.mark.parametrize(
    ("errors", "expected"), [([0.05] * 7, 50.0), ([0.0] * 3, 100.0), ([0.11, 0.2, np.inf], 0.0), ([0.02, np.inf], 40.0)]
)
def test_area_under_curve(errors: list[float], expected: float) -> None:
    assert metrics.area_under_curve(np.array(errors)) == pytest.approx(expected)


def test_area_under_curve_is_the_integral_of_the_accuracy() -> None:
    errors = np.random.default_rng(0).exponential(0.06, size=300)
    thresholds = np.linspace(0.0, 0.1, 20001)
    accuracy = np.searchsorted(np.sort(errors), thresholds) / len(errors)
    assert metrics.area_under_curve(errors) == pytest.approx(100 * accuracy.mean(), abs=0.01)


def test_rotation_scores() -> None:
    errors = np.radians([5.0, 9.0, 20.0, 29.0, 31.0])
    scores = metrics.rotation_scores(np.append(errors, np.inf))
    assert scores["acc_pi_6"] == pytest.approx(4 / 6)
    assert scores["acc_pi_18"] == pytest.approx(2 / 6)
    assert scores["median_rotation_deg"] == pytest.approx((20.0 + 29.0) / 2)
    assert metrics.rotation_scores(np.array([np.nan]))["median_rotation_deg"] == pytest.approx(90.0)
