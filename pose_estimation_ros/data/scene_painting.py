"""What training scenes are painted with: pieces of pictures, tables, shadows and views of objects."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.augmentation import uniform
from pose_estimation_ros.data.layers import picture_window
from pose_estimation_ros.data.scene_layout import Table

MIN_SIDE_PX = 4  # of what is inside the image, for it to be painted


@dataclass(frozen=True)
class Painted:
    """What a view covers of an image."""

    rows: slice
    columns: slice
    coverage: Tensor  # of the window, 0 to 1
    box: Tensor  # (4,) x0 y0 x1 y1 of the whole object as far as it is inside the image


@dataclass(frozen=True)
class Shadow:
    """How the objects of a scene darken what lies behind them."""

    strength: float
    shift: tuple[float, float]  # where shadows fall, in sides of a view
    softness: float  # in sides of a view

    @staticmethod
    def random(strength: float, generator: torch.Generator) -> Shadow:
        """Draw a shadow up to a strength; it falls to the sides and below."""
        drawn = [float(value) for value in torch.rand(4, generator=generator, device=generator.device)]
        return Shadow(strength * drawn[0], (0.3 * drawn[1] - 0.15, 0.12 * drawn[2]), 0.03 + 0.12 * drawn[3])


def paint_view(image: Tensor, patch: Tensor, centre: Tensor, side: int, shadow: Shadow) -> Painted | None:
    """Paint a view and its shadow over an image.

    Args:
        image: (3, H, W), changed in place.
        patch: colour times coverage, and coverage, (4, P, P).
        centre: where its middle goes, pixels (2,).
        side: its side in the image, pixels.
        shadow: how it darkens what is there.

    Returns:
        What it covers; None if that is hardly anything.
    """
    mode = "area" if side < patch.shape[-1] else "bilinear"
    resized = F.interpolate(patch[None], size=(side, side), mode=mode)[0]
    left, top = (int(value) - side // 2 for value in centre.tolist())
    window = _window(image, left, top, side)
    if window is None:
        return None
    solid = resized[3] > 0.5
    across, down = solid.any(dim=0).nonzero()[:, 0], solid.any(dim=1).nonzero()[:, 0]
    if len(across) == 0:
        return None
    if shadow.strength > 0.0:
        _darken(image, resized[3], left, top, shadow)
    rows, columns = window
    cut = resized[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    image[:, rows, columns].mul_(1.0 - cut[3:]).add_(cut[:3])
    height, width = image.shape[1:]
    limits = torch.tensor([width, height, width, height], device=image.device)
    corners = [left + across[0], top + down[0], left + across[-1] + 1, top + down[-1] + 1]
    box = torch.minimum(torch.stack(corners).clamp(min=0), limits).float() - 0.5  # pixel centres are integers
    return Painted(rows, columns, cut[3], box)


def stick_picture(image: Tensor, pictures: Tensor, generator: torch.Generator) -> None:
    """Stick a turned piece of a picture, a box or an ellipse, onto an image (3, H, W)."""
    height, width = image.shape[1:]
    side = int(uniform(0.06, 0.5, (1,), generator) * width)
    left, top = (int(uniform(-0.5 * side, length - 0.5 * side, (1,), generator)) for length in (width, height))
    piece = picture_window(pictures, side, generator, zoom=(0.15, 0.7))
    line = torch.linspace(-1.0, 1.0, side, device=image.device)
    angle = uniform(0.0, 3.1416, (1,), generator)
    half = uniform(0.15, 0.7, (2,), generator)
    along = (line[None, :] * angle.cos() + line[:, None] * angle.sin()) / half[0]
    across = (line[:, None] * angle.cos() - line[None, :] * angle.sin()) / half[1]
    square = bool(uniform(0.0, 1.0, (1,), generator) < 0.7)
    reach = torch.maximum(along.abs(), across.abs()) if square else (along**2 + across**2).sqrt()
    cover = ((1.0 - reach) * side * float(half.min()) / 2.0 + 0.5).clamp(0.0, 1.0)  # one pixel wide edge
    window = _window(image, left, top, side)
    if window is None:
        return
    rows, columns = window
    down, right = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    image[:, rows, columns].lerp_(piece[:, down, right], cover[down, right].expand(3, -1, -1))


def lay_table(image: Tensor, table: Table, pictures: Tensor, generator: torch.Generator) -> None:
    """Draw a table with a picture as its surface over an image (3, H, W)."""
    height, width = image.shape[1:]
    v, u = torch.meshgrid(
        torch.arange(height, device=image.device, dtype=torch.float32),
        torch.arange(width, device=image.device, dtype=torch.float32),
        indexing="ij",
    )
    ground = torch.stack([u, v, torch.ones_like(u)], dim=-1) @ table.ground_from_image.T
    # Points above the horizon are behind the camera.
    facing = ground[..., 2] * ground[-1, width // 2, 2] > 1e-6
    at = ground[..., :2] / torch.where(facing, ground[..., 2], torch.ones_like(u))[..., None] - table.middle
    turn = torch.stack([table.angle.cos(), table.angle.sin(), -table.angle.sin(), table.angle.cos()]).reshape(2, 2)
    at = at @ turn.T / table.half_size
    inside = (facing & (at.abs() < 1.0).all(dim=-1))[None, None].float()
    inside = F.avg_pool2d(F.pad(inside, (1, 1, 1, 1), mode="replicate"), 3, 1)[0, 0]
    pick = int(torch.randint(len(pictures), (1,), generator=generator, device=generator.device))
    repeat = uniform(0.3, 1.6, (1,), generator) * table.half_size / table.half_size.max()
    surface = F.grid_sample(
        pictures[pick : pick + 1].float() / 255.0, (at * repeat)[None], padding_mode="reflection", align_corners=False
    )[0]
    image.lerp_(surface * torch.exp(uniform(-0.4, 0.3, (1,), generator)), inside.expand(3, -1, -1))


def _darken(image: Tensor, coverage: Tensor, left: int, top: int, shadow: Shadow) -> None:
    """Darken an image by the blurred and shifted coverage (S, S) of a view."""
    side = len(coverage)
    radius = max(1, round(shadow.softness * side))
    # Blurred at a quarter of the resolution: shadows are smooth.
    step = 4 if radius >= 8 else 1
    small = F.avg_pool2d(coverage[None, None], step, ceil_mode=True) if step > 1 else coverage[None, None]
    reach = max(1, radius // step)
    small = F.pad(small, (2 * reach,) * 4)  # grows by the reach on each side
    small = F.avg_pool2d(F.avg_pool2d(small, (1, 2 * reach + 1), 1), (2 * reach + 1, 1), 1)
    full = side + 2 * reach * step
    soft = F.interpolate(small, size=(full, full), mode="bilinear")[0, 0]
    left += round(shadow.shift[0] * side) - reach * step
    top += round(shadow.shift[1] * side) - reach * step
    window = _window(image, left, top, full)
    if window is None:
        return
    rows, columns = window
    image[:, rows, columns].mul_(
        1.0 - shadow.strength * soft[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    )


def _window(image: Tensor, left: int, top: int, side: int) -> tuple[slice, slice] | None:
    """Return the rows and columns of a square that are inside an image; None if these are too few."""
    height, width = image.shape[1:]
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    if x1 - x0 < MIN_SIDE_PX or y1 - y0 < MIN_SIDE_PX:
        return None
    return slice(y0, y1), slice(x0, x1)
