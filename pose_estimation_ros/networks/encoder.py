"""The encoders that the pose networks and the detector share: a compact residual one, and EfficientNet-Lite0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from pose_estimation_ros.networks.efficientnet_lite import EfficientNetLite0

EncoderKind = Literal["own", "lite0"]
_WIDTHS, _BLOCKS = (64, 128, 192, 256), (1, 2, 2, 2)  # of `own`


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He et al. 2016, the basic block)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H / stride, W / stride)."""
        inner = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(x), inplace=True)


class ResNetEncoder(nn.Module):
    """Turn an image into feature maps at strides 4, 8, 16 and 32, or fewer of them.

    Args:
        widths: channels of the stages.
        blocks: residual blocks of the stages.
        stages: how many of the four there are.

    The stem is one 8x8 convolution with stride 4: on a CPU the half-resolution maps of the original ResNet's stem cost
    more time in normalisation than all deep stages together.
    """

    kind = "own"

    def __init__(self, widths: Sequence[int] = _WIDTHS, blocks: Sequence[int] = _BLOCKS, stages: int = 4) -> None:
        super().__init__()
        if len(widths) != stages or len(blocks) != stages:
            raise ValueError(
                f"ResNetEncoder: widths {tuple(widths)}, blocks {tuple(blocks)}: expected {stages} of each"
            )
        self.channels = tuple(widths)
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 8, 4, 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        )
        levels: list[nn.Module] = []
        channels = widths[0]
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            first = ResidualBlock(channels, width, 1 if level == 0 else 2)
            levels.append(nn.Sequential(first, *(ResidualBlock(width, width, 1) for _ in range(count - 1))))
            channels = width
        self.stages = nn.ModuleList(levels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (B, 3, H, W) in [0, 1], sides divisible by the last stride, to feature maps, finest first."""
        x = self.stem((x - 0.45) / 0.25)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


Encoder = ResNetEncoder | EfficientNetLite0


def make_encoder(
    kind: EncoderKind = "own",
    widths: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    stages: int = 4,
    last_stride: int = 32,
) -> Encoder:
    """Build an encoder.

    Args:
        kind: `own`, or `lite0`, for which public weights exist.
        widths: channels of the stages of `own`; its usual ones where absent.
        blocks: residual blocks of the stages, of `lite0` at most as many as it has; the usual ones where absent.
        stages: how many feature maps, from stride 4 on.
        last_stride: of the feature maps of `lite0`, see `EfficientNetLite0`.

    Raises:
        ValueError: if there is no such kind, or it has other widths, fewer blocks or other strides than are asked for.
    """
    if kind == "own":
        if last_stride != 32:
            raise ValueError(f"last_stride = {last_stride}: encoder 'own' has strides of 4, 8, 16 and 32, leave it out")
        return ResNetEncoder(
            _WIDTHS[:stages] if widths is None else widths, _BLOCKS[:stages] if blocks is None else blocks, stages
        )
    if kind != "lite0":
        raise ValueError(f"encoder = {kind!r}: expected one of {', '.join(get_args(EncoderKind))}")
    if widths is not None:
        raise ValueError(f"widths = {tuple(widths)}: encoder 'lite0' has its own, leave them out")
    return EfficientNetLite0(stages, blocks, last_stride)
