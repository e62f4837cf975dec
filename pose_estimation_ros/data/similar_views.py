"""Views of an object from quite another side that look much the same: what a search takes for each other."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.view_bank import ViewBank
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.rendering.shading import headlight

_CELLS = 14  # a side of the thumbnails that are compared
_ROLLS = 12  # in which each is tried


class LookAlikes(NamedTuple):
    """The views of the same object that each view is most easily taken for."""

    view: Tensor  # (V, N) int64, -1 where there is none
    roll: Tensor  # (V, N) radians by which that one has to be rolled to look alike


def look_alikes(bank: ViewBank, symmetries: Tensor, apart_deg: float, count: int = 6) -> LookAlikes:
    """Find for every view the most similar ones of the same object from elsewhere, rolled in any way.

    Args:
        bank: the views.
        symmetries: rotations (O, S, 3, 3) after which an object looks the same, the identity among them.
        apart_deg: rotations that differ by less, up to a symmetry, are no look-alikes.
        count: how many of each.
    """
    views, device = len(bank.object_index), bank.surface.device
    view = torch.full((views, count), -1, device=device)
    roll = torch.zeros(views, count, device=device)
    angles = torch.arange(_ROLLS, device=device) * (2.0 * math.pi / _ROLLS)
    turns = matrix_from_axis_angle(F.pad(angles[:, None], (2, 0)))
    limit = 1.0 + 2.0 * math.cos(math.radians(apart_deg))
    for index in range(bank.known):
        rows = torch.nonzero(bank.object_index == index)[:, 0]
        small = _thumbnails(bank, rows)
        rolled = torch.stack([_rolled(small, float(angle)) for angle in angles], dim=1).flatten(0, 1)
        likeness = _directions(small) @ _directions(rolled).T  # (n, n * _ROLLS)
        rotation = bank.camera_from_object[rows, :3, :3]
        turned = (turns[None] @ rotation[:, None]).flatten(0, 1).flatten(1)
        for symmetry in symmetries[index].unique(dim=0):
            same = (rotation @ symmetry).flatten(1) @ turned.T > limit
            likeness = likeness.masked_fill(same, -math.inf)
        best = likeness.topk(min(count, likeness.shape[1]), dim=1)
        found, width = torch.isfinite(best.values), best.indices.shape[1]
        view[rows, :width] = torch.where(found, rows[best.indices // _ROLLS], -1)
        roll[rows, :width] = angles[best.indices % _ROLLS]
    return LookAlikes(view, roll)


def _thumbnails(bank: ViewBank, rows: Tensor) -> Tensor:
    """Return colours under a headlight about grey, and masks, of views: (N, 4, c, c)."""
    surface = bank.surface[rows].float() / 255.0
    mask = surface[:, 7:]
    lit = headlight(surface[:, :3], (surface[:, 6:7] - 128.0 / 255.0) * (255.0 / 127.0))
    small = F.adaptive_avg_pool2d(torch.cat([lit * mask, mask], dim=1), _CELLS)
    shade = small[:, :3].sum(dim=(0, 2, 3), keepdim=True) / small[:, 3:].sum(dim=(0, 2, 3), keepdim=True).clamp(min=1.0)
    return torch.cat([small[:, :3] - shade * small[:, 3:], 0.5 * small[:, 3:]], dim=1)


def _rolled(images: Tensor, angle: float) -> Tensor:
    """Return what cameras see that are turned so that (x, y) comes to lie where `angle` about z takes it."""
    theta = images.new_tensor([[math.cos(angle), math.sin(angle), 0.0], [-math.sin(angle), math.cos(angle), 0.0]])
    grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _directions(images: Tensor) -> Tensor:
    flat = images.flatten(1)
    return F.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1)
