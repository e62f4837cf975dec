"""Descriptors: what every cell of an image shows, alike in a photograph and in a rendering of the same place.

In the manner of Choy et al., "Universal Correspondence Network", NIPS 2016, and of the templates of Nguyen et al.,
"Templates for 3D Object Pose Estimation Revisited", CVPR 2022: dense features, compared by their cosine where the
object is seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose_estimation_ros.networks.encoder import EncoderKind, make_encoder

STRIDE = 8  # pixels a side of the cells
DIVISOR = 16  # of the side of the images


class DescriptorNet(nn.Module):
    """Describe the cells of images.

    Args:
        channels: of a descriptor.
        hidden: channels where the encoder's maps are joined.
        encoder: its kind, see `make_encoder`.
        widths: channels of encoder `own` at strides 4, 8 and 16.
        blocks: residual blocks of encoder `own`.

    Attributes:
        log_sharpness: logarithm of the odds per unit of cosine, learned; only training needs it.
        bias: logarithm of the odds where the cosine is zero, likewise.
    """

    def __init__(
        self,
        channels: int = 48,
        hidden: int = 128,
        encoder: EncoderKind = "lite0",
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = make_encoder(encoder, widths, blocks, stages=3)
        _, near, far = self.encoder.channels
        # The maps of EfficientNet have no normalisation behind them.
        self.near_norm = nn.BatchNorm2d(near, affine=False)
        self.far_norm = nn.BatchNorm2d(far, affine=False)
        self.near = nn.Conv2d(near, hidden, 1)
        self.far = nn.Conv2d(far, hidden, 1)
        self.mix = nn.Conv2d(hidden, hidden, 3, 1, 1)
        self.out = nn.Conv2d(hidden, channels, 1)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(12.0)))
        self.bias = nn.Parameter(torch.tensor(-6.0))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [0, 1], sides divisible by DIVISOR, to unit vectors (B, K, H / 8, W / 8)."""
        _, near, far = self.encoder(images)
        coarse = F.interpolate(self.far(self.far_norm(far)), scale_factor=2.0, mode="bilinear", align_corners=False)
        joined = self.near(self.near_norm(near)) + coarse
        joined = joined + self.mix(F.relu(joined))
        return F.normalize(self.out(F.relu(joined)).float(), dim=1)


def masked_cosines(seen: Tensor, visible: Tensor, drawn: Tensor, share: Tensor, least: float = 0.05) -> Tensor:
    """Return the mean cosines (B, V) of images and renderings over the cells that both show of the object.

    Args:
        seen: descriptors of images (B, K, h, w).
        visible: share of their cells that shows the object (B, h, w).
        drawn: descriptors of renderings (V, K, h, w).
        share: of a rendering's object that its cells hold (V, h, w), sums to one.
        least: shares of the object that are visible count as this much at least.
    """
    common = (visible.flatten(1) @ share.flatten(1).T).clamp(min=least)
    return (seen * visible[:, None]).flatten(1) @ (drawn * share[:, None]).flatten(1).T / common
