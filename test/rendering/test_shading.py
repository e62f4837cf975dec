"""Shading: light that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.raycaster import make_engine
from pose_estimation_ros.rendering.shading import Lighting, bake_ambient_occlusion, random_lighting, shade


def lamp(direction, ambient=0.2, strength=0.6, specular=0.0, shininess=20.0):
    towards = torch.nn.functional.normalize(torch.tensor([[direction]]), dim=-1)
    return Lighting(
        torch.full((1, 3), ambient),
        towards,
        torch.full((1, 1, 3), strength),
        torch.tensor([specular]),
        torch.tensor([shininess]),
    )


def surface(normal):
    normals = torch.nn.functional.normalize(torch.tensor(normal), dim=0).reshape(1, 3, 1, 1)
    return torch.full((1, 3, 1, 1), 0.5), torch.ones(1, 1, 1, 1), normals


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.0, 2.0])
def test_lambert(angle):
    light = lamp([float(np.sin(angle)), 0.0, -float(np.cos(angle))])
    shaded = shade(*surface([0.0, 0.0, -1.0]), light)
    assert shaded[0, 0, 0, 0].item() == pytest.approx(0.5 * (0.2 + 0.6 * max(np.cos(angle), 0.0)), abs=1e-6)


def test_highlight_peaks_half_way_between_lamp_and_viewer():
    light = lamp([1.0, 0.0, -1.0], ambient=0.0, specular=1.0)
    half_way = [float(np.sin(np.pi / 8)), 0.0, -float(np.cos(np.pi / 8))]
    at_peak = shade(torch.zeros(1, 3, 1, 1), *surface(half_way)[1:], light)
    assert at_peak[0, 0, 0, 0].item() == pytest.approx(0.6, abs=1e-5)
    beside = shade(torch.zeros(1, 3, 1, 1), *surface([0.0, 0.0, -1.0])[1:], light)
    assert beside[0, 0, 0, 0].item() == pytest.approx(0.6 * np.cos(np.pi / 8) ** 20, rel=1e-3)


def test_occluded_corners_get_less_ambient_light():
    albedo, _, normals = surface([0.0, 0.0, -1.0])
    light = lamp([0.0, 0.0, -1.0], strength=0.0)
    open_sky, corner = (shade(albedo, torch.full((1, 1, 1, 1), share), normals, light) for share in (1.0, 0.25))
    torch.testing.assert_close(corner, 0.25 * open_sky)


def test_random_lighting_repeats_with_its_seed():
    first, again, other = (
        random_lighting(64, torch.Generator().manual_seed(seed), torch.device("cpu")) for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first.direction, again.direction, rtol=0, atol=0)
    assert not torch.allclose(first.ambient, other.ambient)
    assert (first.direction[..., 2] < 0).all()  # from the camera's side
    assert first.direction[..., 1].mean() < -0.2  # mostly from above


@pytest.mark.parametrize("engine", ["embree", "warp"])
def test_ambient_occlusion_at_the_foot_of_a_wall(engine):
    """A floor point right at an endless wall sees half of the sky, one far from it sees all of it."""
    if engine == "warp":
        pytest.importorskip("warp")
    wall = 0.4
    vertices = np.array(
        [[0.001, 0, 0], [0.39, 0, 0], [0.2, 0.01, 0]]
        + [[0, y, z] for y, z in ((-50, 0), (50, 0), (50, 50), (-50, 50))],
        dtype=np.float32,
    )
    vertices[3:, 1:] *= wall / 50
    normals = np.array([[0, 0, 1]] * 3 + [[1, 0, 0]] * 4, dtype=np.float32)
    faces = np.array([[0, 1, 2], [3, 4, 5], [3, 5, 6]])
    mesh = Mesh(vertices, faces, normals, np.ones_like(vertices))
    seen = bake_ambient_occlusion(make_engine([mesh], engine), 0, mesh, rays=2000, reach=0.3)
    assert seen[0].item() == pytest.approx(0.5, abs=0.05)
    assert seen[1].item() > 0.95


def test_ambient_occlusion_of_a_body_whose_normals_point_inwards():
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float32) * 0.1
    faces = ConvexHull(corners).simplices.astype(np.int64)
    outwards = (corners - 0.05) / np.linalg.norm(corners - 0.05, axis=1, keepdims=True)
    for normals in (outwards, -outwards):
        mesh = Mesh(corners, faces, normals, np.ones_like(corners))
        seen = bake_ambient_occlusion(make_engine([mesh], "embree"), 0, mesh, rays=200)
        assert float(seen.min()) > 0.6
