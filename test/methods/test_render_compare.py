"""Renderings for the refiner: made of the rays that hit something, and what whole images would give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pose_estimation_ros.data.comparison import rendered_channels
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.geometry.virtual_camera import virtual_cameras
from pose_estimation_ros.methods.render_compare import rendered_in, surface_outlines
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.object_tensors import object_sizes
from pose_estimation_ros.rendering.raycaster import RayCaster
from pose_estimation_ros.rendering.shading import headlight

BUNDLE = load_bundle(Path(__file__).resolve().parents[2] / "models/demo")
CPU = torch.device("cpu")


@pytest.mark.parametrize("objects", [[0, 2, 0, 3], [1, 1], []])
def test_renderings_are_those_of_whole_images(objects: list[int]) -> None:
    """Objects of other sizes, whose centres are not their origins, turned anyhow; and none at all."""
    meshes = BUNDLE.load_meshes()
    caster, outline = RayCaster(meshes), surface_outlines(meshes)
    centre, half, diameter = object_sizes(BUNDLE.catalog, CPU)
    index = torch.tensor(objects, dtype=torch.int64)
    generator = torch.Generator().manual_seed(3)
    poses = torch.eye(4).repeat(len(objects), 1, 1)
    poses[:, :3, :3] = matrix_from_axis_angle(2.0 * torch.randn(len(objects), 3, generator=generator))
    poses[:, :3, 3] = torch.tensor([0.1, -0.05, 0.6])
    cameras = virtual_cameras(poses, centre[index], outline[index], 48, 1.3)
    made = rendered_in(caster, cameras, index, poses, centre, diameter)
    seen = cameras.poses(poses)
    whole = caster.render(index, seen, cameras.intrinsics, 48, 48)
    mask = whole.mask[:, None].float()
    color = headlight(whole.colors, whole.normals[:, 2:]) * mask
    about = (whole.coordinates - centre[index][:, :, None, None]) / half[index][:, :, None, None] * mask
    expected = rendered_channels(color, about, mask, seen[:, :3, :3], half[index], diameter[index])
    assert made.dtype == expected.dtype and made.shape == expected.shape
    torch.testing.assert_close(made.float(), expected.float(), rtol=0.0, atol=1e-3)
    if objects:
        assert 0.1 < float(made[:, 6].float().mean()) < 0.9
