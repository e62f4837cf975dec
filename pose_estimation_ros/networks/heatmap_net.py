"""Heatmaps of projected control points, predicted by every small patch of a crop for itself.

Oberweger, Rad and Lepetit, "Making Deep Heatmaps Robust to Partial Occlusions for 3D Object Pose Estimation", 2018.
A patch sees nothing but its own pixels, so an occluder spoils the patches it covers and no others. One pass of
convolutions gives all patches of a crop: a cell of the last map has a receptive field of exactly one patch, or with
trunk `encoder` of a window of 96 pixels (83 where the encoder is EfficientNet, 163 with three deeper blocks of it, most
of which hardly counts), cut off at the rim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose_estimation_ros.geometry.transfer import constant
from pose_estimation_ros.networks.efficientnet_lite import EfficientNetLite0
from pose_estimation_ros.networks.encoder import Encoder, EncoderKind, make_encoder
from pose_estimation_ros.networks.feature_mapping import FeatureMapping

PATCH = 32  # side of the patches that convolutions without padding see, pixels of the crop
STRIDE = 8  # pixels from one patch to the next, and from one cell of accumulated heatmaps to the next
CELL = 2 * STRIDE  # side of the cells of a patch's heatmaps, pixels
CANVAS = 14  # cells a side of a patch's heatmaps, centred on the patch: 112 pixels to every side
DEVIATION = 12.0  # of the Gaussians that the network is trained to draw at the control points, pixels
VOTE_MASS = 2.0 * math.pi * (DEVIATION / CELL) ** 2  # sum over the cells of such a Gaussian with a peak of 1
Trunk = Literal["patches", "encoder"]
_WIDTHS: dict[tuple[str, str], tuple[int, ...]] = {
    ("patches", "own"): (32, 64, 96, 192, 384),
    ("encoder", "own"): (64, 128, 384),
    ("encoder", "lite0"): (384,),
}  # by trunk and kind of the encoder


def patch_grid(size: int, window: int = PATCH) -> int:
    """Return how many patches lie along the side of a crop: their windows fill it, see `HeatmapNet.window`.

    Raises:
        ValueError: if the crop is smaller than a window.
    """
    if size < window:
        raise ValueError(f"patch_grid: crops of {size} pixels, expected at least {window}")
    return (size - window) // STRIDE + 1


def patch_centres(size: int, device: torch.device | str = "cpu", window: int = PATCH) -> Tensor:
    """Return the pixel columns (G,), or rows, of the centres of the patches along one side of a crop."""
    return torch.arange(patch_grid(size, window), device=device) * STRIDE + (window - 1) / 2.0


def first_cell(window: int = PATCH) -> float:
    """Return the pixel column, or row, of the first cell of accumulated heatmaps; the next are STRIDE apart."""
    return (window - 1) / 2.0 - (CANVAS - 1) / 2.0 * CELL


def cells_along(patches: int, canvas: int = CANVAS) -> int:
    """Return how many cells accumulated heatmaps have along a side with so many patches."""
    return patches + (canvas - 1) * CELL // STRIDE


class HeatmapNet(nn.Module):
    """Predict, from every patch of a crop alone, where the object's control points are about it.

    Trained so that a patch that looks like another answers with the mean of what both should say, several low peaks,
    and only what is common to all patches adds up. Each heatmap is the share of a vote that every cell gets, and one
    share more goes to "nowhere here": what a patch cannot tell, or a patch without the object, adds nothing.

    Patches come from one of two trunks. `patches`, the paper's: convolutions without padding that see 32x32 pixels.
    `encoder`: the first two stages of the encoder of the other networks, or some blocks more (`deep`), whose weights it
    can start from; its patches are windows about cells of 8 pixels, cut off at the rim of the crop.

    Args:
        objects: number of objects; the layers behind the convolutions are modulated by an embedding of the object.
        points: control points per object.
        widths: channels of the trunk, the last those of a patch: of five convolutions (32, 64, 96, 192, 384), or of
            the two stages of encoder `own` and the patch (64, 128, 384), or of the patch alone (384,).
        hidden: width of the layers that see a whole patch.
        trunk: see above.
        frozen: leave the encoder as it is; training is then faster.
        padding: side of the crops it is trained on over the side of the box.
        outline: points on the outline of each object, from which its box follows; 0 where boxes tell nothing.
        encoder: kind of the encoder of that trunk, see `make_encoder`.
        deep: blocks of the third stage of encoder `lite0` that see a window, too: 0 to 6. They keep the stride of the
            second one and have its wide view in place of a coarser one, see `EfficientNetLite0`.
        mapping: what the trunk sees of real images is mapped to what it sees of renderings, see `FeatureMapping`.
    """

    control_points: Tensor
    outline: Tensor

    def __init__(
        self,
        objects: int,
        points: int = 16,
        widths: Sequence[int] | None = None,
        hidden: int = 512,
        trunk: Trunk = "patches",
        frozen: bool = False,
        padding: float = 2.0,
        outline: int = 0,
        encoder: EncoderKind = "own",
        mapping: bool = False,
        deep: int = 0,
    ) -> None:
        super().__init__()
        widths = _trunk_widths(trunk, encoder, widths)
        if deep and encoder != "lite0":
            raise ValueError(f"HeatmapNet: deep = {deep}, but only encoder 'lite0' can be read so")
        if not 0 <= deep <= EfficientNetLite0.all_blocks[2]:
            raise ValueError(f"HeatmapNet: deep = {deep}, expected 0 to {EfficientNetLite0.all_blocks[2]}")
        if frozen and trunk != "encoder":
            raise ValueError("HeatmapNet: frozen = true, but only trunk 'encoder' has an encoder")
        self.objects, self.points, self.trunk, self.frozen, self.padding = objects, points, trunk, frozen, padding
        last = widths[-1]
        if trunk == "encoder":
            self.encoder = _window_encoder(encoder, widths[:-1], deep)
            fine, *coarse = self.encoder.channels
            self.join: nn.Linear | nn.Conv2d = nn.Linear(4 * fine + 9 * sum(coarse), last, bias=False)
        else:
            first, second, third, fourth, _ = widths
            self.convolutions = nn.Sequential(
                *_convolution(3, first, 4, 2),  # sees 4 pixels
                *_convolution(first, second, 3, 2),  # 8
                *_convolution(second, third, 3, 1),  # 16
                *_convolution(third, fourth, 3, 2),  # 24
            )
            self.join = nn.Conv2d(fourth, last, 2, bias=False)  # 32, one patch
        self.mapping = FeatureMapping(self.encoder.channels if trunk == "encoder" else (fourth,)) if mapping else None
        self.join_norm = nn.BatchNorm1d(last)
        self.embedding = nn.Embedding(objects, 64)
        self.enter = nn.Linear(last, hidden)
        modulate = [nn.Linear(64, 2 * hidden) for _ in range(3)]
        self.inner = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(2))
        for layer in modulate:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.modulate = nn.ModuleList(modulate)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))
        self.out = nn.Linear(hidden, points * (CANVAS * CANVAS + 1))
        nn.init.normal_(self.out.weight, std=1e-3)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("control_points", torch.zeros(objects, points, 3))  # metres, object frame
        self.register_buffer("outline", torch.zeros(objects, outline, 3), persistent=outline > 0)

    @property
    def window(self) -> int:
        """Side of the square of pixels that stands for one patch in the grid of patches, its centre in the centre."""
        return STRIDE if self.trunk == "encoder" else PATCH

    def train(self, mode: bool = True) -> HeatmapNet:
        """Switch between training and inference; a frozen encoder's statistics stay."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(
        self, crops: Tensor, object_index: Tensor, chosen: Tensor | None = None, is_real: bool = False
    ) -> Tensor:
        """Predict the heatmaps of patches.

        Args:
            crops: (B, 3, S, S) in [0, 1].
            object_index: (B,).
            chosen: numbers (B, N) of the patches wanted, row by row; all G * G where absent.
            is_real: what the trunk sees goes through the mapping, if there is one.

        Returns:
            (B, N, points, CANVAS, CANVAS), centred on each patch; about 1 where a patch is certain, never negative.
        """
        return votes_to_heatmaps(self.log_votes(crops, object_index, chosen, is_real=is_real))

    def log_votes(
        self,
        crops: Tensor,
        object_index: Tensor,
        chosen: Tensor | None = None,
        points: range | None = None,
        is_real: bool = False,
    ) -> Tensor:
        """Predict as `forward` does, but return the logarithms of the votes (B, N, points, CANVAS * CANVAS + 1).

        The votes of a patch for a point sum to one; the last one is for no cell. `points` are those wanted, all where
        absent.
        """
        return self.read_trunk(self.trunk_features(crops, is_real), object_index, chosen, points)

    def trunk_features(self, images: Tensor, is_real: bool = False) -> list[Tensor]:
        """Return what the trunk sees of images (B, 3, H, W): one map (B, C, h, w), or those of the encoder's stages.

        Those of images that are real go through the mapping, if there is one.

        Raises:
            ValueError: if the trunk is `encoder` and the sides are not divisible by STRIDE.
        """
        maps = self._maps(images)
        return self.mapping(maps) if is_real and self.mapping is not None else maps

    def read_trunk(
        self, seen: Sequence[Tensor], object_index: Tensor, chosen: Tensor | None = None, points: range | None = None
    ) -> Tensor:
        """Return what `log_votes` does, from what the trunk saw."""
        features = self._patches(seen, chosen)
        return self.read(features, object_index, range(self.points) if points is None else points)

    def patch_features(self, images: Tensor, chosen: Tensor | None = None, is_real: bool = False) -> Tensor:
        """Return (B, N, C): one row per patch of images (B, 3, H, W), which no pixels outside its window had a part in.

        Trunk `encoder` wants sides divisible by STRIDE.
        """
        return self._patches(self.trunk_features(images, is_real), chosen)

    def _patches(self, seen: Sequence[Tensor], chosen: Tensor | None) -> Tensor:
        windows = self._windows(seen)  # (B, C', G * G')
        if chosen is not None:
            windows = windows.gather(2, chosen[:, None, :].expand(-1, windows.shape[1], -1))
        joined = F.linear(windows.transpose(1, 2), self.join.weight.flatten(1))
        return F.relu(self.join_norm(joined.flatten(0, 1))).unflatten(0, joined.shape[:2])

    def _windows(self, seen: Sequence[Tensor]) -> Tensor:
        """Return what the last convolution of the trunk sees of every patch, (B, C', G * G')."""
        if self.trunk == "patches":
            return F.unfold(seen[0], 2)
        fine, *coarse = seen
        return torch.cat([F.unfold(fine, 2, stride=2), *(F.unfold(maps, 3, padding=1) for maps in coarse)], dim=1)

    def _maps(self, images: Tensor) -> list[Tensor]:
        if self.trunk == "patches":
            return [self.convolutions((images - 0.45) / 0.25)]
        height, width = images.shape[2:]
        if height % STRIDE or width % STRIDE:
            raise ValueError(
                f"HeatmapNet: images of {width}x{height}, trunk 'encoder' wants sides divisible by {STRIDE}"
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.encoder(images)

    def read(self, features: Tensor, object_index: Tensor, points: range) -> Tensor:
        """Turn features (B, N, C) of patches into logarithms of votes (B, N, len(points), CANVAS * CANVAS + 1)."""
        cells = CANVAS * CANVAS + 1
        rows = slice(points.start * cells, points.stop * cells)
        flat = F.linear(self.hidden(features, object_index), self.out.weight[rows], self.out.bias[rows])
        return flat.reshape(*flat.shape[:2], len(points), cells).float().log_softmax(dim=-1)

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


def votes_to_heatmaps(log_votes: Tensor) -> Tensor:
    """Turn logarithms of votes (..., h * h + 1) into heatmaps (..., h, h).

    A vote that is as sharp as the training targets becomes a Gaussian with a peak of 1.
    """
    votes = log_votes[..., :-1].exp() * VOTE_MASS
    side = math.isqrt(votes.shape[-1])
    return votes.unflatten(-1, (side, side))


def accumulate(heatmaps: Tensor, chosen: Tensor, rows: int, columns: int | None = None) -> Tensor:
    """Add up the heatmaps of patches, each at its place.

    The cells of a patch are twice as wide as the steps between patches; cubic B-splines fill in between, so that it
    does not matter which patches are taken.

    Args:
        heatmaps: (B, N, K, h, h), CANVAS cells a side from `HeatmapNet`.
        chosen: the patches' numbers (B, N), row by row.
        rows: patches from top to bottom.
        columns: patches from left to right; as many where absent.

    Returns:
        (B, K, cells_along(rows), cells_along(columns)); cell (r, c) lies at pixel first_cell() + STRIDE * (c, r).
    """
    columns = rows if columns is None else columns
    batch, count, points, canvas = heatmaps.shape[:4]
    flat = heatmaps.reshape(batch, count, points * canvas * canvas).transpose(1, 2)
    blocks = flat.new_zeros(batch, points * canvas * canvas, rows * columns)
    blocks.scatter_add_(2, chosen[:, None, :].expand(-1, flat.shape[1], -1), flat)
    size = (cells_along(rows, canvas), cells_along(columns, canvas))
    sparse = F.fold(blocks, size, canvas, dilation=CELL // STRIDE)
    line = constant((1.0, 4.0, 6.0, 4.0, 1.0), sparse) / 8.0
    kernel = torch.outer(line, line).expand(points, 1, -1, -1)
    return F.conv2d(sparse, kernel, padding=2, groups=points)


def spread_patches(side: int, count: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the numbers (n,) of about `count` patches that lie evenly in a grid of side x side."""
    line = torch.linspace(0, side - 1, min(side, max(1, round(count**0.5))), device=device).round().long()
    return (line[:, None] * side + line[None, :]).flatten()


def _trunk_widths(trunk: str, encoder: str, widths: Sequence[int] | None) -> tuple[int, ...]:
    """Return the channels of a trunk: those that are asked for, or the usual ones."""
    trunks = dict.fromkeys(name for name, _ in _WIDTHS)
    if trunk not in trunks:
        raise ValueError(f"HeatmapNet: trunk {trunk!r}, expected one of {', '.join(trunks)}")
    if (trunk, encoder) not in _WIDTHS:
        known = ", ".join(kind for name, kind in _WIDTHS if name == trunk)
        raise ValueError(f"HeatmapNet: encoder = {encoder!r}: expected one of {known} for trunk {trunk!r}")
    usual = _WIDTHS[trunk, encoder]
    if widths is not None and len(widths) != len(usual):
        behind = f" and encoder {encoder!r}" if encoder != "own" else ""
        raise ValueError(f"HeatmapNet: widths {tuple(widths)}, trunk {trunk!r}{behind} has {len(usual)}")
    return usual if widths is None else tuple(widths)


def _window_encoder(kind: EncoderKind, widths: Sequence[int], deep: int) -> Encoder:
    """Return the first two stages of an encoder, and of a third one so many blocks, none of a stride above STRIDE."""
    if not deep:
        return make_encoder(kind, widths or None, stages=2)
    first, second, *_ = EfficientNetLite0.all_blocks
    return make_encoder(kind, blocks=(first, second, deep), stages=3, last_stride=STRIDE)


def _convolution(channels_in: int, channels_out: int, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, kernel, stride, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]
