"""Ray casting against spheres and planes whose images are known exactly, with both engines."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_estimation_ros.geometry.camera import project_points
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.mesh import Mesh, load_mesh
from pose_estimation_ros.rendering.raycaster import RayCaster, make_engine

SIZE = 48
HAS_WARP = importlib.util.find_spec("warp") is not None
needs_warp = pytest.mark.skipif(not HAS_WARP, reason="warp-lang is not installed")
ENGINES = ["embree", pytest.param("warp", marks=needs_warp)]


def sphere(radius=0.05, rows=200, columns=400) -> Mesh:
    polar, angle = np.meshgrid(np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij")
    unit = np.stack([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.cos(polar)], -1).reshape(-1, 3)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + columns, corner + 1], 1),
            np.stack([corner + 1, corner + columns, corner + columns + 1], 1),
        ]
    )
    colors = (unit + 1.0) / 2.0
    return Mesh((radius * unit).astype("f4"), faces, unit.astype("f4"), colors.astype("f4"))


def plate() -> Mesh:
    """A square of 10 cm in z = 0 that faces -z, with four colours as its texture."""
    vertices = np.array([[-0.05, -0.05, 0], [0.05, -0.05, 0], [0.05, 0.05, 0], [-0.05, 0.05, 0]], dtype=np.float32)
    faces = np.array([[0, 2, 1], [0, 3, 2]])
    # v upwards in a picture is -y of a camera that looks along z.
    uv = (vertices[:, :2] * [1, -1] / 0.1 + 0.5).astype(np.float32)
    texture = np.zeros((16, 16, 3), dtype=np.float32)
    texture[:8, :8], texture[:8, 8:], texture[8:, :8] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    normals = np.tile(np.float32([0, 0, -1]), (4, 1))
    return Mesh(vertices, faces, normals, np.full_like(vertices, 0.5), uv[faces], texture)


def intrinsics(focal=120.0):
    return torch.tensor([[[focal, 0.0, 20.3], [0.0, focal * 1.1, 26.1], [0.0, 0.0, 1.0]]])


def pose(axis_angle=(0.0, 0.0, 0.0), position=(0.0, 0.0, 0.4)):
    matrix = torch.eye(4)
    matrix[:3, :3] = matrix_from_axis_angle(torch.tensor(axis_angle))
    matrix[:3, 3] = torch.tensor(position)
    return matrix[None]


def sphere_depth(position, radius, matrix):
    """Depth (H, W) of the nearer intersection of every pixel's ray with a sphere; zero beside it."""
    v, u = torch.meshgrid(torch.arange(SIZE).double(), torch.arange(SIZE).double(), indexing="ij")
    rays = torch.stack([u, v, torch.ones_like(u)], -1) @ torch.linalg.inv(matrix[0].double()).T
    centre = torch.tensor(position, dtype=torch.float64)
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius**2
    inside = b**2 - a * c
    return torch.where(inside > 0, (b - inside.clamp(min=0).sqrt()) / a, torch.zeros_like(a)), inside / a


@pytest.mark.parametrize("engine", ENGINES)
def test_sphere_is_where_it_must_be(engine):
    position, turn = (0.012, -0.02, 0.4), (0.4, -1.1, 0.3)
    caster = RayCaster([sphere()], engine)
    images = caster.render(torch.tensor([0]), pose(turn, position), intrinsics(), SIZE, SIZE)
    depth, clearance = sphere_depth(position, 0.05, intrinsics())
    sure = clearance.abs() > 1e-4  # away from the rim, which the facets cut short
    assert (images.mask[0] == (depth > 0))[sure].all()
    inner = images.mask[0] & sure
    assert inner.sum() > 500
    torch.testing.assert_close(images.depth[0][inner].double(), depth[inner], rtol=0, atol=2e-5)

    matrix = pose(turn, position)[0]
    v, u = inner.nonzero().T
    rays = torch.stack([u, v, torch.ones_like(u)], -1).float() @ torch.linalg.inv(intrinsics()[0]).T
    seen = rays * images.depth[0][inner][:, None]
    outward = (seen - matrix[:3, 3]) / 0.05
    torch.testing.assert_close(images.normals[0][:, inner].T, outward, rtol=0, atol=2e-3)
    coordinates = images.coordinates[0][:, inner].T
    torch.testing.assert_close(coordinates, (seen - matrix[:3, 3]) @ matrix[:3, :3], rtol=0, atol=1e-6)
    torch.testing.assert_close(images.colors[0][:, inner].T, (coordinates / 0.05 + 1) / 2, rtol=0, atol=2e-3)


@settings(max_examples=15, deadline=None)
@given(
    turn=st.tuples(*[st.floats(-3.0, 3.0)] * 3),
    position=st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05), st.floats(0.2, 0.8)),
)
def test_coordinates_project_back_to_their_pixels(turn, position):
    images = RayCaster([sphere(rows=20, columns=20)]).render(
        torch.tensor([0]), pose(turn, position), intrinsics(), SIZE, SIZE
    )
    v, u = images.mask[0].nonzero().T
    points = images.coordinates[0][:, v, u].T[None]
    pixels = project_points(points, pose(turn, position), intrinsics())[0]
    torch.testing.assert_close(pixels, torch.stack([u, v], 1).float(), rtol=0, atol=2e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_texture_lies_the_right_way_up(engine):
    matrix = torch.tensor([[[100.0, 0.0, 20.0], [0.0, 100.0, 20.0], [0.0, 0.0, 1.0]]])
    images = RayCaster([plate()], engine).render(torch.tensor([0]), pose(position=(0, 0, 0.4)), matrix, 41, 41)
    top_left, top_right, bottom_left, bottom_right = (
        images.colors[0, :, row, column] for row in (13, 27) for column in (13, 27)
    )
    torch.testing.assert_close(top_left, torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(top_right, torch.tensor([0, 1.0, 0]))
    torch.testing.assert_close(bottom_left, torch.tensor([0, 0, 1.0]))
    torch.testing.assert_close(bottom_right, torch.zeros(3))


@pytest.mark.parametrize("engine", ENGINES)
def test_normals_face_the_camera_on_both_sides(engine):
    for half_turns in (0.0, np.pi):
        images = RayCaster([plate()], engine).render(
            torch.tensor([0]), pose((half_turns, 0.0, 0.0)), intrinsics(), SIZE, SIZE
        )
        expected = torch.tensor([0.0, 0.0, -1.0]).expand(int(images.mask.sum()), 3)
        torch.testing.assert_close(images.normals[0][:, images.mask[0]].T, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_is_its_images_one_by_one(engine):
    caster = RayCaster([sphere(0.05), plate(), sphere(0.03)], engine)
    which = torch.tensor([2, 0, 1, 0])
    poses = torch.cat([pose((0.1 * k, 0.2, 0.5 * k), (0.01 * k, 0, 0.3 + 0.1 * k)) for k in range(4)])
    cameras = torch.cat([intrinsics(100.0 + 10 * k) for k in range(4)])
    together = caster.render(which, poses, cameras, SIZE, SIZE)
    for k in range(4):
        alone = caster.render(which[k : k + 1], poses[k : k + 1], cameras[k : k + 1], SIZE, SIZE)
        for name in ("depth", "coordinates", "normals", "colors", "face", "barycentric"):
            torch.testing.assert_close(getattr(together, name)[k], getattr(alone, name)[0], rtol=0, atol=0)


@needs_warp
def test_both_engines_see_the_same():
    demo = load_bundle("demo")
    meshes = [load_mesh(demo.mesh_path(index), model.mesh_unit) for index, model in enumerate(demo.catalog)]
    count = len(meshes)
    poses = torch.cat([pose((0.7 * k, 1.0, -0.4 * k), (0.0, 0.005 * k, 0.45)) for k in range(count)])
    arguments = (torch.arange(count), poses, intrinsics().expand(count, 3, 3), 2 * SIZE, 2 * SIZE)
    embree, warp = (RayCaster(meshes, engine).render(*arguments) for engine in ("embree", "warp"))
    assert (embree.mask == warp.mask).float().mean() > 0.9995
    both = embree.mask & warp.mask
    assert both.sum() > 3000
    assert ((embree.depth - warp.depth).abs()[both] < 1e-5).float().mean() > 0.999
    assert ((embree.coordinates - warp.coordinates).abs().amax(1)[both] < 1e-5).float().mean() > 0.999
    same = both & (embree.face == warp.face)  # rays through an edge may take either face
    assert same.sum() > 0.99 * both.sum()
    torch.testing.assert_close(
        embree.barycentric.permute(0, 2, 3, 1)[same], warp.barycentric.permute(0, 2, 3, 1)[same], rtol=0, atol=2e-3
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_distance_counts_in_lengths_of_the_direction(engine):
    hits = make_engine([plate()], engine).cast(
        0, torch.tensor([[0.01, 0.02, -1.0], [0.2, 0.0, -1.0]]), torch.tensor([[0.0, 0.0, 0.25], [0.0, 0.0, 0.25]])
    )
    assert hits.distance[0].item() == pytest.approx(4.0) and hits.distance[1].isinf()
    assert hits.face[1] == -1
    corners = torch.from_numpy(plate().vertices[plate().faces[hits.face[0]]])
    u, v = hits.barycentric[0]
    point = (1 - u - v) * corners[0] + u * corners[1] + v * corners[2]
    torch.testing.assert_close(point, torch.tensor([0.01, 0.02, 0.0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_to_render_and_nothing_hit(engine):
    caster = RayCaster([plate()], engine)
    empty = caster.render(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4, 4), torch.zeros(0, 3, 3), 8, 8)
    assert len(empty.depth) == 0
    missed = caster.render(torch.tensor([0]), pose(position=(5.0, 0.0, 0.4)), intrinsics(), 8, 8)
    assert not missed.mask.any() and (missed.face == -1).all() and not missed.depth.any()


def test_wrong_arguments_are_named():
    caster = RayCaster([plate()])
    with pytest.raises(ValueError, match="batch sizes 1, 2, 1"):
        caster.render(torch.tensor([0]), pose().expand(2, 4, 4), intrinsics(), 8, 8)
    with pytest.raises(ValueError, match="mesh_index up to 1, expected below 1"):
        caster.render(torch.tensor([1]), pose(), intrinsics(), 8, 8)
    with pytest.raises(ValueError, match="'optix'"):
        RayCaster([plate()], "optix")
    with pytest.raises(ValueError, match=r"'embree': device cuda"):
        RayCaster([plate()], "embree", "cuda")
    with pytest.raises(ValueError, match="no meshes"):
        RayCaster([])


@needs_warp
@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda_the_images_stay_on_the_device():
    arguments = (torch.tensor([0]), pose(), intrinsics(), SIZE, SIZE)
    here = RayCaster([sphere()], "embree").render(*arguments)
    there = RayCaster([sphere()], device="cuda").render(*arguments)
    assert there.depth.is_cuda
    assert (here.mask == there.mask.cpu()).float().mean() > 0.999
    assert ((here.depth - there.depth.cpu()).abs() < 1e-5).float().mean() > 0.999


def test_colours_of_meshes_with_and_without_a_picture_stay_apart():
    """Both in one caster look as each does in a caster of its own."""
    index, poses = torch.tensor([1, 0, 1]), torch.cat([pose(position=(0.0, 0.0, far)) for far in (0.3, 0.35, 0.4)])
    cameras = intrinsics().repeat(3, 1, 1)
    together = RayCaster([sphere(), plate()]).render(index, poses, cameras, SIZE, SIZE)
    for number, mesh in enumerate((plate(), sphere(), plate())):
        alone = RayCaster([mesh]).render(torch.tensor([0]), poses[number, None], cameras[:1], SIZE, SIZE)
        assert alone.mask.any()
        for name in ("colors", "normals", "coordinates", "depth", "mask", "face", "barycentric"):
            assert torch.equal(getattr(together, name)[number], getattr(alone, name)[0])
