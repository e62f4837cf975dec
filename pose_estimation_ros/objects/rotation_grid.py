"""Rotations spread over what is known of the scene."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.geometry.virtual_camera import look_at
from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.outline import even_directions


def rotation_grid(prior: PosePrior, directions: int, roll_step_deg: float) -> Tensor:
    """Return rotations camera_from_object (H, 3, 3) of cameras that look at the object, spread over the prior."""
    toward = torch.from_numpy(even_directions(directions))
    slack = math.degrees(math.sqrt(4.0 * math.pi / directions)) / 2.0
    elevation = torch.rad2deg(torch.asin(toward[:, 2].clamp(-1.0, 1.0)))
    inside = (elevation >= prior.elevation_deg[0] - slack) & (elevation <= prior.elevation_deg[1] + slack)
    upright = torch.from_numpy(look_at(np.asarray(toward[inside], dtype=np.float64))).float()
    low, high = prior.roll_deg
    if high - low >= 360.0 - roll_step_deg:
        rolls = torch.arange(max(1, round(360.0 / roll_step_deg))) * roll_step_deg
    else:
        rolls = torch.linspace(low, high, max(2, round((high - low) / roll_step_deg) + 1))
    axis = torch.zeros(len(rolls), 3)
    axis[:, 2] = torch.deg2rad(rolls)
    return (matrix_from_axis_angle(axis)[:, None] @ upright[None]).flatten(0, 1)
