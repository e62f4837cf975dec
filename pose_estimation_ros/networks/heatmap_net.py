"""Heatmaps of projected control points, predicted by every small patch of a crop for itself.

Oberweger, Rad and Lepetit, "Making Deep Heatmaps Robust to Partial Occlusions for 3D Object Pose Estimation", 2018.
A patch sees nothing but its own pixels, so an occluder spoils the patches it covers and no others. Convolutions without
padding give all patches of a crop in one pass: a cell of the last map has a receptive field of exactly one patch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 32  # side of a patch, pixels of the crop
STRIDE = 8  # from one patch to the next; also the side of a heatmap's cell
CANVAS = 24  # cells a side of a patch's heatmaps, centred on the patch: 96 pixels to every side


def patch_grid(size: int) -> int:
    """Return how many patches fit along the side of a crop.

    Raises:
        ValueError: if the crop is smaller than a patch.
    """
    if size < PATCH:
        raise ValueError(f"patch_grid: crops of {size} pixels, expected at least {PATCH}")
    return (size - PATCH) // STRIDE + 1


def patch_centres(size: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the pixel columns (G,), or rows, of the centres of the patches along one side of a crop."""
    return torch.arange(patch_grid(size), device=device) * STRIDE + (PATCH - 1) / 2.0


def first_cell() -> float:
    """Return the pixel column, or row, of the first cell of accumulated heatmaps; the next are STRIDE apart."""
    return (PATCH - 1) / 2.0 - (CANVAS - 1) / 2.0 * STRIDE


class HeatmapNet(nn.Module):
    """Predict, from every patch of a crop alone, where the object's control points are about it.

    Trained with squared errors: a patch that looks like another answers with the mean of what both should say, several
    low peaks, and only what is common to all patches adds up. The outputs are therefore never normalised per patch.

    Args:
        objects: number of objects; the layers behind the convolutions are modulated by an embedding of the object.
        points: control points per object.
        widths: channels of the four convolutions.
        hidden: width of the layers that see a whole patch.
    """

    control_points: Tensor

    def __init__(
        self,
        objects: int,
        points: int = 16,
        widths: Sequence[int] = (64, 128, 192, 384),
        hidden: int = 512,
    ) -> None:
        super().__init__()
        self.objects, self.points = objects, points
        first, second, third, last = widths
        self.convolutions = nn.Sequential(
            *_convolution(3, first, 8, 4),  # sees 8 pixels
            *_convolution(first, second, 3, 1),  # 16
            *_convolution(second, third, 3, 1),  # 24
            *_convolution(third, last, 3, 2),  # 32, one patch
        )
        self.embedding = nn.Embedding(objects, 64)
        self.enter = nn.Linear(last, hidden)
        modulate = [nn.Linear(64, 2 * hidden) for _ in range(3)]
        self.inner = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(2))
        for layer in modulate:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.modulate = nn.ModuleList(modulate)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))
        self.out = nn.Linear(hidden, points * CANVAS * CANVAS)
        nn.init.normal_(self.out.weight, std=1e-3)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("control_points", torch.zeros(objects, points, 3))  # metres, object frame

    def forward(self, crops: Tensor, object_index: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Predict the heatmaps of patches.

        Args:
            crops: (B, 3, S, S) in [0, 1].
            object_index: (B,).
            chosen: numbers (B, N) of the patches wanted, row by row; all G * G where absent.

        Returns:
            (B, N, points, CANVAS, CANVAS), centred on each patch, not bounded: about 1 where a patch is certain.
        """
        features = self.patch_features(crops)
        if chosen is not None:
            features = features.gather(1, chosen[:, :, None].expand(-1, -1, features.shape[2]))
        return self.heatmaps(features, object_index)

    def patch_features(self, images: Tensor) -> Tensor:
        """Return (B, G * G', C): one row per patch of images (B, 3, H, W), which no other pixels had a part in."""
        return self.convolutions((images - 0.45) / 0.25).flatten(2).transpose(1, 2)

    def heatmaps(self, features: Tensor, object_index: Tensor) -> Tensor:
        """Turn features (B, N, C) of patches into heatmaps (B, N, points, CANVAS, CANVAS)."""
        flat = self.out(self.hidden(features, object_index))
        return flat.reshape(*flat.shape[:2], self.points, CANVAS, CANVAS)

    def summed_heatmaps(self, features: Tensor, object_index: Tensor) -> Tensor:
        """Return the sums of the heatmaps over the control points (B, N, CANVAS, CANVAS), without making each."""
        weight = self.out.weight.reshape(self.points, CANVAS * CANVAS, -1).sum(dim=0)
        bias = self.out.bias.reshape(self.points, CANVAS * CANVAS).sum(dim=0)
        flat = F.linear(self.hidden(features, object_index), weight, bias)
        return flat.reshape(*flat.shape[:2], CANVAS, CANVAS)

    def hidden(self, features: Tensor, object_index: Tensor) -> Tensor:
        """Return what the last layer reads (B, N, hidden)."""
        embedding = self.embedding(object_index)
        x = self._modulated(self.enter(features), embedding, 0)
        for number, layer in enumerate(self.inner):
            x = x + self._modulated(layer(x), embedding, number + 1)
        return x

    def _modulated(self, x: Tensor, embedding: Tensor, number: int) -> Tensor:
        scale, shift = self.modulate[number](embedding)[:, None].chunk(2, dim=2)
        return F.relu(self.norms[number](x) * (1.0 + scale) + shift)


def accumulate(heatmaps: Tensor, chosen: Tensor, rows: int, columns: int | None = None) -> Tensor:
    """Add up the heatmaps of patches, each at its place.

    Args:
        heatmaps: (B, N, K, CANVAS, CANVAS) from `HeatmapNet`.
        chosen: the patches' numbers (B, N), row by row.
        rows: patches from top to bottom.
        columns: patches from left to right; as many where absent.

    Returns:
        (B, K, rows + CANVAS - 1, columns + CANVAS - 1); cell (r, c) lies at pixel first_cell() + STRIDE * (c, r).
    """
    columns = rows if columns is None else columns
    batch, count, points = heatmaps.shape[:3]
    flat = heatmaps.reshape(batch, count, points * CANVAS * CANVAS).transpose(1, 2)
    blocks = flat.new_zeros(batch, points * CANVAS * CANVAS, rows * columns)
    blocks.scatter_add_(2, chosen[:, None, :].expand(-1, flat.shape[1], -1), flat)
    return F.fold(blocks, (rows + CANVAS - 1, columns + CANVAS - 1), CANVAS)


def spread_patches(side: int, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the numbers (n,) of about `count` patches that lie evenly in a grid of side x side."""
    line = torch.linspace(0, side - 1, min(side, max(1, round(count**0.5))), device=device).round().long()
    return (line[:, None] * side + line[None, :]).flatten()


def _convolution(channels_in: int, channels_out: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, kernel, stride, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]
