"""Occluders laid over finished crops, to measure what methods lose under a known occlusion."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cover(images: Tensor, visible: Tensor, shares: Tensor, pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Hide a share of each object's visible pixels behind a straight-edged occluder.

    Args:
        images: crops (B, 3, S, S) uint8.
        visible: where each object is seen, (B, s, s) bool.
        shares: wanted occlusion of each crop in [0, 1], shape (B,).
        pictures: what occluders look like, (P, 3, H, W) uint8.
        generator: same state, same occluders.

    Returns:
        The covered crops (B, 3, S, S).
    """
    covered = images.clone()
    count, side = len(images), images.shape[-1]
    angle = torch.rand(count, 1, 1, generator=generator) * 2.0 * torch.pi
    line = torch.linspace(-1.0, 1.0, side)
    along = line[None, None, :] * torch.cos(angle) + line[None, :, None] * torch.sin(angle)
    wide = F.interpolate(visible[:, None].float(), size=(side, side))[:, 0] > 0.5
    pick = torch.randint(len(pictures), (count,), generator=generator)
    texture = F.interpolate(pictures[pick].float(), size=(side, side), mode="bilinear").byte()
    for number, share in enumerate(shares.tolist()):
        if share > 0.0 and bool(wide[number].any()):
            hidden = along[number] > torch.quantile(along[number][wide[number]], 1.0 - share)
            covered[number, :, hidden] = texture[number, :, hidden]
    return covered
