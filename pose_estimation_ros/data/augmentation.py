"""Sensors: what happens to light between the scene and the pixels, drawn anew for every image of a batch.

The usual augmentation libraries convert colour spaces per image and cost more than rendering the crops; the functions
here are a few fused tensor operations on the whole batch.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)


def uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw evenly from [low, high) on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def color_jitter(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Change gain, white balance, saturation, contrast and gamma of images (B, 3, H, W), each its own way."""
    count = len(images)
    shape = (count, 1, 1, 1)
    luma = torch.tensor(LUMA, device=images.device)
    grey = torch.einsum("bchw,c->bhw", images, luma)[:, None]
    saturation = 1.0 + strength * uniform(-0.5, 0.5, shape, generator)
    gain = torch.exp(strength * uniform(-0.4, 0.4, shape, generator))
    balance = torch.exp(strength * uniform(-0.15, 0.15, (count, 3, 1, 1), generator))
    contrast = 1.0 + strength * uniform(-0.35, 0.35, shape, generator)
    images = (grey + saturation * (images - grey)) * (gain * balance)
    centre = images.mean(dim=(1, 2, 3), keepdim=True)
    images = centre + contrast * (images - centre)
    gamma = torch.exp(strength * uniform(-0.35, 0.35, shape, generator))
    return images.clamp(1e-4, 1.0).pow(gamma)


def uneven_light(images: Tensor, generator: torch.Generator) -> Tensor:
    """Multiply about half of the images (B, 3, H, W) with a smooth field of light and shadow."""
    count, _, height, width = images.shape
    depth = uniform(0.0, 0.4, (count, 1, 1, 1), generator) * (uniform(0, 1, (count, 1, 1, 1), generator) < 0.5)
    field = torch.randn(count, 1, 4, 4, generator=generator, device=images.device)
    field = F.interpolate(field, size=(height, width), mode="bilinear", align_corners=True)
    return images * (1.0 + depth * torch.tanh(field))


def low_resolution(
    images: Tensor, generator: torch.Generator, sides: tuple[float, float], noise: float = 0.04, groups: int = 4
) -> Tensor:
    """Pretend that square images (B, 3, S, S) were cut out of an image with fewer pixels.

    The batch is split into groups; each is reduced to a random side, blurred, given sensor noise at that resolution,
    and enlarged again bilinearly, as crops are.

    Args:
        images: square images.
        generator: source of randomness.
        sides: smallest and largest side in the image, pixels; drawn evenly in the logarithm.
        noise: largest standard deviation of the noise.
        groups: number of sides drawn per batch.
    """
    size = images.shape[-1]
    out = []
    for part in images.chunk(groups):
        side = round(math.exp(float(uniform(math.log(sides[0]), math.log(sides[1]), (1,), generator))))
        side = min(side, size)
        if side < size:
            part = F.interpolate(part, size=(side, side), mode="area")
        part = sensor(part, generator, noise)
        if side < size:
            part = F.interpolate(part, size=(size, size), mode="bilinear", align_corners=False)
        out.append(part)
    return torch.cat(out)


def sensor(images: Tensor, generator: torch.Generator, noise: float = 0.04) -> Tensor:
    """Blur or sharpen images (B, 3, H, W) a little and add noise that is partly smooth in colour."""
    count, _, height, width = images.shape
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = uniform(-0.5, 1.0, (count, 1, 1, 1), generator)  # below zero sharpens
    images = images + amount * (blurred - images)
    level = noise * uniform(0.0, 1.0, (count, 1, 1, 1), generator) ** 2
    grain = torch.randn(count, 1, height, width, generator=generator, device=images.device)
    chroma = torch.randn(count, 3, (height + 1) // 2, (width + 1) // 2, generator=generator, device=images.device)
    chroma = F.interpolate(chroma, size=(height, width), mode="nearest")
    return images + level * (grain + 0.7 * chroma)
