"""The network of the spatial-attention paper: a U-shaped DenseNet that regresses the update, large and slow.

Stevsic and Hilliges, "Spatial Attention Improves Iterative 6D Object Pose Estimation", 3DV 2020. Image and
rendering enter as six channels; three streams pool features with their own attention and regress their part of the
update. It wants images of 152 pixels, millions of pairs and a GPU; `AttentionNet` is what a CPU trains and runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose_estimation_ros.networks.attention_net import STREAMS, AttentionNet, Comparison, rename_old_weights

_OUTPUTS = (2, 1, 3)  # shift, logarithm of the distance, axis and angle
_SCALES = (0.1, 0.1, 0.3)  # of outputs of one


class PaperAttentionNet(nn.Module):
    """Predict how a rendered pose has to change, from both pictures at once.

    Args:
        growth: channels that each layer of a dense block adds.
        layers: layers of the blocks on the way down, the last one at the bottom.
        up: layers of the blocks on the way up.
        first: channels of the first convolution.
        hidden: channels of the streams.
        attention: weigh cells by attention; without it all cells count the same.
        padding: side of the images over the extent of the rendered object; what the network was trained on.
    """

    similarity = None  # it cannot tell
    shares_encoder = False

    def __init__(
        self,
        growth: int = 16,
        layers: Sequence[int] = (4, 5, 7, 10, 12, 15),
        up: Sequence[int] = (12, 10, 7),
        first: int = 48,
        hidden: int = 256,
        attention: bool = True,
        padding: float = 1.4,
    ) -> None:
        super().__init__()
        self.attention, self.padding, self.frozen = attention, padding, False
        self.coarse_sizes: tuple[int, ...] = ()
        self.first = nn.Conv2d(6, first, 3, 1, 1, bias=False)
        channels, self.down, skips = first, nn.ModuleList(), []
        for count in layers[:-1]:
            self.down.append(_DenseBlock(channels, growth, count, keep=True))
            channels += growth * count
            skips.append(channels)
        self.bottom = _DenseBlock(channels, growth, layers[-1])
        channels = growth * layers[-1]
        self.widen, self.up = nn.ModuleList(), nn.ModuleList()
        for count, skip in zip(up, reversed(skips), strict=False):
            self.widen.append(nn.ConvTranspose2d(channels, channels, 3, 2))
            self.up.append(_DenseBlock(channels + skip, growth, count))
            entered, channels = channels + skip, growth * count
        width = entered + channels
        self.where = nn.ModuleList(nn.Sequential(_norm(width, hidden), _norm(hidden, 1)) for _ in STREAMS)
        self.what = nn.ModuleList(
            nn.Sequential(_norm(width, hidden), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)) for _ in STREAMS
        )
        last = [nn.Linear(hidden, count) for count in _OUTPUTS]
        for layer in last:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.says = nn.ModuleList(nn.Sequential(nn.Linear(hidden, hidden), layer) for layer in last)
        self.register_load_state_dict_pre_hook(rename_old_weights)
        self.error_head = nn.Sequential(nn.Linear(3 * hidden, 64), nn.ReLU(inplace=True), nn.Linear(64, 1))

    def forward(
        self, observed: Tensor, rendered: Tensor, distance: Tensor, extent: Tensor, is_real: bool = False
    ) -> Comparison:
        """Compare images with renderings, as `AttentionNet` does; there is no flow, no similarity and no mapping."""
        x = self.first(torch.cat([observed - 0.5, rendered[:, :3] - 0.5], dim=1))
        skips = []
        for number, block in enumerate(self.down):
            x = block(x if number == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        x = self.bottom(F.max_pool2d(x, 2))
        entered = x
        for widen, block in zip(self.widen, self.up, strict=True):
            skip = skips.pop()
            height, width = skip.shape[-2:]
            entered = torch.cat([widen(x)[..., :height, :width], skip], dim=1)
            x = block(entered)
        x = torch.cat([entered, x], dim=1)
        height, width = x.shape[-2:]
        shares, pooled = [], []
        for where, what in zip(self.where, self.what, strict=True):
            logits = where(x).flatten(2).float() if self.attention else x.new_zeros(len(x), 1, height * width).float()
            share = logits.softmax(dim=2)
            shares.append(share)
            pooled.append((what(x).flatten(2).float() * share).sum(dim=2))
        prediction = [say(item).float() * scale for say, item, scale in zip(self.says, pooled, _SCALES, strict=True)]
        return Comparison(
            shift=prediction[0],
            log_distance=prediction[1][:, 0],
            axis_angle=prediction[2],
            log_error=self.error_head(torch.cat(pooled, dim=1).detach())[:, 0].float(),
            attention=torch.cat(shares, dim=1).reshape(-1, len(STREAMS), height, width),
        )


def make_attention_net(variant: str = "compact", **architecture: Any) -> AttentionNet | PaperAttentionNet:
    """Build a refiner's network.

    Args:
        variant: "compact", or "paper" for the DenseNet of the paper.
        architecture: the network's own keyword arguments.

    Raises:
        ValueError: if the variant is neither.
    """
    variant = architecture.pop("size", variant)  # its name in bundles written before
    if variant not in ("compact", "paper"):
        raise ValueError(f"attention network of variant = {variant!r}: expected compact or paper")
    return (AttentionNet if variant == "compact" else PaperAttentionNet)(**architecture)


class _DenseBlock(nn.Module):
    """Layers that each see everything before them (Huang et al. 2017).

    Args:
        channels: of the input.
        growth: what each layer adds.
        count: layers.
        keep: return the input as well, before what the layers add.
    """

    def __init__(self, channels: int, growth: int, count: int, keep: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_norm(channels + growth * n, growth, 3) for n in range(count))
        self.first = 0 if keep else channels

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], dim=1)
        return x[:, self.first :]


def _norm(channels_in: int, channels_out: int, kernel: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, kernel, 1, kernel // 2, bias=False)
    return nn.Sequential(nn.BatchNorm2d(channels_in), nn.ReLU(), convolution)
