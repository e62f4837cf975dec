"""From what is nearest at each pixel to a photograph: light, shadows, a background, and the faults of cameras."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from pose_estimation_ros.data.augmentation import color_jitter, sensor, uneven_light
from pose_estimation_ros.data.camera_chain import compress
from pose_estimation_ros.data.layers import random_backgrounds
from pose_estimation_ros.data.scene_painting import stick_picture
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
            stick_picture(canvas[0], self._backgrounds, generator)
        there = torch.from_numpy((maps.owner >= 0).astype(np.float32))[None, None]
        canvas = canvas * (1.0 - self._shadow(maps.owner >= 0))
        lit = shade(
            maps.colors[None], torch.ones_like(there), maps.normals[None], random_lighting(1, generator, canvas.device)
        )
        soft = F.avg_pool2d(there, 3, 1, 1)
        image = canvas * (1.0 - soft * there) + lit.clamp(0.0, 1.0) * soft * there
        image = color_jitter(uneven_light(image, generator).clamp(0.0, 1.0), generator)
        small = random.uniform(*config.reduction)
        pixels = image[0].permute(1, 2, 0).numpy()
        size = (round(maps.depth.shape[1] / small), round(maps.depth.shape[0] / small))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        taken = sensor(torch.from_numpy(pixels).permute(2, 0, 1)[None], generator, random.uniform(*config.noise))
        taken = F.interpolate(taken, size=maps.depth.shape, mode="bilinear").clamp(0.0, 1.0)
        taken = compress(taken, 1.0, generator, config.quality)
        return np.ascontiguousarray((taken[0] * 255.0).round().byte().permute(1, 2, 0).numpy())

    def _shadow(self, covered: np.ndarray) -> Tensor:
        """Return how dark (H, W) the ground is about objects (H, W) bool."""
        shift = self._random.uniform(-12.0, 12.0), self._random.uniform(0.0, 12.0)
        width = self._random.uniform(3.0, 15.0)
        moved = np.roll(covered.astype(np.float32), (round(shift[1]), round(shift[0])), axis=(0, 1))
        return torch.from_numpy(cv2.GaussianBlur(moved, (0, 0), width)) * self._random.uniform(0.0, 0.7)
