"""Other rotations that a pose may be mistaken for."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.methods.view_search import Found


@dataclass(frozen=True)
class Outcome:
    """What became of the poses of B objects."""

    poses: Tensor  # (B, 4, 4) metres
    log_error: Tensor  # (B,) logarithm of the error that is expected to remain, diameters
    cost: Tensor  # (B,) how little the pose fits the image; of one object, the lower the better
    rejected: Tensor  # (B,) bool, moved farther than a pose worth refining is wrong
    covariance: Tensor  # (B, 6, 6) of the poses; not a number where unknown
    similarity: Tensor  # (B,) of the last rendering and the image; not a number where unknown

    def improved(self, tried: Found, row: int, gain: float) -> Outcome:
        """Return the outcome with another pose of an object where that fits better.

        Args:
            tried: what became of the other pose.
            row: of the object.
            gain: how much lower its cost has to be.
        """
        own = torch.where(self.rejected, math.inf, self.cost.nan_to_num(math.inf, posinf=math.inf))[row]
        better = tried.cost < own - gain
        other = {"poses": tried.pose, "rejected": torch.zeros_like(self.rejected[row])}
        other |= {name: getattr(tried, name) for name in ("log_error", "cost", "covariance", "similarity")}
        values = {item.name: getattr(self, item.name).clone() for item in fields(self)}
        for name, value in other.items():
            values[name][row] = torch.where(better, value, values[name][row])
        return Outcome(**values)


def half_turns() -> Tensor:
    """Return the turns by 180 degrees about each axis (3, 3, 3)."""
    return matrix_from_axis_angle(math.pi * torch.eye(3))


def right_angle_rotations() -> Tensor:
    """Return the turns by 90, 180 and 270 degrees about each axis (9, 3, 3)."""
    turns = [axis * quarters * math.pi / 2.0 for axis in torch.eye(3) for quarters in (1, 2, 3)]
    return matrix_from_axis_angle(torch.stack(turns))


def rotated_poses(poses: Tensor, centre: Tensor, rotations: Tensor) -> Tensor:
    """Turn objects about their centres, which stay where they are.

    Args:
        poses: camera from object (B, 4, 4), metres.
        centre: of the objects in their own frames (B, 3), metres.
        rotations: in the objects' frames (N, 3, 3).

    Returns:
        (B, N, 4, 4).
    """
    turned = poses[:, None].repeat(1, len(rotations), 1, 1)
    turned[:, :, :3, :3] = poses[:, None, :3, :3] @ rotations
    before, after = (item[..., :3, :3] @ centre[:, None, :, None] for item in (poses[:, None], turned))
    turned[:, :, :3, 3] += (before - after)[..., 0]
    return turned
