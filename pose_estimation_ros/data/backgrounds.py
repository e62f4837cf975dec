"""Backgrounds: procedural textures, and the user's own pictures where there are any."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}


def background_pool(
    count: int = 300, size: int = 192, seed: int = 0, folder: Path | None = None, share: float = 0.5
) -> Tensor:
    """Make a pool of background pictures, uint8 (P, 3, size, size).

    Args:
        count: number of pictures.
        size: their side in pixels.
        seed: same seed, same pool.
        folder: pictures of the user's scenes, or photographs of anything.
        share: part of the pool that is cut out of the folder's pictures, where a folder is given.

    Raises:
        FileNotFoundError: if the folder has no pictures.
    """
    generator = np.random.default_rng(seed)
    files: list[Path] = []
    if folder is not None:
        files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
        if not files:
            raise FileNotFoundError(f"{folder}: no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
    photographs = round(count * share) if files else 0
    order = generator.permutation(len(files)) if files else ()
    pool = [_window(files[order[index % len(files)]], size, generator) for index in range(photographs)]
    pool += [_procedural(size, generator) for _ in range(count - photographs)]
    return torch.from_numpy(np.stack(pool)).permute(0, 3, 1, 2).contiguous()


def _window(path: Path, size: int, generator: np.random.Generator) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path}: not a readable picture")
    side = int(min(image.shape[:2]) * generator.uniform(0.4, 1.0))
    y, x = (int(generator.integers(0, length - side + 1)) for length in image.shape[:2])
    window = cv2.resize(image[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(window, cv2.COLOR_BGR2RGB)


def _noise(size: int, generator: np.random.Generator, roughness: float) -> np.ndarray:
    """Sum octaves of smooth noise into a field (size, size) of zero mean and unit deviation."""
    field = np.zeros((size, size), np.float32)
    amplitude, cells = 1.0, 2
    while cells < size:
        grid = generator.normal(size=(cells, cells)).astype(np.float32)
        field += amplitude * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        amplitude *= roughness
        cells *= 2
    return (field - field.mean()) / (field.std() + 1e-6)


def _color(generator: np.random.Generator) -> np.ndarray:
    """Draw a colour; most things in rooms are grey, brown or pale."""
    grey = generator.uniform(0.05, 0.95)
    return np.clip(grey + generator.normal(0.0, generator.choice([0.03, 0.1, 0.3]), 3), 0.0, 1.0).astype(np.float32)


def _procedural(size: int, generator: np.random.Generator) -> np.ndarray:
    field = _noise(size, generator, generator.uniform(0.35, 0.85))[..., None]
    weight = 1.0 / (1.0 + np.exp(-field * generator.uniform(0.5, 4.0)))
    image = weight * _color(generator) + (1.0 - weight) * _color(generator)
    if generator.random() < 0.3:
        image = _stripes(image, generator)
    if generator.random() < 0.7:
        image = _scatter(image, generator)
    grain = generator.normal(size=image.shape[:2]).astype(np.float32)[..., None]
    image = image + grain * generator.uniform(0.0, 0.06)
    return (np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


def _stripes(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Lay stripes, tiles or a grid of lines over the image."""
    size = len(image)
    angle, period = generator.uniform(0.0, np.pi), generator.uniform(4.0, 60.0)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    along = (x * np.cos(angle) + y * np.sin(angle)) / period
    across = (-x * np.sin(angle) + y * np.cos(angle)) / period
    duty = generator.uniform(0.05, 0.5)
    pattern = (along % 1.0 < duty) if generator.random() < 0.5 else (along % 1.0 < duty) ^ (across % 1.0 < duty)
    return np.where(pattern[..., None], _color(generator), image).astype(np.float32)


def _scatter(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Throw polygons, discs, lines and letters over the image, each with its own soft shade."""
    image = np.ascontiguousarray(image, dtype=np.float32)
    size = len(image)
    for _ in range(int(generator.integers(3, 30))):
        drawn = np.zeros((size, size), np.uint8)
        x, y = (int(value) for value in generator.integers(0, size, 2))
        extent = generator.uniform(0.04, 0.4) * size
        kind = generator.integers(4)
        if kind == 0:
            angles = np.sort(generator.uniform(0.0, 2.0 * np.pi, generator.integers(3, 7)))
            corners = np.stack([x + extent * np.cos(angles), y + extent * np.sin(angles)], axis=1)
            cv2.fillPoly(drawn, [corners.astype(np.int32)], 255, cv2.LINE_AA)
        elif kind == 1:
            axes = (int(extent * generator.uniform(0.3, 1.0)) + 1, int(extent) // 2 + 1)
            cv2.ellipse(drawn, (x, y), axes, generator.uniform(0.0, 180.0), 0.0, 360.0, 255, -1, cv2.LINE_AA)
        elif kind == 2:
            end = tuple(int(value) for value in generator.integers(0, size, 2))
            cv2.line(drawn, (x, y), end, 255, int(generator.integers(1, 6)), cv2.LINE_AA)
        else:
            word = "".join(chr(code) for code in generator.integers(48, 91, 5))
            cv2.putText(drawn, word, (x, y), cv2.FONT_HERSHEY_SIMPLEX, extent / 40.0, 255, 2, cv2.LINE_AA)
        layer = drawn.astype(np.float32) / 255.0
        shade = 1.0 + 0.15 * _noise(size, generator, 0.4) if kind < 2 else np.ones((size, size), np.float32)
        image = image * (1.0 - layer[..., None]) + (layer * shade)[..., None] * _color(generator)
    return image
