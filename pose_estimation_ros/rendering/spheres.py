"""Depth images of spheres, exact and batched: every sphere is met by the rays of a small window only."""

from __future__ import annotations

import torch
from torch import Tensor

# Pixels from a window's centre to its edge; the least that will do is taken.
_HALF_SIZES = (2, 3, 4, 5, 6, 8, 10, 14, 20, 28, 40, 64, 100, 160, 250)


def sphere_depth(centres: Tensor, radii: Tensor, intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Cast a ray through every pixel at B sets of spheres.

    Args:
        centres: of N spheres in camera axes, metres, shape (B, N, 3).
        radii: metres, shape (B, N).
        intrinsics: camera matrices in pixels without skew, shape (B, 3, 3).
        height: of the images.
        width: of the images.

    Returns:
        Depth along z in metres of the nearest surface, infinity where there is none, shape (B, height, width).

    Raises:
        ValueError: if a sphere reaches the plane of the camera, or covers nearly the whole of a large image.
    """
    batch, count, _ = centres.shape
    if not bool((centres[..., 2] > radii).all()):
        raise ValueError("sphere_depth: a sphere reaches the plane of the camera; expected all of them before it")
    centre, radius = centres.reshape(-1, 3), radii.reshape(-1)
    focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], dim=1).repeat_interleave(count, dim=0)
    middle = intrinsics[:, :2, 2].repeat_interleave(count, dim=0)
    offset = torch.arange(batch).repeat_interleave(count) * (height * width)
    slope = centre[:, :2] / centre[:, 2:]
    pixel = (focal * slope + middle).round()
    # A sphere off the axis looks longer by the secant of its angle.
    apparent = radius / (centre[:, 2] - radius) * (1.0 + slope.square().sum(dim=1)).sqrt()
    half = (focal.amax(dim=1) * apparent + 0.5).ceil()  # the window's centre is rounded
    if float(half.max()) > _HALF_SIZES[-1]:
        raise ValueError(f"sphere_depth: a sphere of {int(half.max())} pixels; expected at most {_HALF_SIZES[-1]}")
    depth = torch.full((batch * height * width,), torch.inf)
    inside = ((pixel + half[:, None] >= 0) & (pixel - half[:, None] < torch.tensor([width, height]))).all(dim=1)
    before = 0
    for size in _HALF_SIZES:
        chosen = ((half > before) & (half <= size) & inside).nonzero()[:, 0]
        before = size
        if len(chosen):
            place, found = _window(
                centre[chosen], radius[chosen], focal[chosen], middle[chosen], pixel[chosen], size, height, width
            )
            place += offset[chosen, None, None]
            depth.scatter_reduce_(0, place.flatten(), found.flatten(), "amin")
    return depth.view(batch, height, width)


def _window(
    centre: Tensor,
    radius: Tensor,
    focal: Tensor,
    middle: Tensor,
    pixel: Tensor,
    half: int,
    height: int,
    width: int,
) -> tuple[Tensor, Tensor]:
    """Return place in the image and depth (M, S, S) of what rays about M spheres meet, infinity for nothing."""
    step = torch.arange(-half, half + 1)
    columns, rows = pixel[:, :1] + step, pixel[:, 1:] + step  # (M, S)
    x, y = (columns - middle[:, :1]) / focal[:, :1], (rows - middle[:, 1:]) / focal[:, 1:]
    # A ray t (x, y, 1) meets the sphere where a t t - 2 b t + c = 0.
    a = (x * x + 1.0)[:, None, :] + (y * y)[:, :, None]
    b = (x * centre[:, :1] + centre[:, 2:])[:, None, :] + (y * centre[:, 1:2])[:, :, None]
    c = centre.square().sum(dim=1) - radius.square()
    root = torch.addcmul(b * b, a, c[:, None, None], value=-1.0).sqrt_()  # NaN beside the sphere
    found = (b - root).div_(a).nan_to_num_(nan=torch.inf, posinf=torch.inf)
    found.transpose(1, 2)[(columns < 0) | (columns >= width)] = torch.inf
    found[(rows < 0) | (rows >= height)] = torch.inf
    rows, columns = rows.clamp(0, height - 1).long(), columns.clamp(0, width - 1).long()
    return (rows * width)[:, :, None] + columns[:, None, :], found
