"""What structured-light cameras do to depth: shadows of the projector, steps of disparity, torn edges, holes.

After Khoshelham and Elberink, "Accuracy and Resolution of Kinect Depth Data", Sensors 2012 (disparity, its steps and
the error that grows with the squared distance) and Handa et al., ICRA 2014 (edges displaced before it is rounded).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class DepthNoise(BaseModel):
    """A camera; the defaults are about those of the first Kinect."""

    model_config = ConfigDict(extra="forbid")

    focal_px: float = Field(default=580.0, gt=0.0)  # of the sensor, whatever crop of it is drawn
    baseline_m: float = Field(default=0.075, gt=0.0)  # the projector is that far to the right of the camera
    disparity_step_px: float = Field(default=0.125, gt=0.0)
    disparity_noise_px: float = Field(default=0.06, ge=0.0)  # standard deviation
    torn_share: float = Field(default=0.2, ge=0.0, le=1.0)  # of the pixels that show what is beside them
    grazing_deg: float = Field(default=80.0, gt=0.0, lt=90.0)  # surfaces seen at a larger angle give no depth
    hole_share: float = Field(default=0.015, ge=0.0, lt=1.0)  # of the area, in blots


def add_depth_noise(depth: Tensor, intrinsics: Tensor, noise: DepthNoise, generator: torch.Generator) -> Tensor:
    """Return depth images (B, H, W) as such a camera would give them, metres, infinity where it sees nothing.

    Args:
        depth: exact depth, infinity where there is nothing.
        intrinsics: camera matrices of these images in pixels, (B, 3, 3).
        noise: the camera.
        generator: of random numbers.
    """
    depth = _torn(depth, noise.torn_share, generator)
    focal = intrinsics[:, 0, 0, None, None]
    lost = _shadows(depth, focal * noise.baseline_m)
    lost |= _slopes(depth, focal) > math.tan(math.radians(noise.grazing_deg))
    lost |= _blots(depth, noise.hole_share, generator)
    disparity = noise.focal_px * noise.baseline_m / depth
    disparity = disparity + noise.disparity_noise_px * torch.randn(depth.shape, generator=generator)
    disparity = (disparity / noise.disparity_step_px).round() * noise.disparity_step_px
    measured = noise.focal_px * noise.baseline_m / disparity.clamp(min=noise.disparity_step_px)
    return torch.where(lost | torch.isinf(depth), torch.inf, measured)


def _torn(depth: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Take a share of the pixels from a place beside them, row and column by themselves."""
    if share == 0.0:
        return depth
    _, height, width = depth.shape
    drawn = torch.randint(0, 256, (2, *depth.shape), generator=generator, dtype=torch.uint8)
    threshold = round(128 * share)
    step = (drawn >= 256 - threshold).long() - (drawn < threshold).long()
    rows = (torch.arange(height)[:, None] + step[0]).clamp_(0, height - 1)
    columns = (torch.arange(width) + step[1]).clamp_(0, width - 1)
    return depth.flatten(1).gather(1, (rows * width + columns).flatten(1)).view_as(depth)


def _shadows(depth: Tensor, focal_baseline: Tensor) -> Tensor:
    """Find pixels (B, H, W) that the projector does not reach, since something nearer stands in its way.

    A point in column u is lit from column u - focal_baseline / depth of the projector. These columns grow with u,
    unless a nearer surface further right is lit from the same ones.
    """
    column = torch.arange(depth.shape[2]) - focal_baseline / depth
    least_to_the_right = column.flip(2).cummin(dim=2).values.flip(2)
    return column > least_to_the_right + 0.5


def _slopes(depth: Tensor, focal: Tensor) -> Tensor:
    """Return the tangent of the angle between the surface and the image, 0 beside what was not measured."""
    finite = torch.where(torch.isinf(depth), 0.0, depth)
    padded = F.pad(finite[:, None], (0, 1, 0, 1), mode="replicate")[:, 0]
    across, down = padded[:, :-1, 1:] - finite, padded[:, 1:, :-1] - finite
    slope = torch.maximum(across.abs(), down.abs()) * focal / finite.clamp(min=1e-3)
    edge = (padded[:, :-1, 1:] == 0.0) | (padded[:, 1:, :-1] == 0.0) | torch.isinf(depth)
    return torch.where(edge, 0.0, slope)


def _blots(depth: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draw blots (B, H, W) that cover about a share of the area."""
    batch, height, width = depth.shape
    coarse = torch.randn(batch, 1, height // 5 + 2, width // 5 + 2, generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)[:, 0]
    # Interpolation leaves about 0.65 of the deviation.
    return smooth < 0.65 * torch.special.ndtri(torch.tensor(max(share, 1e-6)))
