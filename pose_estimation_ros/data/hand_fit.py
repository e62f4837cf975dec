"""Hands of the package's own model whose joints lie where given ones do, so that they can be drawn.

Proportions and angles are found together by gradient descent: fourteen joints leave some of them open, such as the
width of the fingers and the forearm, for which the most usual ones are taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.hand_skeleton import (
    FLEXED,
    KNUCKLE_FLEXION,
    MIDDLE_FLEXION,
    SPREAD,
    THUMB_ABDUCTION,
    THUMB_KNUCKLE,
    THUMB_OPPOSITION,
    THUMB_TIP,
    Articulations,
    HandShapes,
    Skeletons,
    last_flexion,
    make_shapes,
    place_bones,
)
from pose_estimation_ros.data.nyu_hand import JOINTS, PALM
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle

_STEPS, _RATE = 120, 0.2
_JOINT_M = 0.003  # by which joints may be off, against
_USUAL = 0.06  # the deviation of logarithms of proportions from the usual ones
_RIGID = (11, 12, PALM)  # joints that no angle moves: both sides of the wrist, and the palm


@dataclass(frozen=True)
class FittedHands:
    """Hands of B given ones."""

    shapes: HandShapes
    skeletons: Skeletons  # in the axes of the given joints
    residual: Tensor  # (B,) metres, mean distance of their joints from the given ones


def fit_hands(joints: Tensor) -> FittedHands:
    """Find hands with joints where given ones are.

    Args:
        joints: of right hands, metres, shape (B, 14, 3), as `nyu_hand.JOINTS` has them.

    Raises:
        ValueError: if they have another shape or are not finite.
    """
    if joints.ndim != 3 or joints.shape[1:] != (len(JOINTS), 3) or not bool(torch.isfinite(joints).all()):
        raise ValueError(
            f"fit_hands: joints of shape {tuple(joints.shape)}, expected finite ones (B, {len(JOINTS)}, 3)"
        )
    given = joints.float()
    start = _turn_of_palm(given)
    free = _Free(len(given))
    optimiser = torch.optim.Adam(free.all(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
    for _ in range(_STEPS):
        optimiser.zero_grad(set_to_none=True)
        _, skeletons = free.hands(start, given)
        off = (skeletons.joints - given).square().sum(dim=(1, 2)) / _JOINT_M**2
        (off + free.unusual()).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        shapes, skeletons = free.hands(start, given)
        return FittedHands(shapes, skeletons, (skeletons.joints - given).norm(dim=2).mean(dim=1))


class _Free:
    """What is found: all zero for a relaxed hand of usual proportions."""

    def __init__(self, count: int) -> None:
        self.scale, self.palm, self.bones = torch.zeros(count), torch.zeros(count, 2), torch.zeros(count, 5, 1)
        self.flexion, self.spread, self.thumb = (
            torch.zeros(count, FLEXED, 2),
            torch.zeros(count, 4),
            torch.zeros(count, 4),
        )
        self.turn, self.shift = torch.zeros(count, 3), torch.zeros(count, 3)
        for value in self.all():
            value.requires_grad_()

    def all(self) -> list[Tensor]:
        return [self.scale, self.palm, self.bones, self.flexion, self.spread, self.thumb, self.turn, self.shift]

    def unusual(self) -> Tensor:
        """Return how unusual the proportions are (B,)."""
        parts = [self.palm.square().sum(dim=1), self.bones.square().sum(dim=(1, 2)), self.scale.square() / 4.0]
        return torch.stack(parts).sum(dim=0) / _USUAL**2

    def hands(self, start: Tensor, given: Tensor) -> tuple[HandShapes, Skeletons]:
        """Return the hands, turned by `start` (B, 3, 3) and more, the palms near those of given joints (B, 14, 3)."""
        shapes = make_shapes(0.92 * self.scale.exp(), self.palm.exp(), self.bones.exp(), torch.ones(len(given), 5, 1))
        knuckle = _within(self.flexion[..., 0] - 0.5, KNUCKLE_FLEXION)
        middle = _within(self.flexion[..., 1] - 0.5, MIDDLE_FLEXION)
        limits = (THUMB_ABDUCTION, THUMB_OPPOSITION, THUMB_KNUCKLE, THUMB_TIP)
        angles = Articulations(
            torch.stack([knuckle, middle, last_flexion(middle)], dim=2),
            _within(self.spread, SPREAD),
            torch.stack([_within(value, limit) for value, limit in zip(self.thumb.unbind(1), limits, strict=True)], 1),
            torch.zeros(len(given), 2),
        )
        turn = matrix_from_axis_angle(self.turn) @ start
        return shapes, place_bones(shapes, angles).with_palms_at(turn, given[:, PALM] + 0.02 * self.shift)


def _within(value: Tensor, limits: tuple[float, float]) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * torch.sigmoid(value)


def _turn_of_palm(joints: Tensor) -> Tensor:
    """Return the rotations (B, 3, 3) of the hands' own axes, from the wrist and the palm."""
    pinky_side, thumb_side, palm = (joints[:, number] for number in _RIGID)
    along = F.normalize(palm - 0.5 * (pinky_side + thumb_side), dim=1)
    across = thumb_side - pinky_side
    across = F.normalize(across - (across * along).sum(dim=1, keepdim=True) * along, dim=1)
    return torch.stack([across, along, torch.linalg.cross(across, along)], dim=2)
