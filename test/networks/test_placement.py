"""Placement: the inverse of the target, the same size wherever a ball is seen, targets that follow the crop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pose_estimation_ros.networks.placement import PlacementHead, depth_of, placement_of


def _camera(focal: float, x: float, y: float) -> torch.Tensor:
    return torch.tensor([[[focal, 0.0, x], [0.0, focal, y], [0.0, 0.0, 1.0]]])


def test_depth_is_recovered():
    camera, diameter = _camera(900.0, -150.0, 80.0), torch.tensor([0.12])
    centre = torch.tensor([[0.2, -0.05, 0.83]])
    prediction = placement_of(centre, camera, diameter, 96)
    assert float(depth_of(prediction[:, 2], camera, diameter, 96)) == pytest.approx(0.83, rel=1e-5)


@pytest.mark.parametrize("angle_deg", [0.0, 10.0, 25.0])
def test_a_ball_appears_as_large_away_from_the_axis(angle_deg):
    """The area of a ball's outline in a crop fitted to it says the same of its distance everywhere in the image."""
    angle, distance, radius = np.radians(angle_deg), 0.9, 0.05
    direction = np.array([np.sin(angle), 0.0, np.cos(angle)])
    side_axis = np.array([np.cos(angle), 0.0, -np.sin(angle)])
    turn = np.linspace(0.0, 2.0 * np.pi, 400, endpoint=False)[:, None]
    lean = np.arcsin(radius / distance)  # of the cone of rays that touch the ball
    rays = np.cos(lean) * direction + np.sin(lean) * (
        np.cos(turn) * side_axis + np.sin(turn) * np.array([0.0, 1.0, 0.0])
    )
    outline = rays[:, :2] / rays[:, 2:]
    x, y = outline.T
    area = 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))
    focal, size = 800.0, 96
    slope = direction[:2] / direction[2]
    camera = _camera(focal, *((size - 1) / 2.0 - focal * slope))
    centre = torch.tensor((distance * direction)[None], dtype=torch.float32)
    log_size = float(placement_of(centre, camera, torch.tensor([2.0 * radius]), size)[0, 2])
    apparent = 2.0 * np.sqrt(area / np.pi) * focal / size
    assert log_size == pytest.approx(np.log(apparent), abs=0.005)


def test_any_crop_size_gives_one_row_per_crop():
    head = PlacementHead(7, 4).eval()
    embedding = torch.zeros(2, 4)
    for side in (16, 24, 32):
        prediction = head(torch.rand(2, 7, side, side), embedding)
        assert prediction.shape == (2, 6)
        assert torch.isfinite(prediction).all()
