"""Rotations are spread so that none is far, and keep to what is known of the scene."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.rotation_grid import rotation_grid


@pytest.mark.parametrize(("directions", "step", "farthest"), [(60, 45.0, 40.0), (150, 30.0, 27.0)])
def test_no_rotation_is_far_from_the_grid(directions: int, step: float, farthest: float) -> None:
    grid = rotation_grid(PosePrior(), directions, step)
    some = torch.from_numpy(Rotation.random(500, random_state=0).as_matrix()).float()
    traces = torch.einsum("nij,vij->nv", some, grid).amax(dim=1)
    assert torch.rad2deg(torch.acos(((traces - 1.0) / 2.0).clamp(-1.0, 1.0))).max() < farthest


def test_the_prior_is_kept() -> None:
    prior = PosePrior(elevation_deg=(20.0, 60.0), roll_deg=(-30.0, 30.0))
    grid = rotation_grid(prior, 200, 15.0)
    toward = -grid[:, 2]  # where the camera is, in the object's frame
    elevation = np.degrees(np.arcsin(toward[:, 2].numpy()))
    spacing = np.degrees(np.sqrt(4.0 * np.pi / 200))
    assert elevation.min() >= 20.0 - spacing and elevation.max() <= 60.0 + spacing
    assert len(grid) < len(rotation_grid(PosePrior(), 200, 15.0)) / 8
