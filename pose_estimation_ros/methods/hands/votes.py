"""Joints as means of what every place of a feature map votes for, weighted by how sure it is.

Xiong et al., "A2J: Anchor-to-Joint Regression Network for 3D Articulated Pose Estimation from a Single Depth Image",
ICCV 2019. A vector that says everything has to learn every place anew; places that vote for joints near them do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_VOTE = 4  # numbers of a vote: how sure it is, offsets along x and y, and depth


class JointVotes(nn.Module):
    """Bring the features of several strides together, and let every place of the finest vote for every joint.

    Args:
        widths: channels of the features of every level, each of twice the stride of the one before.
        channels: of the features that vote.
        joints: how many there are.
    """

    def __init__(self, widths: Sequence[int], channels: int, joints: int) -> None:
        super().__init__()
        self.joints = joints
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.smooth = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.votes = nn.Conv2d(channels, _VOTE * joints, 1)

    def features(self, levels: Sequence[Tensor]) -> Tensor:
        """Return one feature map (B, channels, H, W) of maps (B, widths[i], H / 2**i, W / 2**i)."""
        coarse = self.lateral[-1](levels[-1])
        for lateral, level in zip(reversed(self.lateral[:-1]), reversed(levels[:-1]), strict=True):
            coarse = F.interpolate(coarse, scale_factor=2.0) + lateral(level)
        return F.relu(self.norm(self.smooth(coarse)))

    def forward(self, features: Tensor) -> Tensor:
        """Return joints (B, joints, 3) in cubes, from a feature map (B, channels, H, W)."""
        _, _, height, width = features.shape
        votes = self.votes(features).float().flatten(2).unflatten(1, (self.joints, _VOTE))
        sure, across, down, depth = votes.unbind(dim=2)  # (B, joints, H * W) each
        column, row = _places(width, features), _places(height, features)
        x = across + column.repeat(height)
        y = down + row.repeat_interleave(width)
        return (sure.softmax(dim=2)[..., None] * torch.stack([x, y, depth], dim=3)).sum(dim=2)


def _places(count: int, like: Tensor) -> Tensor:
    """Return where the middles of so many cells are, from -1 to 1."""
    return (torch.arange(count, device=like.device, dtype=torch.float32) + 0.5) * (2.0 / count) - 1.0
