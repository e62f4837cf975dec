"""A table finds again the views that it was made of, and says what it weighs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.geometry.rotations import geodesic_distance
from pose_estimation_ros.geometry.virtual_camera import rotation_between
from pose_estimation_ros.methods.view_table import SIZE, ViewTable, build_table, look_at_boxes, table_bytes
from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.mesh import Mesh, load_mesh, sample_surface
from pose_estimation_ros.objects.rotation_grid import rotation_grid
from pose_estimation_ros.rendering.raycaster import RayCaster
from pose_estimation_ros.rendering.shading import headlight

ROTATION = rotation_grid(PosePrior(), 24, 60.0)
DISTANCE_M = 1.0


@pytest.fixture(scope="module")
def wedge(tiny_bop: Path) -> Mesh:
    """Return a shape with no symmetry."""
    return load_mesh(tiny_bop / "models" / "obj_000001.ply", "mm")


@pytest.fixture(scope="module")
def table(wedge: Mesh) -> ViewTable:
    return tabled(wedge)


def tabled(mesh: Mesh, rotation: Tensor = ROTATION, channels: int = 8) -> ViewTable:
    outline = torch.from_numpy(sample_surface(mesh, 256)).float()
    centre = torch.from_numpy(np.mean(mesh.bounds, axis=0)).float()
    return build_table(RayCaster([mesh]), 0, centre, outline, rotation, DISTANCE_M, shades, channels)


def shades(images: Tensor) -> Tensor:
    """Return features (B, 8, h, w) that change with the surface's slope: waves of the brightness."""
    grey = F.avg_pool2d(images.mean(dim=1, keepdim=True), 8)
    return torch.cat([torch.sin(grey * number) for number in range(1, 9)], dim=1)


def photographed(mesh: Mesh, rotation: Tensor, place: tuple[float, float, float]) -> tuple[Tensor, Tensor, np.ndarray]:
    """Return an image (3, H, W) of the shape, the camera's intrinsics, and the box of what is seen."""
    pose = torch.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, torch.tensor(place)
    pose[:3, 3] -= rotation @ torch.from_numpy(np.mean(mesh.bounds, axis=0)).float()
    intrinsics = torch.tensor([[600.0, 0.0, 319.5], [0.0, 600.0, 239.5], [0.0, 0.0, 1.0]])
    renders = RayCaster([mesh]).render(torch.tensor([0]), pose[None], intrinsics[None], 480, 640)
    mask = renders.mask[:, None].float()
    toward = F.normalize(torch.tensor(place), dim=0)  # the lamp is turned to the object, as in the table
    facing = (renders.normals * toward[:, None, None]).sum(dim=1, keepdim=True)
    image = headlight(renders.colors, facing) * mask + 0.45 * (1.0 - mask)
    rows, columns = np.nonzero(renders.mask[0].numpy())
    return image[0], intrinsics, np.array([columns.min(), rows.min(), columns.max(), rows.max()], dtype=np.float64)


@pytest.mark.parametrize("number", [0, 37, 90, 143])
@pytest.mark.parametrize("place", [(0.0, 0.0, 1.0), (0.3, -0.2, 0.8)])
def test_a_view_of_the_table_is_the_most_similar_one(
    wedge: Mesh, table: ViewTable, number: int, place: tuple[float, float, float]
) -> None:
    """Where the object is off the axis, the camera that is turned to it sees it as the table does."""
    turn = rotation_between(torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([place]))[0]
    image, intrinsics, box = photographed(wedge, turn @ ROTATION[number], place)
    view = look_at_boxes(image, intrinsics, box[None])
    similarity = table.similarity(shades(view.images), view.log_aspect, 0.3)[0]
    assert similarity.argmax() == number
    seen = view.virtual_from_camera[0] @ turn @ ROTATION[number]
    assert math.degrees(float(geodesic_distance(seen, ROTATION[number]))) < 3.0


def test_boxes_of_another_shape_lose(wedge: Mesh, table: ViewTable) -> None:
    image, intrinsics, box = photographed(wedge, ROTATION[37], (0.0, 0.0, 1.0))
    view = look_at_boxes(image, intrinsics, box[None])
    free, strict = (table.similarity(shades(view.images), view.log_aspect, weight)[0] for weight in (0.0, 2.0))
    expected = 2.0 * (view.log_aspect[0] - table.log_aspect).abs()
    torch.testing.assert_close(free - strict, expected, atol=1e-5, rtol=0.0)
    assert abs(float(view.log_aspect[0] - table.log_aspect[37])) < 0.1


def test_a_table_weighs_what_was_foretold(wedge: Mesh) -> None:
    features = len(ROTATION) * 4 * (SIZE // 8) ** 2 * 2
    assert table_bytes(shades, len(ROTATION), 4, torch.device("cpu")) == features
    assert features < tabled(wedge, channels=4).nbytes < 1.1 * features


def test_a_box_beyond_the_image_is_grey() -> None:
    intrinsics = torch.tensor([[100.0, 0.0, 32.0], [0.0, 100.0, 24.0], [0.0, 0.0, 1.0]])
    view = look_at_boxes(torch.zeros(3, 48, 64), intrinsics, np.array([[200.0, 200.0, 230.0, 215.0]]))
    torch.testing.assert_close(view.images, torch.full_like(view.images, 0.5))
    assert float(view.log_aspect[0].exp()) == pytest.approx(2.0, rel=0.5)
