"""Rendered features: what they are, and their gradients with respect to the pose."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.methods.nemo.mesh_table import mesh_table, surface
from pose_estimation_ros.methods.nemo.meshes import cuboid_mesh
from pose_estimation_ros.methods.nemo.rendering import barycentric, render_features
from pose_estimation_ros.rendering.raycaster import RayCaster

CAMERA = torch.tensor([[[60.0, 0.0, 11.5], [0.0, 60.0, 11.5], [0.0, 0.0, 1.0]]])


def box():
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)
    return cuboid_mesh(corners * [0.1, 0.07, 0.05], 300)


def pose() -> torch.Tensor:
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.from_numpy(Rotation.from_rotvec([0.5, -0.4, 0.3]).as_matrix()).float()
    matrix[:3, 3] = torch.tensor([0.01, -0.02, 0.6])
    return matrix[None]


def moved(update: torch.Tensor) -> torch.Tensor:
    start = pose().double()
    turned = matrix_from_axis_angle(update[None, 3:]) @ start[:, :3, :3]
    top = torch.cat([turned, (start[:, :3, 3] + update[None, :3])[:, :, None]], dim=2)
    return torch.cat([top, start[:, 3:]], dim=1)


def test_features_are_those_of_the_surface_point_that_is_seen() -> None:
    mesh = box()
    caster = RayCaster([surface(mesh)])
    vertices, faces = torch.from_numpy(mesh.vertices)[None], torch.from_numpy(mesh.faces)[None]
    zero = torch.zeros(1, dtype=torch.int64)
    # Features that are the vertices themselves: between them the renderer has to give points of the surface.
    shown = render_features(caster, zero, vertices, faces, vertices, pose(), CAMERA, 24, 24)
    reference = caster.render(zero, pose(), CAMERA, 24, 24)
    assert 60 < int(shown.mask.sum()) < 500
    torch.testing.assert_close(shown.features, reference.coordinates, atol=1e-5, rtol=0.0)


def test_the_gradient_by_the_whole_pose_is_that_of_finite_differences() -> None:
    mesh = box()
    caster = RayCaster([surface(mesh)])
    vertices, faces = torch.from_numpy(mesh.vertices)[None].double(), torch.from_numpy(mesh.faces)[None]
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, len(mesh.vertices), 4, generator=generator, dtype=torch.float64)
    weight = torch.randn(1, 4, 24, 24, generator=generator, dtype=torch.float64)
    zero, camera = torch.zeros(1, dtype=torch.int64), CAMERA.double()

    def render(update: torch.Tensor) -> torch.Tensor:
        return render_features(caster, zero, vertices, faces, features, moved(update), camera, 24, 24).features

    def faces_at(update: torch.Tensor) -> torch.Tensor:
        return caster.render(zero, moved(update).float(), CAMERA, 24, 24).face

    at, step = torch.zeros(6, dtype=torch.float64), 2e-5
    steady = torch.ones(1, 1, 24, 24, dtype=torch.bool)
    for axis in range(6):  # cells whose face changes have no derivative
        nudge = torch.zeros(6, dtype=torch.float64)
        nudge[axis] = step
        steady &= (faces_at(nudge) == faces_at(at))[:, None] & (faces_at(-nudge) == faces_at(at))[:, None]
    variable = at.clone().requires_grad_()
    (render(variable) * weight * steady).sum().backward()
    numeric = torch.zeros(6, dtype=torch.float64)
    for axis in range(6):
        nudge = torch.zeros(6, dtype=torch.float64)
        nudge[axis] = step
        numeric[axis] = ((render(nudge) - render(-nudge)) * weight * steady).sum() / (2.0 * step)
    assert float(steady.double().mean()) > 0.9
    assert float(numeric.abs().min()) > 1.0
    torch.testing.assert_close(variable.grad, numeric, rtol=1e-4, atol=1e-4)


def test_barycentric_weights_of_a_corner_and_of_the_middle() -> None:
    corners = torch.tensor([[[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]]).expand(2, -1, -1)
    directions = torch.tensor([[0.0, 0.0, 1.0], [1.0 / 3.0, 1.0 / 3.0, 1.0]])
    found = barycentric(corners, torch.zeros(2, 3), directions)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0, 0.0], [1.0 / 3.0] * 3]))


def test_the_table_knows_what_is_seen_from_where() -> None:
    mesh = box()
    table = mesh_table([mesh], [0], 64)
    facing = table["directions"] @ torch.from_numpy(mesh.normals).T
    visible = table["visible"][0].bool()
    assert not bool(visible[facing < -1e-3].any())  # nothing of the far side
    assert float(visible[facing > 0.1].float().mean()) > 0.99  # all of the near side
    assert bool(table["is_real"].all())


def test_smaller_meshes_are_filled_up() -> None:
    small, large = cuboid_mesh(np.random.default_rng(0).uniform(-0.1, 0.1, (200, 3)), 100), box()
    table = mesh_table([small, large], [0, 1], 16)
    assert table["vertices"].shape[1] == len(large.vertices)
    assert int(table["is_real"][0].sum()) == len(small.vertices)
    assert not bool(table["visible"][0, :, len(small.vertices) :].any())
