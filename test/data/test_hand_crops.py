"""Cubes about hands: what is in the crop is where its coordinates say, wherever the cube was cut and however turned."""

from __future__ import annotations

import math

import pytest
import torch

from pose_estimation_ros.data.hand_crops import (
    crop_cubes,
    depth_points,
    nearest_part,
    points_from_cube,
    points_to_cube,
    settle_centre,
)
from pose_estimation_ros.rendering.spheres import sphere_depth

INTRINSICS = torch.tensor([[[290.0, 0.0, 160.0], [0.0, 292.0, 118.0], [0.0, 0.0, 1.0]]])
SIDE = torch.tensor([0.3])
CENTRE = torch.tensor([[0.12, -0.08, 0.7]])


@pytest.mark.parametrize("roll", [None, 0.0, 0.7, math.pi])
def test_a_ball_is_in_the_crop_where_its_coordinates_are(roll):
    ball = CENTRE[:, None] + torch.tensor([[[0.06, -0.04, 0.03]]])
    depth = sphere_depth(ball, torch.tensor([[0.012]]), INTRINSICS, 240, 320)
    turn = None if roll is None else torch.tensor([roll])
    crop = crop_cubes(depth, INTRINSICS, CENTRE, SIDE, 96, turn)[0, 0]
    x, y, z = points_to_cube(ball, INTRINSICS, CENTRE, SIDE, turn)[0, 0].tolist()
    rows, columns = (crop < 1.0).nonzero().float().mean(dim=0).tolist()
    assert (columns, rows) == pytest.approx(((x + 1.0) * 48.0 - 0.5, (y + 1.0) * 48.0 - 0.5), abs=0.5)
    assert crop.min() == pytest.approx(z - 0.012 / 0.15, abs=0.01)


def test_points_come_back_from_the_cube():
    points = CENTRE[:, None] + 0.1 * torch.randn(1, 20, 3, generator=torch.Generator().manual_seed(1))
    turn = torch.tensor([1.2])
    there = points_to_cube(points, INTRINSICS, CENTRE, SIDE, turn)
    assert torch.allclose(points_from_cube(there, INTRINSICS, CENTRE, SIDE, turn), points, atol=1e-6)


def test_what_was_not_measured_is_background_and_what_is_nearer_is_the_near_end():
    depth = torch.full((1, 240, 320), 0.7)
    depth[0, :, :40] = 0.0
    depth[0, :, 40:80] = float("nan")
    depth[0, :, 80:120] = torch.inf
    depth[0, :, 280:] = 0.3
    centre = torch.tensor([[0.0, 0.0, 0.7]])
    crop = crop_cubes(depth, INTRINSICS, centre, torch.tensor([0.9]), 64)[0, 0]
    assert (crop[32, :20] == 1.0).all()  # also beside the image
    assert crop[32, 32] == pytest.approx(0.0, abs=1e-6)
    assert crop[32, 57] == pytest.approx(-0.4 / 0.45, abs=1e-5)
    assert crop_cubes(depth, INTRINSICS, centre, torch.tensor([0.3]), 64)[0, 0, 32, 63] == pytest.approx(0.0, abs=1e-6)


def test_centres_settle_on_the_points_about_them_and_begin_with_the_nearest():
    depth = torch.full((1, 48, 64), torch.inf)
    depth[0, 20:28, 10:18] = 0.5
    depth[0, 20:28, 40:48] = 0.9
    depth[0, 0, 0] = 0.1  # a wrong pixel
    matrix = torch.tensor([[[60.0, 0.0, 31.5], [0.0, 60.0, 23.5], [0.0, 0.0, 1.0]]])
    points, measured = depth_points(depth, matrix)
    start = nearest_part(points, measured, 0.12)
    centre = settle_centre(points, measured, start, SIDE)
    assert centre[0].tolist() == pytest.approx([(13.5 - 31.5) / 60.0 * 0.5, 0.0, 0.5], abs=1e-5)
