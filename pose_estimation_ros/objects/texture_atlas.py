"""One picture for meshes of several textures and plain colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

LARGEST_TEXTURE = 2048  # side, pixels; objects are seen much smaller
_RIM = 2  # pixels about every picture that repeat its edge
_SWATCH = 4  # side of a plain colour, pixels
_MOST_REPEATS = 8  # of a texture along a side over the faces of one part


class Skin(NamedTuple):
    """The colours of the faces of one part: a picture and where in it they are, or one colour for each corner."""

    colors: np.ndarray  # (F, 3, 3) in [0, 1]; those of a picture are multiplied by them
    corner_uv: np.ndarray | None = None  # (F, 3, 2), v upwards
    texture: np.ndarray | None = None  # (H, W, 3) uint8, the first row is v = 1


class Atlas(NamedTuple):
    """One picture and where in it the colours of all faces are."""

    corner_uv: np.ndarray  # (F, 3, 2) float32, v upwards
    texture: np.ndarray  # (H, W, 3) uint8


def join_skins(skins: Sequence[Skin]) -> Atlas:
    """Put the pictures of all parts into one; faces without a picture get a patch of their mean colour.

    Pictures that repeat over a part are repeated in the atlas; all are made smaller where they would not fit.
    """
    if len(skins) == 1 and skins[0].texture is not None and skins[0].corner_uv is not None:
        texture = _tinted(skins[0].texture, skins[0].colors)
        return Atlas(skins[0].corner_uv.astype(np.float32), limited(texture))
    pictures, places = [], []  # places: of every part, (F, 3, 2) in pixels of its picture
    for skin in skins:
        if skin.texture is not None and skin.corner_uv is not None:
            picture, place = _unrolled(skin.corner_uv, _tinted(skin.texture, skin.colors))
        else:
            picture, place = _swatches(skin.colors)
        pictures.append(picture)
        places.append(place)
    pictures, scales = _fitted(pictures, [skin.texture is not None for skin in skins])
    corners, (height, width) = _packed([picture.shape[:2] for picture in pictures])
    atlas = np.full((height, width, 3), 128, dtype=np.uint8)
    uv = []
    for picture, place, scale, (row, column) in zip(pictures, places, scales, corners, strict=True):
        rim = cv2.copyMakeBorder(picture, _RIM, _RIM, _RIM, _RIM, cv2.BORDER_REPLICATE)
        atlas[row : row + rim.shape[0], column : column + rim.shape[1]] = rim
        pixel = place * scale + np.array([column + _RIM, row + _RIM])
        uv.append(np.stack([pixel[..., 0] / width, 1.0 - pixel[..., 1] / height], axis=-1))
    return Atlas(np.concatenate(uv).astype(np.float32), atlas)


def limited(texture: np.ndarray, largest: int = LARGEST_TEXTURE) -> np.ndarray:
    """Return a picture (H, W, 3) whose sides are not longer than allowed."""
    scale = largest / max(texture.shape[:2])
    if scale >= 1.0:
        return texture
    size = (max(1, round(texture.shape[1] * scale)), max(1, round(texture.shape[0] * scale)))
    return cv2.resize(texture, size, interpolation=cv2.INTER_AREA)


def _tinted(texture: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Multiply a picture by the mean colour of its part."""
    factor = colors.reshape(-1, 3).mean(axis=0) if len(colors) else np.ones(3)
    if np.allclose(factor, 1.0, atol=1e-3):
        return texture
    return np.clip(np.round(texture * factor), 0, 255).astype(np.uint8)


def _unrolled(corner_uv: np.ndarray, texture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture repeated as often as its faces need, and their places in it in pixels."""
    shifted = corner_uv - np.floor(corner_uv.min(axis=1, keepdims=True) + 1e-6)
    repeats = np.ceil(shifted.max(axis=(0, 1), initial=1.0) - 1e-6).astype(int)
    if (repeats > _MOST_REPEATS).any():  # finer than anybody could see: the mean colour
        mean = texture.reshape(-1, 3).mean(axis=0, keepdims=True).round().astype(np.uint8)
        texture, repeats, shifted = (
            np.tile(mean[None], (_SWATCH, _SWATCH, 1)),
            np.ones(2, int),
            np.full_like(shifted, 0.5),
        )
    else:
        texture = np.tile(limited(texture, LARGEST_TEXTURE // int(repeats.max())), (repeats[1], repeats[0], 1))
    height, width = texture.shape[:2]
    x = shifted[..., 0] / repeats[0] * width
    y = (1.0 - shifted[..., 1] / repeats[1]) * height
    return texture, np.stack([x, y], axis=-1)


def _swatches(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture of the faces' mean colours, and the places of the faces in it in pixels."""
    mean = np.clip(np.round(colors.mean(axis=1) * 255.0), 0, 255).astype(np.uint8)
    known, index = np.unique(mean, axis=0, return_inverse=True)
    if len(known) > 4096:  # 16 levels of every channel are enough
        mean = mean // 16 * 16 + 8
        known, index = np.unique(mean, axis=0, return_inverse=True)
    index = index.reshape(-1)
    columns = int(np.ceil(np.sqrt(len(known))))
    rows = -(-len(known) // columns)
    grid = np.zeros((rows * columns, 3), dtype=np.uint8)
    grid[: len(known)] = known
    picture = grid.reshape(rows, columns, 3).repeat(_SWATCH, axis=0).repeat(_SWATCH, axis=1)
    centre = (np.stack([index % columns, index // columns], axis=1) + 0.5) * _SWATCH
    return picture, np.repeat(centre[:, None], 3, axis=1)


def _fitted(pictures: list[np.ndarray], shrinks: list[bool]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Make pictures smaller, those that may be, until all fit into one; return the scales of x and y."""
    fitted, scales = list(pictures), [np.ones(2) for _ in pictures]
    largest = LARGEST_TEXTURE - 2 * _RIM
    while True:
        if all(max(picture.shape[:2]) <= largest for picture, may in zip(fitted, shrinks, strict=True) if may):
            if max(_packed([picture.shape[:2] for picture in fitted])[1]) <= LARGEST_TEXTURE or largest < 8:
                return fitted, scales
            largest = int(largest * 0.8)
        for index, (picture, may) in enumerate(zip(pictures, shrinks, strict=True)):
            if may:
                fitted[index] = limited(picture, max(largest, 4))
                scales[index] = np.array(fitted[index].shape[1::-1]) / np.array(picture.shape[1::-1])
        if not any(shrinks):
            return fitted, scales


def _packed(sizes: Sequence[tuple[int, ...]]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Lay pictures of sizes (height, width) on shelves; return their upper left corners, and the size of the whole."""
    area = sum((height + 2 * _RIM) * (width + 2 * _RIM) for height, width in sizes)
    broad = max(int(np.sqrt(area) * 1.1), max(width for _, width in sizes) + 2 * _RIM)
    corners: list[tuple[int, int]] = [(0, 0)] * len(sizes)
    row = column = shelf = reach = 0
    for index in sorted(range(len(sizes)), key=lambda item: -sizes[item][0]):
        height, width = (side + 2 * _RIM for side in sizes[index])
        if column and column + width > broad:
            row, column, shelf = row + shelf, 0, 0
        corners[index] = (row, column)
        column, shelf = column + width, max(shelf, height)
        reach = max(reach, column)
    return corners, (row + shelf, reach)
