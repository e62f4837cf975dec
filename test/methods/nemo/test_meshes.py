"""Meshes that carry features: cuboids that ignore what sticks out, and coarse copies of shapes."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.methods.nemo.meshes import cuboid_mesh, detailed_mesh, neural_meshes, shortest_interval
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.outline import OUTLINE_POINTS, outline_points


def sphere(radius: float = 0.1, rings: int = 40) -> Mesh:
    height, turn = np.meshgrid(np.linspace(0.0, np.pi, rings), np.linspace(0.0, 2.0 * np.pi, 2 * rings), indexing="ij")
    points = np.stack([np.sin(height) * np.cos(turn), np.sin(height) * np.sin(turn), np.cos(height)], axis=-1)
    number = np.arange(points[..., 0].size).reshape(height.shape)
    a, b, c, d = (item.ravel() for item in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
    faces = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    flat = points.reshape(-1, 3).astype(np.float32)
    return Mesh(radius * flat, faces, flat, np.full_like(flat, 0.5))


def test_the_shortest_interval_leaves_out_the_few_that_stick_out() -> None:
    values = np.concatenate([np.linspace(0.0, 1.0, 99), [50.0]])
    assert shortest_interval(values) == (0.0, 1.0)
    assert shortest_interval(-values) == (-1.0, 0.0)


def test_a_cuboid_holds_nearly_all_points_and_looks_outwards() -> None:
    generator = np.random.default_rng(0)
    points = generator.uniform(-1.0, 1.0, (5000, 3)) * [0.2, 0.1, 0.05]
    antenna = np.array([[0.0, 0.0, 0.4]])
    mesh = cuboid_mesh(np.concatenate([points, antenna]))
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    np.testing.assert_allclose(high - low, [0.4, 0.2, 0.1], rtol=0.03)
    assert 900 < len(mesh.vertices) < 1300
    centre = (low + high) / 2.0
    assert (((mesh.vertices - centre) * mesh.normals).sum(axis=1) > 0.0).all()
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    turned = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((turned * mesh.normals[mesh.faces[:, 0]]).sum(axis=1) > 0.0).all()
    # A closed surface: its volume, summed over tetrahedra to the origin, is that of the box.
    volume = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6.0
    assert volume == pytest.approx(float(np.prod(high - low)), rel=1e-5)


def test_flat_points_make_no_cuboid() -> None:
    with pytest.raises(ValueError, match="expected a volume"):
        cuboid_mesh(np.tile([[0.0, 1.0, 2.0]], (10, 1)))
    with pytest.raises(ValueError, match="1 points"):
        cuboid_mesh(np.zeros((1, 3)))


def test_a_coarse_copy_keeps_the_shape() -> None:
    copy = detailed_mesh(sphere(), 500)
    assert 400 < len(copy.vertices) < 600
    radius = np.linalg.norm(copy.vertices, axis=1)
    assert radius.min() > 0.09 and radius.max() < 0.101
    assert ((copy.vertices * copy.normals).sum(axis=1) > 0.09).mean() > 0.98


def test_the_outline_reaches_as_far_as_the_shape() -> None:
    points = outline_points(sphere().vertices)
    assert points.shape == (OUTLINE_POINTS, 3)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.1, rtol=1e-5)
    np.testing.assert_allclose(points.max(axis=0) - points.min(axis=0), 0.2, rtol=0.03)


def test_a_category_has_one_cuboid_or_one_for_each_instance() -> None:
    small, large = sphere(0.1), sphere(0.2)
    (shared,) = neural_meshes([small, large], "cuboid", 300)
    single = neural_meshes([small, large], "multi", 300)
    sizes = [np.ptp(mesh.vertices[:, 0]) for mesh in (shared, *single)]
    np.testing.assert_allclose(sizes[1:], [0.2, 0.4], rtol=0.05)
    assert sizes[1] < sizes[0] <= sizes[2] * 1.01
    assert len(neural_meshes([small, large], "detailed", 300)) == 2
