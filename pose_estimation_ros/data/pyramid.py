"""An image at ever halved resolutions, to be sampled at many scales at once without a look at which these are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.geometry.transfer import constant, to_device

GREY = 0.5  # outside the image
# Pixels of grey about every level, for samples on its rim. The last is there to count for nothing, and is no NaN.
_BEFORE, _BEHIND = 1, 2


@dataclass(frozen=True)
class Pyramid:
    """The levels of an image, side by side in one map: level l is the image averaged over squares of 2**l pixels."""

    image: Tensor  # (C, H, W)
    atlas: Tensor  # (C, h, w) all levels less GREY, zeros about them
    left: tuple[float, ...]  # column of each level's first pixel in the atlas
    top: tuple[float, ...]
    widths: tuple[float, ...]
    heights: tuple[float, ...]

    @classmethod
    def of(cls, image: Tensor, levels: int | None = None) -> Pyramid:
        """Build the levels of an image (C, H, W); so many of them, or all down to a single pixel."""
        count = max(image.shape[1:]).bit_length() if levels is None else levels
        maps = _levels(image, count)
        left, top, beside = [_BEFORE], [_BEFORE], _BEFORE
        for level in maps[1:]:  # in a row below the first
            left.append(beside)
            top.append(image.shape[1] + _BEFORE + _BEHIND)
            beside += level.shape[2] + _BEFORE + _BEHIND
        height = max(y + level.shape[1] for y, level in zip(top, maps, strict=True)) + _BEHIND
        width = max(image.shape[2] + _BEFORE + _BEHIND, beside)
        # Sides that are powers of two make coordinates over them exact; what lies between the levels is not looked at.
        atlas = image.new_empty(len(image), 1 << (height - 1).bit_length(), 1 << (width - 1).bit_length())
        for level, x, y in zip(maps, left, top, strict=True):
            _put(atlas, level, x, y)
        sizes = tuple(float(item.shape[2]) for item in maps), tuple(float(item.shape[1]) for item in maps)
        return cls(image, atlas, tuple(map(float, left)), tuple(map(float, top)), *sizes)

    @property
    def shape(self) -> torch.Size:
        """Of the image."""
        return self.image.shape

    def sample(self, place: Tensor, reduction: Tensor) -> Tensor:
        """Sample bilinearly, where samples lie apart in averages over about as many pixels; GREY outside the image.

        Args:
            place: columns and rows in the image, centres of pixels at integers, shape (B, h, w, 2).
            reduction: pixels of the image between two samples, shape (B,).

        Returns:
            (B, C, h, w).
        """
        last = len(self.left) - 1
        level = torch.floor(torch.log2(reduction.nan_to_num(1.0).clamp(min=1.0))).clamp(max=last).long()
        table = constant((*self.left, *self.top, *self.widths, *self.heights), place).view(2, 2, -1)
        start, size = (item.T[level][:, None, None] for item in table)  # (B, 1, 1, 2)
        factor = torch.exp2(level.to(place.dtype))[:, None, None, None]
        inside = ((place + 0.5) / factor - 0.5).maximum(-torch.ones_like(size)).minimum(size)
        sides = constant((float(self.atlas.shape[2]), float(self.atlas.shape[1])), place)
        grid = (2.0 * (start + inside) + (1.0 - sides)) / sides  # rounded once
        return F.grid_sample(self.atlas.expand(len(place), -1, -1, -1), grid, align_corners=False) + GREY


def _put(atlas: Tensor, level: Tensor, x: int, y: int) -> None:
    """Write a level (C, h, w) less GREY, and its border, into an atlas."""
    below, beside = y + level.shape[1], x + level.shape[2]
    torch.sub(level, GREY, out=atlas[:, y:below, x:beside])
    framed = atlas[:, y - _BEFORE : below + _BEHIND, x - _BEFORE : beside + _BEHIND]
    for part in (framed[:, :_BEFORE], framed[:, -_BEHIND:], framed[:, :, :_BEFORE], framed[:, :, -_BEHIND:]):
        part.zero_()


def _levels(image: Tensor, count: int) -> list[Tensor]:
    """Return the means (C, h, w) of squares of 2**l pixels, those that the image cuts off of what is left of them."""
    total = image
    pixels = torch.ones_like(image[:1, :, :1]), torch.ones_like(image[:1, :1])
    levels = [image]
    for _ in range(1, count):
        total = _halved(total, 1, 2)
        pixels = _halved(pixels[0], 1), _halved(pixels[1], 2)
        levels.append(total / (pixels[0] * pixels[1]))
    return levels


def _halved(values: Tensor, *axes: int) -> Tensor:
    """Add neighbours along axes of (C, h, w); adding slices is faster on a CPU than any pooling."""
    for axis in axes:
        if values.shape[axis] % 2:
            values = F.pad(values, (0, 1) if axis == 2 else (0, 0, 0, 1))
        first, second = values.unflatten(axis, (-1, 2)).unbind(axis + 1)
        values = first + second
    return values


def pyramid_of(image: Tensor | Pyramid) -> Pyramid:
    """Return the pyramid of an image (C, H, W), or what is one already."""
    return image if isinstance(image, Pyramid) else Pyramid.of(image)


def picture_of(frame: Frame, device: torch.device) -> tuple[Pyramid, Tensor]:
    """Return a frame's image (3, H, W) in [0, 1] and its intrinsics (3, 3) on a device; they are sent there once."""
    place = device.type, device.index or 0
    if place not in frame.on_devices:
        # Images from messages are read-only or mirrored views; torch wants memory of its own.
        pixels = frame.rgb if frame.rgb.flags.c_contiguous and frame.rgb.flags.writeable else frame.rgb.copy(order="C")
        planes = to_device(pixels, device).permute(2, 0, 1)
        image = planes.to(torch.float32, memory_format=torch.contiguous_format) / 255.0  # the levels are made faster so
        intrinsics = to_device(frame.camera.intrinsics.astype("float32"), device)
        frame.on_devices[place] = Pyramid.of(image), intrinsics
    return frame.on_devices[place]
