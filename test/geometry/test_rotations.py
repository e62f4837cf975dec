"""Rotations: known values, inverses of each other, gradients, and behaviour at 0 and pi."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pose_estimation_ros.geometry.rotations import (
    axis_angle_from_matrix,
    geodesic_distance,
    matrix_from_axis_angle,
    matrix_from_quaternion,
    quaternion_from_matrix,
)

AXES = st.tuples(*[st.floats(-1, 1) for _ in range(3)]).filter(lambda axis: np.linalg.norm(axis) > 0.1)
ANGLES = st.one_of(
    st.floats(0.0, math.pi), st.floats(0.0, 1e-6), st.floats(math.pi - 1e-6, math.pi), st.sampled_from([0.0, math.pi])
)


def _vector(axis, angle) -> torch.Tensor:
    direction = torch.tensor(axis, dtype=torch.float64)
    return angle * direction / direction.norm()


@given(axis=AXES, angle=ANGLES)
@settings(max_examples=200, deadline=None)
def test_axis_angle_agrees_with_scipy_and_returns(axis, angle):
    vector = _vector(axis, angle)
    matrix = matrix_from_axis_angle(vector)
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(vector.numpy()).as_matrix(), atol=1e-14)
    again = axis_angle_from_matrix(matrix)
    assert abs(float(again.norm()) - angle) < 1e-7
    np.testing.assert_allclose(matrix_from_axis_angle(again), matrix, atol=1e-9)


@given(axis=AXES, angle=ANGLES)
@settings(max_examples=200, deadline=None)
def test_quaternion_agrees_with_scipy_and_returns(axis, angle):
    matrix = matrix_from_axis_angle(_vector(axis, angle))
    quaternion = quaternion_from_matrix(matrix)
    expected = torch.from_numpy(Rotation.from_matrix(matrix.numpy()).as_quat())
    assert abs(float(quaternion @ expected)) == pytest.approx(1.0, abs=1e-12)
    assert float(quaternion[3]) >= 0.0
    np.testing.assert_allclose(matrix_from_quaternion(quaternion), matrix, atol=1e-12)


@given(axis=AXES, angle=ANGLES, base=AXES)
@settings(max_examples=200, deadline=None)
def test_geodesic_distance_is_the_angle_of_the_turn(axis, angle, base):
    start = matrix_from_axis_angle(_vector(base, 1.3))
    turned = start @ matrix_from_axis_angle(_vector(axis, angle))
    assert float(geodesic_distance(start, turned)) == pytest.approx(angle, abs=1e-12)
    assert float(geodesic_distance(turned, start)) == pytest.approx(angle, abs=1e-12)


def test_single_precision_keeps_small_angles():
    angles = torch.tensor([1e-6, 1e-5, 1e-3, 9.9e-3, 1.01e-2])
    matrices = matrix_from_axis_angle(angles[:, None] * torch.tensor([0.0, 0.6, 0.8]))
    measured = geodesic_distance(torch.eye(3), matrices)
    assert torch.allclose(measured, angles, rtol=2e-4)
    assert torch.allclose(axis_angle_from_matrix(matrices).norm(dim=-1), angles, rtol=2e-4)


def test_quaternion_order_is_xyzw():
    quarter_about_z = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    half = math.sqrt(0.5)
    assert torch.allclose(quaternion_from_matrix(quarter_about_z), torch.tensor([0.0, 0.0, half, half]))


def test_quaternions_need_not_have_unit_length():
    quaternion = torch.tensor([0.1, -0.2, 0.3, 0.4], dtype=torch.float64)
    assert torch.allclose(matrix_from_quaternion(quaternion), matrix_from_quaternion(-7.0 * quaternion))


@pytest.mark.parametrize("vector", [[0.0, 0.0, 0.0], [1e-9, 0.0, 0.0], [0.3, -0.7, 1.1], [3.0, 0.5, -0.5]])
def test_exponential_gradient(vector):
    point = torch.tensor([vector], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(matrix_from_axis_angle, point)


@pytest.mark.parametrize("vector", [[0.0, 0.0, 0.0], [1e-9, 0.0, 0.0], [0.3, -0.7, 1.1], [2.0, 1.5, -1.5]])
def test_gradients_through_the_way_back(vector):
    """Perturb on the group: away from it the derivative of a conversion has no meaning."""
    base = matrix_from_axis_angle(torch.tensor(vector, dtype=torch.float64))
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for convert in (axis_angle_from_matrix, quaternion_from_matrix):
        assert torch.autograd.gradcheck(lambda w, f=convert: f(base @ matrix_from_axis_angle(w)), zero)


def test_gradient_of_the_distance():
    base = matrix_from_axis_angle(torch.tensor([0.2, 0.4, -0.1], dtype=torch.float64))
    point = torch.tensor([0.5, -0.3, 0.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: geodesic_distance(base, matrix_from_axis_angle(w)), point)
    same = base.clone().requires_grad_(True)
    geodesic_distance(base, same).backward()
    assert torch.isfinite(same.grad).all()


def test_batches_of_any_shape_agree_with_single_values():
    vectors = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrices = matrix_from_axis_angle(vectors)
    for convert, values in (
        (matrix_from_axis_angle, vectors),
        (quaternion_from_matrix, matrices),
        (axis_angle_from_matrix, matrices),
    ):
        torch.testing.assert_close(convert(values)[1, 3], convert(values[1, 3]))
    torch.testing.assert_close(
        geodesic_distance(matrices, matrices[0, 0])[1, 2], geodesic_distance(matrices[1, 2], matrices[0, 0])
    )


@pytest.mark.parametrize(
    ("convert", "shape", "name"),
    [
        (quaternion_from_matrix, (3, 4), "rotation"),
        (axis_angle_from_matrix, (9,), "rotation"),
        (matrix_from_quaternion, (3,), "quaternion"),
        (matrix_from_axis_angle, (4,), "axis_angle"),
        (lambda value: geodesic_distance(torch.eye(3), value), (4, 4), "rotation_b"),
    ],
)
def test_wrong_shapes_are_named(convert, shape, name):
    with pytest.raises(ValueError, match=name):
        convert(torch.zeros(shape))


def test_rotations_are_as_exact_where_networks_run_in_bfloat16():
    vectors = torch.tensor([[0.4, -1.0, 0.3], [2.0, 0.5, -0.7]])
    matrices = matrix_from_axis_angle(vectors)
    angle = geodesic_distance(matrices[0], matrices[1])
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(matrix_from_axis_angle(vectors), matrices, rtol=0.0, atol=0.0)
        torch.testing.assert_close(geodesic_distance(matrices[0], matrices[1]), angle, rtol=0.0, atol=0.0)
