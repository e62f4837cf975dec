"""Spatial attention for refinement: compare an image with a rendering where they can be compared.

Stevsic and Hilliges, "Spatial Attention Improves Iterative 6D Object Pose Estimation", 3DV 2020: three streams, for the
shift in the image, the distance and the rotation, each look at the cells that they trust, so that occluders count for
little. What a cell has to say here is where in the image the point lies that the rendering shows there, read from
correlations of features; each stream solves for the update that moves the points it attends to. Learning where points
went needs far fewer pairs than learning what that means for a pose. One set of weights serves all stages and objects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose_estimation_ros.geometry.transfer import constant
from pose_estimation_ros.networks.attention_flow import TYPICAL_ERRORS, solve_updates
from pose_estimation_ros.networks.encoder import EncoderKind, ResidualBlock, make_encoder
from pose_estimation_ros.networks.feature_mapping import FeatureMapping

STREAMS = ("shift", "distance", "rotation")
RENDERED = 7  # channels of a rendering: colour, points about the centre in camera axes, mask
_STRIP = 5  # most lines of cells that are compared at a time
CELL = 4  # pixels a side of the cells that are attended to
DIVISOR = 8  # of the side of the images


@dataclass(frozen=True)
class Comparison:
    """What the network says of B pairs of image and rendering."""

    shift: Tensor  # (B, 2), share of the image's side
    log_distance: Tensor  # (B,)
    axis_angle: Tensor  # (B, 3) radians
    log_error: Tensor  # (B,) logarithm of the error that is expected to remain, diameters
    attention: Tensor  # (B, 3, h, w) of the STREAMS, each sums to one
    flow: Tensor | None = None  # (B, 2, h, w) where the rendered points went, cells
    log_scale: Tensor | None = None  # (B, h, w) logarithm of the flow's expected error, cells
    similarity: Tensor | None = None  # (B,) mean cosine of the features of image and rendering on the object
    update_covariance: Tensor | None = None  # (B, 6, 6) of shift, logarithm of the distance, axis and angle

    @classmethod
    def joined(cls, parts: Sequence[Comparison]) -> Comparison:
        """Return what was said of all pairs, from what the same network said of each of the parts, at least one."""
        if len(parts) == 1:
            return parts[0]
        columns = {item.name: [getattr(part, item.name) for part in parts] for item in fields(cls)}
        joined: dict[str, Any] = {
            name: None if values[0] is None else torch.cat(values) for name, values in columns.items()
        }
        return cls(**joined)


class AttentionNet(nn.Module):
    """Predict how a rendered pose has to change to match an image.

    Args:
        widths: channels of encoder `own` at strides 4 and 8.
        blocks: residual blocks of encoder `own`.
        hidden: channels of the comparison.
        reach: how many cells away points are looked for, at strides 4 and 8.
        attention: weigh cells by attention; without it all cells of the object count the same, for comparison.
        padding: side of the images over the extent of the rendered object; what the network was trained on.
        coarse: sides of the images of the first stages, pixels, where those are smaller than the later ones'.
        frozen: keep the encoder as it is.
        encoder: its kind, see `make_encoder`.
        error_gradient: let the expected error shape what it is read from; without, it is read from what serves the
            update. For trainings that see wrong poses as well.
        mapping: features of real images are mapped to those of renderings, see `FeatureMapping`.
    """

    shares_encoder = True  # with the pose networks

    def __init__(
        self,
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        hidden: int = 64,
        reach: Sequence[int] = (4, 3),
        attention: bool = True,
        padding: float = 1.3,
        coarse: Sequence[int] = (),
        frozen: bool = True,
        encoder: EncoderKind = "own",
        error_gradient: bool = False,
        mapping: bool = False,
    ) -> None:
        super().__init__()
        self.error_gradient = error_gradient
        self.attention, self.padding, self.frozen, self.reach = attention, padding, frozen, tuple(reach)
        self.coarse_sizes = tuple(coarse)
        self.encoder = make_encoder(encoder, widths, blocks, stages=2)
        width4, width8 = self.encoder.channels
        self.mapping = FeatureMapping(self.encoder.channels) if mapping else None
        # The maps of EfficientNet have no normalisation behind them, and are large beside the cosines.
        levels = [nn.BatchNorm2d(width, affine=False) for width in self.encoder.channels] if encoder == "lite0" else []
        self.levels = nn.ModuleList(levels)
        near, far = ((2 * item + 1) ** 2 for item in self.reach)
        wide = 96
        self.enter_coarse = _mix(far + 2 * width8, wide)
        self.coarse = ResidualBlock(wide, wide, 1)
        self.enter_fine = _mix(near + width4 + wide + RENDERED - 3, hidden)
        self.fine = nn.Sequential(ResidualBlock(hidden, hidden, 1), ResidualBlock(hidden, hidden, 1))
        self.out = nn.Conv2d(hidden, 3 + len(STREAMS), 3, 1, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.get_parameter("bias"))
        self.stiffness = nn.Parameter(torch.full((6,), -4.0))  # logarithm of the weight of no update at all
        self.register_load_state_dict_pre_hook(rename_old_weights)
        self.error_head = nn.Sequential(nn.Linear(3 * hidden + 6, 64), nn.ReLU(inplace=True), nn.Linear(64, 1))

    def forward(
        self, observed: Tensor, rendered: Tensor, distance: Tensor, extent: Tensor, is_real: bool = False
    ) -> Comparison:
        """Compare images with renderings.

        Args:
            observed: (B, 3, S, S) in [0, 1]; S divisible by DIVISOR.
            rendered: (B, RENDERED, S, S).
            distance: of the rendered objects (B,), diameters.
            extent: diameters that the side of the image spans at that distance (B,).
            is_real: what is seen of the images goes through the mapping, if there is one.
        """
        return self.compare(*self._pair_features(observed, rendered, is_real), rendered, distance, extent)

    def compare(
        self, seen: Sequence[Tensor], drawn: Sequence[Tensor], rendered: Tensor, distance: Tensor, extent: Tensor
    ) -> Comparison:
        """Compare features of images with those of renderings, see `features` and `rendering_features`.

        Args:
            seen: of the images at strides 4 and 8.
            drawn: of the renderings.
            rendered: (B, RENDERED, S, S).
            distance: see `forward`.
            extent: see `forward`.
        """
        (seen4, seen8), (drawn4, drawn8) = seen, drawn
        x = torch.cat([correlation(drawn8, seen8, self.reach[1]), drawn8, seen8], dim=1)
        x = F.interpolate(self.coarse(self.enter_coarse(x)), scale_factor=2.0, mode="nearest")
        geometry = F.avg_pool2d(rendered[:, 3:], CELL)
        cosines = correlation(drawn4, seen4, self.reach[0])
        x = torch.cat([cosines, drawn4, x, geometry.to(x.dtype)], dim=1)
        x = self.fine(self.enter_fine(x))
        out = self.out(x).float()
        covered = geometry[:, 3].float()
        points = geometry[:, :3].float() / covered.clamp(min=0.25)[:, None]
        shown = covered > 0.5
        flow, log_scale = out[:, :2], out[:, 2].clamp(-4.0, 4.0)
        logits = out[:, 3:] - 2.0 * log_scale[:, None] if self.attention else torch.zeros_like(out[:, 3:])
        logits = logits.masked_fill(~shown[:, None], -1e4).flatten(2)
        share = logits.softmax(dim=2)
        with torch.autocast(x.device.type, enabled=False):  # eight bits would turn rotations into distance
            updates = solve_updates(points, flow, share, self.stiffness.float(), distance.float(), extent.float())
            update = updates.combined
            read = torch.bmm(share, x.float().flatten(2).transpose(1, 2)).flatten(1)
            moved = (update / constant(TYPICAL_ERRORS, update)).detach()
            known = torch.cat([read if self.error_gradient else read.detach(), moved], dim=1)
            log_error = self.error_head(known)[:, 0]
        unmoved = cosines[:, cosines.shape[1] // 2].float() / math.sqrt(2.0)
        return Comparison(
            update[:, :2],
            update[:, 2],
            update[:, 3:],
            log_error,
            share.reshape(-1, 3, *flow.shape[-2:]),
            flow,
            log_scale,
            _mean_over(unmoved, shown).detach(),
            updates.covariance,
        )

    def features(self, images: Tensor, is_real: bool = False) -> list[Tensor]:
        """Return the features of images (B, 3, S, S) at strides 4 and 8.

        Those of images that are real go through the mapping, if there is one.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = self.encoder(images)
            maps = [level(item) for level, item in zip(self.levels, maps, strict=True)] if self.levels else maps
        return self._mapped(maps, is_real)

    def rendering_features(self, rendered: Tensor) -> list[Tensor]:
        """Return the features of renderings (B, RENDERED, S, S) at strides 4 and 8."""
        return self.features(_on_grey(rendered))

    def _pair_features(self, observed: Tensor, rendered: Tensor, is_real: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Return the features of images and of renderings, which are encoded together."""
        maps = self.features(torch.cat([observed, _on_grey(rendered)]))
        seen, drawn = (list(half) for half in zip(*(item.chunk(2) for item in maps), strict=True))
        return self._mapped(seen, is_real), drawn

    def _mapped(self, maps: list[Tensor], is_real: bool) -> list[Tensor]:
        return self.mapping(maps) if is_real and self.mapping is not None else maps

    @torch.no_grad()
    def similarity(self, observed: Tensor, rendered: Tensor, is_real: bool = False) -> Tensor:
        """Return the similarity (B,) of images and renderings without comparing them any further."""
        seen, drawn = (_directions(maps[0]) for maps in self._pair_features(observed, rendered, is_real))
        shown = F.avg_pool2d(rendered[:, 6:], CELL)[:, 0] > 0.5
        return _mean_over((seen * drawn).sum(dim=1).float(), shown)

    def train(self, mode: bool = True) -> AttentionNet:
        """Set the mode; a frozen encoder keeps the statistics that it came with."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self


def rename_old_weights(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Take weights of bundles that were written when the error head had another name."""
    for key in [key for key in state if key.startswith(f"{prefix}doubts.")]:
        state[key.replace("doubts.", "error_head.", 1)] = state.pop(key)


def correlation(here: Tensor, there: Tensor, reach: int) -> Tensor:
    """Compare every cell of one map with the cells about the same place in another.

    Args:
        here: features (B, C, h, w).
        there: features (B, C, h, w).
        reach: cells in every direction.

    Returns:
        (B, (2 reach + 1) ** 2, h, w) cosines, rows of displacements first.
    """
    a, b = _directions(here), _directions(there)
    if torch.onnx.is_in_onnx_export():
        return _cosines_by_shift(a, b, reach) * math.sqrt(2.0)
    count, channels, height, width = a.shape
    strip = max(lines for lines in range(1, _STRIP + 1) if height % lines == 0)
    side, line = 2 * reach + 1, width + 2 * reach
    # All pairs of a strip of cells with what is near it, and then the near ones of those: a multiplication of matrices
    # is faster than copying every neighbourhood.
    strips = F.pad(b, (reach,) * 4).unfold(2, strip + 2 * reach, strip).permute(0, 2, 1, 4, 3)
    pairs = torch.bmm(
        a.permute(0, 2, 3, 1).reshape(-1, strip * width, channels), strips.reshape(-1, channels, strips.shape[3] * line)
    )
    wide = pairs.shape[2]
    near = pairs.as_strided(
        (len(pairs), strip, width, side, side), (strip * width * wide, width * wide + line, wide + 1, line, 1)
    )
    return near.reshape(count, height, width, side * side).permute(0, 3, 1, 2) * math.sqrt(2.0)


def _cosines_by_shift(here: Tensor, there: Tensor, reach: int) -> Tensor:
    """Return the sums of products (B, (2 reach + 1) ** 2, h, w), one shift after the other: ONNX knows no strides."""
    height, width = here.shape[2:]
    wide, side = F.pad(there, (reach,) * 4), range(2 * reach + 1)
    return torch.stack(
        [(here * wide[:, :, y : y + height, x : x + width]).sum(dim=1) for y in side for x in side], dim=1
    )


def _directions(features: Tensor) -> Tensor:
    """Return features (B, C, h, w) without the image's mean, as unit vectors."""
    return F.normalize(features - features.mean(dim=(2, 3), keepdim=True), dim=1)


def _on_grey(rendered: Tensor) -> Tensor:
    """Return the colours of renderings on grey (B, 3, S, S)."""
    return rendered[:, :3] + 0.45 * (1.0 - rendered[:, 6:])


def _mean_over(values: Tensor, shown: Tensor) -> Tensor:
    """Return the means (B,) of values (B, h, w) over the cells that are shown."""
    return (values * shown).sum(dim=(1, 2)) / shown.sum(dim=(1, 2)).clamp(min=1)


def _mix(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)
    )
