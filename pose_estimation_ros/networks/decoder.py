"""The step of a decoder from one resolution to the next, told which object it looks at."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ModulatedMerge(nn.Module):
    """Upsample, join the skip connection and convolve, modulated by the object's embedding."""

    def __init__(self, coarse: int, skip: int, out: int, embedding: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(coarse, out, 1, bias=False)
        self.lateral = nn.Conv2d(skip, out, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.modulate = nn.Linear(embedding, 2 * out)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        self.conv = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm_out = nn.BatchNorm2d(out)

    def forward(self, coarse: Tensor, skip: Tensor, embedding: Tensor) -> Tensor:
        """Join (B, coarse, H, W) with (B, skip, 2 H, 2 W), modulated by (B, embedding), to (B, out, 2 H, 2 W)."""
        raised = F.interpolate(self.reduce(coarse), scale_factor=2.0, mode="nearest")
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)
        x = F.relu(self.norm(raised + self.lateral(skip)) * (1.0 + scale) + shift)
        return F.relu(self.norm_out(self.conv(x)) + x, inplace=True)
