"""EfficientNet-Lite0 without its classifier: an encoder for which weights trained on ImageNet are public.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the Lite variants
have no squeeze-and-excitation and bound their activations at 6.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STEM = 32  # channels
# By stage: channels, kernel, stride and expansion of its blocks. What the last block of a stage returns is a tap.
_STAGES = (
    ((16, 3, 1, 1), (24, 3, 2, 6), (24, 3, 1, 6)),
    ((40, 5, 2, 6), (40, 5, 1, 6)),
    ((80, 3, 2, 6), (80, 3, 1, 6), (80, 3, 1, 6), (112, 5, 1, 6), (112, 5, 1, 6), (112, 5, 1, 6)),
    ((192, 5, 2, 6), (192, 5, 1, 6), (192, 5, 1, 6), (192, 5, 1, 6), (320, 3, 1, 6)),
)
_STRIDES = (4, 8, 16, 32)  # of the taps
_EPSILON, _MOMENTUM = 1e-3, 0.01  # of the normalisation that the published weights were trained with


class ConvNorm(nn.Module):
    """A convolution with batch normalisation, in one pass over the maps where the statistics are given.

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        kernel: side, odd.
        stride: 1, or 2 with the padding that TensorFlow calls "same": of maps with even sides it leaves the first
            line to the kernels that begin on it, so that it pads less before the maps than behind them.
        groups: of channels that do not mix.
        keeps_last: of maps with an odd side, let the last line have a cell of its own; `stride` 2 only.
        dilation: cells from one tap of the kernel to the next; `stride` 1 only.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        keeps_last: bool = True,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        # Zeros ahead of the kernel make the padding symmetric: a larger kernel costs less than a padded copy of maps.
        self.zeros = 0 if stride == 1 else 1 + keeps_last
        self.padding = dilation * (kernel // 2) if stride == 1 else (kernel - 2) // 2 + self.zeros
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride, self.padding, dilation, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(channels_out, _EPSILON, _MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H / stride, W / stride)."""
        norm = self.norm
        if norm.training or norm.running_mean is None or norm.running_var is None:
            return norm(self._convolve(x, self._padded(self.conv.weight), None))
        return self._convolve(x, *self._folded(norm.running_mean, norm.running_var))

    def fused(self) -> nn.Conv2d:
        """Return one convolution that does the same in evaluation, for runtimes that want fixed weights.

        Raises:
            ValueError: if the normalisation keeps no statistics.
        """
        norm, conv = self.norm, self.conv
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("ConvNorm: the normalisation keeps no statistics; expected track_running_stats")
        with torch.no_grad():
            kernel, bias = self._folded(norm.running_mean, norm.running_var)
        channels, size, stride = (conv.in_channels, conv.out_channels), kernel.shape[-1], conv.stride[0]
        single = nn.Conv2d(
            *channels, size, stride, self.padding, conv.dilation[0], groups=conv.groups, device=kernel.device
        )
        single.weight, single.bias = nn.Parameter(kernel), nn.Parameter(bias)
        return single.train(self.training)

    def _folded(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return kernel and bias of the convolution and the normalisation together."""
        norm = self.norm
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        return self._padded(self.conv.weight * scale[:, None, None, None]), norm.bias - mean * scale

    def _padded(self, kernel: Tensor) -> Tensor:
        return F.pad(kernel, (self.zeros, 0, self.zeros, 0)) if self.zeros else kernel

    def _convolve(self, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        conv = self.conv
        if not _is_slow_in_bfloat16(x, kernel):
            return F.conv2d(x, kernel, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
        with torch.autocast(x.device.type, enabled=False):
            bias = None if bias is None else bias.float()
            out = F.conv2d(x.float(), kernel.float(), bias, conv.stride, conv.padding, conv.dilation, conv.groups)
        return out.to(x.dtype)


def _is_slow_in_bfloat16(x: Tensor, kernel: Tensor) -> bool:
    """Tell whether float32 is faster: processors have no fast gradient of large depthwise kernels in bfloat16."""
    has_gradient = torch.is_grad_enabled() and (x.requires_grad or kernel.requires_grad)
    is_large = kernel.shape[1] == 1 and kernel.shape[2] > 3
    return has_gradient and is_large and x.dtype == torch.bfloat16 and x.device.type == "cpu"


def _relu6(x: Tensor) -> Tensor:
    """Bound fresh maps to [0, 6]; in place where no gradient needs them as they were."""
    return F.relu6(x, inplace=not torch.is_grad_enabled())


class InvertedResidual(nn.Module):
    """Widen, convolve every channel by itself, narrow, with a shortcut (Sandler et al. 2018, the block of MobileNetV2).

    Args:
        channels_in: channels of the input.
        channels_out: channels of the output.
        kernel: side of the depthwise convolution.
        stride: of the depthwise convolution.
        expansion: how many times wider it is than the input.
        keeps_last: see `ConvNorm`.
        dilation: see `ConvNorm`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int,
        expansion: int,
        keeps_last: bool = True,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        wide = channels_in * expansion
        self.expand = ConvNorm(channels_in, wide, 1) if expansion != 1 else None
        self.depthwise = ConvNorm(wide, wide, kernel, stride, wide, keeps_last, dilation)
        self.project = ConvNorm(wide, channels_out, 1)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H / stride, W / stride)."""
        inner = x if self.expand is None else _relu6(self.expand(x))
        out = self.project(_relu6(self.depthwise(inner)))
        return x + out if self.has_shortcut else out


class EfficientNetLite0(nn.Module):
    """Turn an image into feature maps at strides 4, 8, 16 and 32, or fewer of them.

    Args:
        stages: how many of the four there are.
        blocks: how many blocks of each of them, from the first on; all where absent.
        last_stride: 4, 8, 16 or 32: maps of later stages are no smaller than that. Their kernels are dilated instead,
            and so see what they were trained to see (Yu and Koltun 2016).

    Attributes:
        channels: of the feature maps.
        all_blocks: how many the stages have, all four of them.

    Raises:
        ValueError: if there are not as many stages, a stage does not have as many blocks, or there is no such stride.
    """

    kind = "lite0"
    all_blocks = tuple(len(blocks) for blocks in _STAGES)

    def __init__(self, stages: int = 4, blocks: Sequence[int] | None = None, last_stride: int = 32) -> None:
        super().__init__()
        if not 1 <= stages <= len(_STAGES):
            raise ValueError(f"EfficientNetLite0: stages = {stages}: expected 1 to {len(_STAGES)}")
        if last_stride not in _STRIDES:
            raise ValueError(f"EfficientNetLite0: last_stride = {last_stride}: expected one of {_STRIDES}")
        most = self.all_blocks[:stages]
        counts = most if blocks is None else tuple(blocks)
        if len(counts) != stages or not all(1 <= count <= there for count, there in zip(counts, most, strict=True)):
            raise ValueError(f"EfficientNetLite0: blocks = {counts}: expected at least one and at most {most}")
        taken = [there[:count] for there, count in zip(_STAGES, counts, strict=False)]
        # Maps have the sizes that ResNetEncoder's have, whose stem leaves out what is less than a cell of four pixels.
        self.stem = ConvNorm(3, _STEM, 3, 2, keeps_last=False)
        levels: list[nn.Module] = []
        channels, reached, dilation = _STEM, 2, 1
        for number, of_stage in enumerate(taken):
            level: list[nn.Module] = []
            for width, kernel, stride, expansion in of_stage:
                own = stride if reached * stride <= last_stride else 1
                level.append(InvertedResidual(channels, width, kernel, own, expansion, number > 0, dilation))
                reached, dilation, channels = reached * own, dilation * stride // own, width
            levels.append(nn.Sequential(*level))
        self.stages = nn.ModuleList(levels)
        self.channels = tuple(of_stage[-1][0] for of_stage in taken)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (B, 3, H, W) in [0, 1], sides divisible by the last stride, to feature maps, finest first.

        Padding as in TensorFlow puts the centre of a cell's receptive field at the last pixel of the cell.
        """
        x = _relu6(self.stem((x * 255.0 - 127.0) / 128.0))
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
