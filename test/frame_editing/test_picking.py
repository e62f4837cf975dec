"""A click finds the surface, and a frame stands on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pose_estimation_ros.frame_editing.picking import MeshPicker, SurfacePoint, standing_on

from ..objects.solids import box

ANGLE = st.floats(-180.0, 180.0)


@pytest.fixture(scope="module")
def picker() -> MeshPicker:
    return MeshPicker(box(0.2, 0.1, 0.06))


def test_a_ray_meets_the_nearest_side_whose_normal_looks_back(picker: MeshPicker) -> None:
    place = picker.pick(np.array([0.05, 0.02, 1.0]), np.array([0.0, 0.0, -3.0]))
    np.testing.assert_allclose(place.point, [0.05, 0.02, 0.03], atol=1e-6)
    np.testing.assert_allclose(place.normal, [0.0, 0.0, 1.0], atol=1e-9)
    inside = picker.pick(np.zeros(3), np.array([1.0, 0.1, 0.0]))
    np.testing.assert_allclose(inside.point, [0.1, 0.01, 0.0], atol=1e-6)
    np.testing.assert_allclose(inside.normal, [-1.0, 0.0, 0.0], atol=1e-9)
    assert picker.pick(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0])) is None


@given(st.tuples(ANGLE, ANGLE, ANGLE), st.tuples(ANGLE, ANGLE, ANGLE), st.sampled_from([1.0, -1.0, None]))
def test_z_is_the_normal_and_the_turn_is_the_smallest(before, other, along) -> None:
    rotation = Rotation.from_euler("xyz", before, degrees=True).as_matrix()
    normal = Rotation.from_euler("xyz", other, degrees=True).as_matrix()[:, 2]
    normal = normal if along is None else along * rotation[:, 2]
    pose = standing_on(SurfacePoint(np.array([1.0, 2.0, 3.0]), normal), rotation)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(pose[:3, 2], normal, atol=1e-6)
    np.testing.assert_array_equal(pose[:3, 3], [1.0, 2.0, 3.0])
    turned = Rotation.from_matrix(pose[:3, :3] @ rotation.T).magnitude()
    assert turned == pytest.approx(np.arccos(np.clip(normal @ rotation[:, 2], -1.0, 1.0)), abs=1e-6)
