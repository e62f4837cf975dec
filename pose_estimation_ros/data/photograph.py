"""From what is nearest at each pixel to a photograph: light, shadows, a background, and the faults of cameras."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from pose_estimation_ros.data.augmentation import color_jitter, sensor, uneven_light
from pose_estimation_ros.data.layers import random_backgrounds
from pose_estimation_ros.rendering.raycaster import Renders
from pose_estimation_ros.rendering.shading import random_lighting, shade


class PhotographConfig(BaseModel):
    """What lies behind the objects, and how bad the camera is."""

    model_config = ConfigDict(extra="forbid")

    collage: tuple[int, int] = (4, 24)  # pieces of other pictures that lie behind everything
    noise: tuple[float, float] = (0.0, 0.08)  # standard deviation at most
    reduction: tuple[float, float] = (1.0, 2.0)  # by which the image is made smaller and larger again: unsharp lenses
    quality: tuple[int, int] = (40, 98)  # of JPEG


class SceneMaps:
    """What is nearest at each pixel."""

    def __init__(self, height: int, width: int) -> None:
        self.depth = np.full((height, width), np.inf, dtype=np.float32)
        self.owner = np.full((height, width), -1, dtype=np.int64)
        self.colors = torch.zeros(3, height, width)
        self.normals = torch.zeros(3, height, width)

    def put(self, number: int, rows: slice, columns: slice, part: Renders, tint: np.ndarray) -> None:
        """Draw a rendered window."""
        depth = part.depth[0].numpy()
        nearer = part.mask[0].numpy() & (depth < self.depth[rows, columns])
        self.depth[rows, columns][nearer] = depth[nearer]
        self.owner[rows, columns][nearer] = number
        chosen = torch.from_numpy(nearer)
        self.colors[:, rows, columns][:, chosen] = part.colors[0][:, chosen] * torch.from_numpy(tint)[:, None]
        self.normals[:, rows, columns][:, chosen] = part.normals[0][:, chosen]


class Photographer:
    """Takes pictures of scenes.

    Args:
        backgrounds: pictures, uint8 (P, 3, h, w).
        config: what lies behind the objects, and how bad the camera is.
        random: source of randomness, shared with whoever arranges the scene.
        seed: of what is drawn on tensors.
    """

    def __init__(
        self, backgrounds: Tensor, config: PhotographConfig, random: np.random.Generator, seed: int = 0
    ) -> None:
        self._backgrounds = backgrounds
        self._config = config
        self._random = random
        self._generator = torch.Generator().manual_seed(seed)

    def picture(self, maps: SceneMaps) -> np.ndarray:
        """Light the maps, lay them over a background, and take a picture (H, W, 3) uint8."""
        config, generator, random = self._config, self._generator, self._random
        canvas = random_backgrounds(
            self._backgrounds, 1, maps.depth.shape[0], maps.depth.shape[1], generator, (0.5, 1.0)
        )
        for _ in range(int(random.integers(config.collage[0], config.collage[1] + 1))):
            self._stick(canvas[0])
        there = torch.from_numpy((maps.owner >= 0).astype(np.float32))[None, None]
        canvas = canvas * (1.0 - self._shadow(maps.owner >= 0))
        lit = shade(
            maps.colors[None], torch.ones_like(there), maps.normals[None], random_lighting(1, generator, canvas.device)
        )
        soft = torch.nn.functional.avg_pool2d(there, 3, 1, 1)
        image = canvas * (1.0 - soft * there) + lit.clamp(0.0, 1.0) * soft * there
        image = color_jitter(uneven_light(image, generator).clamp(0.0, 1.0), generator)
        small = random.uniform(*config.reduction)
        pixels = image[0].permute(1, 2, 0).numpy()
        size = (round(maps.depth.shape[1] / small), round(maps.depth.shape[0] / small))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        taken = sensor(torch.from_numpy(pixels).permute(2, 0, 1)[None], generator, random.uniform(*config.noise))
        pixels = np.ascontiguousarray((taken[0].clamp(0.0, 1.0) * 255.0).round().byte().permute(1, 2, 0).numpy())
        pixels = cv2.resize(pixels, (maps.depth.shape[1], maps.depth.shape[0]), interpolation=cv2.INTER_LINEAR)
        quality = int(random.integers(config.quality[0], config.quality[1] + 1))
        _, coded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        assert decoded is not None  # it was coded just before
        return np.ascontiguousarray(decoded[..., ::-1])

    def _shadow(self, covered: np.ndarray) -> Tensor:
        """Return how dark (H, W) the ground is about objects (H, W) bool."""
        shift = self._random.uniform(-12.0, 12.0), self._random.uniform(0.0, 12.0)
        width = self._random.uniform(3.0, 15.0)
        moved = np.roll(covered.astype(np.float32), (round(shift[1]), round(shift[0])), axis=(0, 1))
        return torch.from_numpy(cv2.GaussianBlur(moved, (0, 0), width)) * self._random.uniform(0.0, 0.7)

    def _stick(self, image: Tensor) -> None:
        """Stick a piece of another background, a polygon or an ellipse, onto an image (3, H, W)."""
        height, width = image.shape[1:]
        piece = random_backgrounds(self._backgrounds, 1, height, width, self._generator, (0.15, 0.9))[0]
        random = self._random
        centre = random.uniform(0.0, 1.0, 2) * (width, height)
        extent = random.uniform(0.02, 0.3) * width * random.uniform(0.3, 1.0, 2)
        mask = np.zeros((height, width), dtype=np.uint8)
        if random.random() < 0.4:
            axes = (int(extent[0]) + 1, int(extent[1]) + 1)
            cv2.ellipse(mask, [int(value) for value in centre], axes, random.uniform(0.0, 180.0), 0.0, 360.0, 1, -1)
        else:
            angles = np.sort(random.uniform(0.0, 2.0 * np.pi, random.integers(3, 7)))
            corners = centre + extent * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            cv2.fillConvexPoly(mask, corners.round().astype(np.int32), 1)
        chosen = torch.from_numpy(mask).bool()
        image[:, chosen] = piece[:, chosen]
