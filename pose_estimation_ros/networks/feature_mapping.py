"""From features of real images to those that renderings of the same poses would have.

Rad, Oberweger and Lepetit, "Feature Mapping for Learning Fast and Accurate 3D Pose Inference from Synthetic Images",
CVPR 2018. What reads the features learns from any number of renderings; the mapping needs a few real images with poses.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = 2  # as published


class MappingBlock(nn.Module):
    """Two layers with a shortcut; the identity until it is trained.

    Args:
        channels: of the features, and between the layers.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, channels)
        self.leave = nn.Linear(channels, channels)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., channels) to the same shape."""
        return x + self.leave(F.relu(self.enter(x)))


class FeatureMapping(nn.Module):
    """Map the features of real images, several of each image if the network has several; the identity at the start.

    Args:
        channels: of every feature vector or feature map.

    Raises:
        ValueError: if there is nothing to map.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        if not channels or min(channels) < 1:
            raise ValueError(f"FeatureMapping: channels {tuple(channels)}: expected at least one of each")
        self.channels = tuple(channels)
        self.levels = nn.ModuleList(nn.Sequential(*(MappingBlock(width) for _ in range(BLOCKS))) for width in channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return mapped features of the same shapes.

        Args:
            features: one for each of `channels`: vectors (B, C), or maps (B, C, H, W) every position of which is
                mapped by itself, as a rendering in the same crop shows the same point there.

        Raises:
            ValueError: if there are others than the mapping is for.
        """
        widths = tuple(item.shape[1] for item in features)
        if widths != self.channels:
            raise ValueError(f"FeatureMapping: features of {widths} channels, expected {self.channels}")
        mapped = []
        for level, item in zip(self.levels, features, strict=True):
            last = item.ndim - 1  # ONNX knows no axis -1 here
            mapped.append(level(item.movedim(1, last)).movedim(last, 1))
        return mapped
