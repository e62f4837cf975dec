"""What a camera does to an image: motion blur, the colour filter of its sensor, noise, compression.

Batched tensor operations on the images' device; compression, which is libjpeg's, passes through main memory.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg

from pose_estimation_ros.data.augmentation import uniform

BLUR_TAPS = 7


def motion_blur(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Smear a share of images (B, 3, H, W) along a line of up to seven pixels, each along its own."""
    moved = (uniform(0.0, 1.0, (len(images),), generator) < share).nonzero()[:, 0]
    if len(moved) == 0:
        return images
    count = len(moved)
    angle, length = uniform(0.0, torch.pi, (count,), generator), uniform(0.2, 1.0, (count,), generator)
    taps = torch.linspace(-1.0, 1.0, BLUR_TAPS, device=images.device) * (BLUR_TAPS // 2)
    at = taps[None] * length[:, None]
    column, row = at * torch.cos(angle)[:, None], at * torch.sin(angle)[:, None]
    # Each tap is shared by the pixels around it.
    weight_x = (1.0 - (column[:, :, None] - taps).abs()).clamp(min=0.0)
    weight_y = (1.0 - (row[:, :, None] - taps).abs()).clamp(min=0.0)
    kernel = torch.einsum("bty,btx->byx", weight_y, weight_x)
    kernel = (kernel / kernel.sum(dim=(1, 2), keepdim=True))[:, None].repeat_interleave(3, 0)
    edge = BLUR_TAPS // 2
    padded = F.pad(images[moved], (edge,) * 4, mode="replicate").flatten(0, 1)[None]
    smeared = F.conv2d(padded, kernel, groups=3 * count)[0].unflatten(0, (count, 3))
    return images.index_copy(0, moved, smeared)


def demosaic(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """See a share of images (B, 3, H, W) through a Bayer filter and fill in the missing colours bilinearly."""
    filtered = (uniform(0.0, 1.0, (len(images),), generator) < share).nonzero()[:, 0]
    if len(filtered) == 0:
        return images
    chosen = images[filtered]
    masks = torch.zeros_like(chosen[:1])
    masks[:, 0, 0::2, 0::2] = 1.0
    masks[:, 1, 0::2, 1::2] = masks[:, 1, 1::2, 0::2] = 1.0
    masks[:, 2, 1::2, 1::2] = 1.0
    return images.index_copy(0, filtered, _bilinear(chosen * masks) / _bilinear(masks))


def _bilinear(maps: Tensor) -> Tensor:
    """Spread every value bilinearly over its neighbours."""
    return F.avg_pool2d(F.avg_pool2d(F.pad(maps, (1, 1, 1, 1)), 2, 1), 2, 1)


def compress(images: Tensor, share: float, generator: torch.Generator, quality: tuple[int, int] = (40, 95)) -> Tensor:
    """Pass a share of images (B, 3, H, W) in [0, 1] through JPEG, each with a quality of its own."""
    chosen = (uniform(0.0, 1.0, (len(images),), generator) < share).tolist()
    qualities = uniform(*quality, (len(images),), generator).tolist()
    if not any(chosen):
        return images
    out = images.clone()
    for number in (index for index, take in enumerate(chosen) if take):
        levels = (images[number].clamp(0.0, 1.0) * 255.0).round().byte().cpu()
        decoded = decode_jpeg(encode_jpeg(levels, quality=int(qualities[number])), mode=ImageReadMode.RGB)
        out[number] = decoded.to(out) / 255.0
    return out
