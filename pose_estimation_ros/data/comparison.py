"""Pairs of image and rendering, as the refiner compares them."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_estimation_ros.data.pyramid import Pyramid, pyramid_of


def rendered_channels(
    color: Tensor, coordinates: Tensor, mask: Tensor, rotation: Tensor, half: Tensor, diameter: Tensor
) -> Tensor:
    """Arrange renderings as the network takes them.

    Args:
        color: (B, 3, S, S), black outside the object.
        coordinates: points (B, 3, S, S), [-1, 1] over the object's box, zero outside.
        mask: (B, 1, S, S) in [0, 1].
        rotation: camera from object (B, 3, 3).
        half: half sizes of the boxes (B, 3), metres.
        diameter: (B,) metres.

    Returns:
        (B, 7, S, S) float16: colour, points about the object's centre in the camera's axes over its radius, mask.
    """
    turned = rotation @ (coordinates.flatten(2) * (2.0 * half / diameter[:, None])[:, :, None])
    return torch.cat([color, turned.reshape(coordinates.shape), mask], dim=1).half()


def warped(image: Tensor | Pyramid, image_from_target: Tensor, size: int) -> Tensor:
    """Sample an image (C, H, W), or its pyramid, by homographies (B, 3, 3) from the pixels of square targets.

    What lies outside the image is grey (0.5); where the targets are smaller, the image is averaged first.

    Returns:
        (B, C, size, size).
    """
    steps = torch.arange(size, device=image_from_target.device, dtype=torch.float32)
    v, u = torch.meshgrid(steps, steps, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=-1).reshape(-1, 3)
    mapped = pixels @ image_from_target.transpose(1, 2)
    place = (mapped[..., :2] / mapped[..., 2:].clamp(min=1e-6)).reshape(-1, size, size, 2)
    centre = size // 2
    scale = (place[:, centre, centre] - place[:, centre - 1, centre - 1]).norm(dim=1) / 2.0**0.5
    return pyramid_of(image).sample(place, scale).clamp(0.0, 1.0)
