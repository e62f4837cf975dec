"""What networks for hands see: a cube of the world about a centre, as a square depth image in halves of its side.

Coordinates in a cube are those of its image: column and row offsets at the centre's depth and the depth's own, all in
halves of the side. So equal crops have equal coordinates, wherever in the image they were cut.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEAREST_PART_M = 0.12  # the search for a hand begins with what is at most so far behind the nearest point


def crop_cubes(
    depth: Tensor, intrinsics: Tensor, centre: Tensor, side: Tensor, size: int, roll: Tensor | None = None
) -> Tensor:
    """Cut cubes out of depth images, by the nearest pixel.

    Args:
        depth: images in metres, shape (B, H, W); zero, NaN and infinity are no measurements.
        intrinsics: their camera matrices, shape (B, 3, 3).
        centre: of the cubes in camera axes, metres, shape (B, 3).
        side: of the cubes in metres, shape (B,).
        size: of the crops in pixels.
        roll: by which what is seen is turned in the crops, radians, clockwise, shape (B,); not at all where absent.

    Returns:
        Crops (B, 1, size, size): -1 at the near end of the cube and before it, 1 at its far end, behind it, outside the
        image and where nothing was measured.
    """
    _, height, width = depth.shape
    offset = (torch.arange(size) + 0.5) * (2.0 / size) - 1.0
    x, y = offset.expand(size, size), offset[:, None].expand(size, size)
    if roll is not None:
        x, y = _turned(x, y, -roll[:, None, None])
    focal, origin = _window(intrinsics, centre, side)
    columns = (origin[:, 0, None, None] + focal[:, 0, None, None] * x).round().long()
    rows = (origin[:, 1, None, None] + focal[:, 1, None, None] * y).round().long()
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    place = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    found = depth.flatten(1).gather(1, place.flatten(1)).view_as(place)
    value = (found - centre[:, 2, None, None]) / (0.5 * side[:, None, None])
    measured = inside & (found > 0.0) & (value < 1.0)  # NaN compares false
    return torch.where(measured, value.clamp(min=-1.0), 1.0)[:, None]


def points_to_cube(
    points: Tensor, intrinsics: Tensor, centre: Tensor, side: Tensor, roll: Tensor | None = None
) -> Tensor:
    """Return the coordinates (B, N, 3) in cubes of points (B, N, 3) in camera axes, metres; see `crop_cubes`."""
    scale, origin = _window(intrinsics, centre, side)
    focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], dim=1)
    pixels = focal[:, None] * points[..., :2] / points[..., 2:] + intrinsics[:, None, :2, 2]
    x, y = ((pixels - origin[:, None]) / scale[:, None]).unbind(dim=2)
    if roll is not None:
        x, y = _turned(x, y, roll[:, None])
    z = (points[..., 2] - centre[:, None, 2]) / (0.5 * side[:, None])
    return torch.stack([x, y, z], dim=2)


def points_from_cube(
    values: Tensor, intrinsics: Tensor, centre: Tensor, side: Tensor, roll: Tensor | None = None
) -> Tensor:
    """Undo `points_to_cube`: return points (B, N, 3) in camera axes, metres."""
    x, y, z = values.unbind(dim=2)
    if roll is not None:
        x, y = _turned(x, y, -roll[:, None])
    scale, origin = _window(intrinsics, centre, side)
    pixels = origin[:, None] + scale[:, None] * torch.stack([x, y], dim=2)
    depth = centre[:, None, 2] + 0.5 * side[:, None] * z
    focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], dim=1)
    rays = (pixels - intrinsics[:, None, :2, 2]) / focal[:, None]
    return torch.cat([rays, torch.ones_like(rays[..., :1])], dim=2) * depth[..., None]


def depth_points(depth: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Lift all pixels of depth images (B, H, W) to points (B, H * W, 3); also return which were measured (B, H * W)."""
    _, height, width = depth.shape
    measured = torch.isfinite(depth) & (depth > 0.0)
    z = torch.where(measured, depth, 0.0)
    x = (torch.arange(width) - intrinsics[:, 0, 2, None, None]) / intrinsics[:, 0, 0, None, None] * z
    y = (torch.arange(height)[:, None] - intrinsics[:, 1, 2, None, None]) / intrinsics[:, 1, 1, None, None] * z
    return torch.stack([x, y, z], dim=3).flatten(1, 2), measured.flatten(1)


def nearest_part(points: Tensor, measured: Tensor, depth_m: float) -> Tensor:
    """Return the mean (B, 3) of points (B, N, 3) that are at most so far behind the nearest one.

    The nearest is the 20th of a thousand, so that single wrong pixels do not count; zero where nothing was measured.
    """
    z = torch.where(measured, points[..., 2], torch.inf)
    rank = ((measured.sum(dim=1) - 1).clamp(min=0) * 0.02).long()
    nearest = z.sort(dim=1).values.gather(1, rank[:, None])
    return _mean(points, measured & (z <= nearest + depth_m))


def settle_centre(points: Tensor, measured: Tensor, start: Tensor, side: Tensor, steps: int = 3) -> Tensor:
    """Move centres (B, 3) to the mean of the points in the cube about them, a few times (mean shift)."""
    centre = start
    for _ in range(steps):
        inside = measured & ((points - centre[:, None]).abs() <= 0.5 * side[:, None, None]).all(dim=2)
        centre = torch.where(inside.any(dim=1, keepdim=True), _mean(points, inside), centre)
    return centre


def _mean(points: Tensor, chosen: Tensor) -> Tensor:
    weight = chosen.to(points.dtype)[..., None]
    return (points * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)


def _window(intrinsics: Tensor, centre: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """Return what half a side is in pixels at the centre's depth, and the centre's pixel, both (B, 2)."""
    focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], dim=1)
    scale = focal * (0.5 * side / centre[:, 2])[:, None]
    return scale, focal * centre[:, :2] / centre[:, 2:] + intrinsics[:, :2, 2]


def _turned(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = angle.cos(), angle.sin()
    return cos * x - sin * y, sin * x + cos * y
