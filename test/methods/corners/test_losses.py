"""The losses of the corner regression, and where it is told that corners are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pose_estimation_ros.methods.corners.losses import corner_losses, corner_targets
from pose_estimation_ros.methods.corners.network import CornerPredictions
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.control_points import box_corners


def predictions(offsets: torch.Tensor, log_scale: float) -> CornerPredictions:
    return CornerPredictions(offsets, torch.full(offsets.shape[:2], log_scale))


def test_targets_are_where_the_camera_sees_the_corners(catalog: Catalog) -> None:
    corners = torch.from_numpy(box_corners(catalog[0])).float()[None]
    pose = torch.eye(4)[None].clone()
    pose[0, :3, 3] = torch.tensor([0.0, 0.0, 0.5])
    camera = torch.tensor([[[200.0, 0.0, 63.5], [0.0, 200.0, 63.5], [0.0, 0.0, 1.0]]])
    target = corner_targets(pose, camera, corners, 128)[0].numpy()
    expected = 200.0 * box_corners(catalog[0])[:, :2] / (0.5 + box_corners(catalog[0])[:, 2:]) / 128
    np.testing.assert_allclose(target, expected, atol=1e-6)


def test_the_likelihood_is_greatest_at_the_mean_absolute_error() -> None:
    offsets, target = torch.full((1, 8, 2), 0.05), torch.zeros(1, 8, 2)
    scales = [0.03, 0.05, 0.08]
    with torch.no_grad():
        losses = [float(corner_losses(predictions(offsets, math.log(scale)), target)["corners"]) for scale in scales]
        assert min(losses) == losses[1]
        assert float(corner_losses(predictions(offsets, 0.0), target)["l1"]) == pytest.approx(0.05)


def test_corners_behind_the_camera_do_not_count() -> None:
    target = torch.zeros(1, 8, 2)
    target[0, 5] = torch.nan
    offsets = torch.full((1, 8, 2), 0.1, requires_grad=True)
    losses = corner_losses(predictions(offsets, -2.0), target)
    losses["corners"].backward()
    assert losses["l1"].item() == pytest.approx(0.1)
    assert offsets.grad is not None and torch.isfinite(offsets.grad).all()
    assert float(offsets.grad[0, 5].abs().sum()) == 0.0 and float(offsets.grad[0, 4].abs().min()) > 0.0
