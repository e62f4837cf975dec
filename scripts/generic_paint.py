"""Colours for shapes that have none: plain, in parts, noise, photographs, prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from pose_estimation_ros.data.backgrounds import background_pool

WINDOW_PX = 192
Random = np.random.Generator
Paint = Callable[[np.ndarray, np.ndarray, Random], np.ndarray]


class Painter:
    """Colours surfaces.

    Args:
        pictures: files that photographs are cut out of.
        prints: how many pictures of polygons, letters and stripes are drawn beside them.
        seed: same seed, same prints.
    """

    def __init__(self, pictures: list[Path], prints: int = 200, seed: int = 0) -> None:
        self._pictures = pictures
        self._prints = background_pool(prints, WINDOW_PX, seed).permute(0, 2, 3, 1).numpy()

    def __call__(self, points: np.ndarray, normals: np.ndarray, random: Random) -> np.ndarray:
        """Return colours (N, 3) in [0, 1] of points (N, 3) with normals (N, 3), as random tells."""
        styles: list[Paint] = [plain, parts, noise, self._photograph, self._print]
        image = styles[random.choice(len(styles), p=[0.2, 0.2, 0.15, 0.2, 0.25])](points, normals, random)
        if random.random() < 0.25:  # two materials
            where = _field(points, random, 1.5) > random.normal(0.0, 0.7)
            image[where] = styles[random.choice(3)](points, normals, random)[where]
        return np.clip(image + random.normal(0.0, random.uniform(0.0, 0.03), (len(points), 1)), 0.0, 1.0)

    def _photograph(self, points: np.ndarray, normals: np.ndarray, random: Random) -> np.ndarray:
        image = cv2.imread(str(self._pictures[random.integers(len(self._pictures))]), cv2.IMREAD_COLOR)
        assert image is not None, "a file of the list"
        side = int(min(image.shape[:2]) * random.uniform(0.3, 1.0))
        y, x = (int(random.integers(0, length - side + 1)) for length in image.shape[:2])
        part = cv2.resize(image[y : y + side, x : x + side], (WINDOW_PX, WINDOW_PX), interpolation=cv2.INTER_AREA)
        return _wrapped(part[..., ::-1] / 255.0, points, normals, random)

    def _print(self, points: np.ndarray, normals: np.ndarray, random: Random) -> np.ndarray:
        image = _wrapped(self._prints[random.integers(len(self._prints))] / 255.0, points, normals, random)
        bare = np.argmax(np.abs(normals), axis=1) == random.integers(3)  # labels do not go all around
        if random.random() < 0.6:
            image[bare] = _color(random)
        return image


def plain(points: np.ndarray, normals: np.ndarray, random: Random) -> np.ndarray:
    """Give everything one colour, a little uneven."""
    uneven = 1.0 + random.uniform(0.0, 0.08) * _field(points, random, 2.0)
    return _color(random) * uneven[:, None]


def parts(points: np.ndarray, normals: np.ndarray, random: Random) -> np.ndarray:
    """Give bands along an axis of the box, or patches, colours of their own."""
    size = np.maximum(np.ptp(points, axis=0), 1e-9)
    palette = np.stack([_color(random) for _ in range(int(random.integers(2, 7)))])
    if random.random() < 0.5:
        axis = random.integers(3)
        along = (points[:, axis] - points[:, axis].min()) / size[axis]
        label = np.searchsorted(np.sort(random.random(int(random.integers(1, 7)))), along)
    else:
        seeds = points[random.integers(len(points), size=int(random.integers(2, 14)))] / size
        label = np.argmin(((points[:, None] / size - seeds) ** 2).sum(axis=2), axis=1)
    return palette[label % len(palette)]


def noise(points: np.ndarray, normals: np.ndarray, random: Random) -> np.ndarray:
    """Mix two colours by smooth noise in space, as marble and wood have it."""
    stretch = np.exp(random.uniform(-1.2, 0.0, 3))
    field = sum(_field(points * stretch, random, scale) / scale**0.7 for scale in (2.0, 4.0, 8.0, 16.0))
    share = 1.0 / (1.0 + np.exp(-random.uniform(1.0, 8.0) * np.asarray(field)))[:, None]
    return share * _color(random) + (1.0 - share) * _color(random)


def _color(random: Random) -> np.ndarray:
    """Draw a colour: grey and pale ones are as frequent as strong ones."""
    grey = random.uniform(0.04, 0.95)
    return np.clip(grey + random.normal(0.0, random.choice([0.02, 0.1, 0.3]), 3), 0.02, 1.0)


def _field(points: np.ndarray, random: Random, cells: float) -> np.ndarray:
    """Return smooth noise (N,) at points (N, 3), with about so many cells over the largest side."""
    place = (points - points.min(axis=0)) / np.ptp(points, axis=0).max() * cells
    grid = random.normal(size=np.floor(place.max(axis=0)).astype(int) + 2)
    whole = np.floor(place).astype(int)
    rest = place - whole
    rest = rest * rest * (3.0 - 2.0 * rest)
    value = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, rest, 1.0 - rest), axis=1)
        value += weight * grid[tuple((whole + corner).T)]
    return value


def _wrapped(picture: np.ndarray, points: np.ndarray, normals: np.ndarray, random: Random) -> np.ndarray:
    """Project a picture (S, S, 3) along the axis that each point faces, each side shows its own part of it."""
    axis = np.argmax(np.abs(normals), axis=1)
    sign = normals[np.arange(len(normals)), axis] > 0.0
    size = np.ptp(points, axis=0).max() * random.uniform(0.4, 1.2)
    place = (points - points.min(axis=0)) / size
    image = np.zeros((len(points), 3))
    for side in range(6):
        chosen = (axis == side // 2) & (sign == bool(side % 2))
        u, v = (place[chosen][:, other] for other in range(3) if other != side // 2)
        start = random.random(2)
        columns, rows = (
            np.abs((value + begin) % 2.0 - 1.0) * (len(picture) - 1.0)
            for value, begin in zip((u, v), start, strict=True)
        )  # mirrored, so that no seam shows
        if chosen.any():
            image[chosen] = cv2.remap(
                picture.astype(np.float32), columns.astype(np.float32)[None], rows.astype(np.float32)[None],
                cv2.INTER_LINEAR,
            )[0]  # fmt: skip
    return image
