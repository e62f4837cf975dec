"""Whole training scenes for the detector: several objects that hide each other, made from the bank of views."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from pose_estimation_ros.data.augmentation import color_jitter, sensor, uneven_light, uniform
from pose_estimation_ros.data.layers import random_backgrounds, shaded_views
from pose_estimation_ros.data.view_bank import ViewBank, warp_grid


class SceneConfig(BaseModel):
    """How scenes are made. Lengths in pixels are those of the detector's input."""

    model_config = ConfigDict(extra="forbid")

    width: int = 384
    height: int = 288
    focal_px: tuple[float, float] = (380.0, 480.0)  # of the camera, at the detector's input size
    objects: tuple[int, int] = (3, 9)  # known objects in a scene
    clutter: tuple[int, int] = (0, 12)  # foreign shapes, recoloured
    collage: tuple[int, int] = (0, 14)  # pieces of other backgrounds, as the edges and colours of a full room
    roll_deg: tuple[float, float] = (-180.0, 180.0)
    distance_m: tuple[float, float] = (0.35, 1.5)
    patch: int = 96  # objects are shaded at this resolution before they are placed
    crowded: float = 0.5  # share of scenes whose objects stand close together
    min_visibility: float = 0.1  # objects less visible than this are not labelled
    min_pixels: int = 40
    noise: float = 0.05


@dataclass(frozen=True)
class SceneBatch:
    """B scenes with their ground truth."""

    images: Tensor  # (B, 3, H, W) float in [0, 1]
    targets: list[dict[str, Tensor]]  # boxes (n, 4) xyxy of the whole object, labels (n,) index + 1, masks (n, H, W)

    def __len__(self) -> int:
        return len(self.images)


class SceneSource:
    """Makes batches of scenes without end.

    Args:
        bank: ray-cast views.
        backgrounds: pictures, uint8 (P, 3, h, w), on the bank's device.
        config: how scenes are made.
        seed: same seed, same scenes.
    """

    def __init__(self, bank: ViewBank, backgrounds: Tensor, config: SceneConfig, seed: int = 0) -> None:
        self.bank = bank
        self.backgrounds = backgrounds
        self.config = config
        self.generator = torch.Generator(device=bank.surface.device).manual_seed(seed)
        index = bank.object_index
        per_object = 1.0 / torch.bincount(index).float()
        self._known_odds = per_object[index] * (index < bank.known)
        self._clutter_odds = per_object[index] * (index >= bank.known)

    def batch(self, count: int) -> SceneBatch:
        """Make the next `count` scenes."""
        config = self.config
        canvas = random_backgrounds(
            self.backgrounds, count, config.height, config.width, self.generator, zoom=(0.5, 1.0)
        )
        targets = []
        for image in canvas:
            for _ in range(self._number(*config.collage)):
                self._stick(image)
            targets.append(self._populate(image))
        canvas = uneven_light(canvas, self.generator)
        canvas = color_jitter(canvas.clamp(0.0, 1.0), self.generator)
        canvas = sensor(canvas, self.generator, config.noise)
        return SceneBatch(canvas.clamp(0.0, 1.0), targets)

    def _stick(self, image: Tensor) -> None:
        """Stick a turned piece of another background, a box or an ellipse, onto an image (3, H, W)."""
        height, width = image.shape[1:]
        side = int(uniform(0.06, 0.5, (1,), self.generator) * width)
        left, top = (int(uniform(-0.5 * side, length - 0.5 * side, (1,), self.generator)) for length in (width, height))
        x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
        piece = random_backgrounds(self.backgrounds, 1, side, side, self.generator, zoom=(0.15, 0.7))[0]
        line = torch.linspace(-1.0, 1.0, side, device=image.device)
        angle = uniform(0.0, 3.1416, (1,), self.generator)
        half = uniform(0.15, 0.7, (2,), self.generator)
        along = (line[None, :] * angle.cos() + line[:, None] * angle.sin()) / half[0]
        across = (line[:, None] * angle.cos() - line[None, :] * angle.sin()) / half[1]
        square = bool(uniform(0.0, 1.0, (1,), self.generator) < 0.7)
        reach = torch.maximum(along.abs(), across.abs()) if square else (along**2 + across**2).sqrt()
        cover = ((1.0 - reach) * side * float(half.min()) / 2.0 + 0.5).clamp(0.0, 1.0)  # one pixel wide edge
        rows, columns = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        image[:, y0:y1, x0:x1].lerp_(piece[:, rows, columns], cover[rows, columns].expand(3, -1, -1))

    def _number(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=self.generator, device=self.generator.device))

    def _populate(self, image: Tensor) -> dict[str, Tensor]:
        """Paint objects into one image (3, H, W) and return their boxes, labels and masks."""
        view = self._choose()
        centre, scale = self._arrange(view)
        patches = self._patches(view)
        # Far objects first. An object's distance shows in how much its stored view is scaled.
        distance = self.bank.focal_px[view] / self.bank.camera_from_object[view, 2, 3] / scale
        labels: list[int] = []
        full: list[int] = []  # pixels of the whole objects
        boxes: list[Tensor] = []
        visible: list[Tensor] = []
        for number in torch.argsort(distance, descending=True).tolist():
            placed = self._paste(image, patches[number], centre[number], float(scale[number]))
            if placed is None:
                continue
            (y0, y1, x0, x1), alpha, box = placed
            solid = alpha > 0.5
            for mask in visible:
                mask[y0:y1, x0:x1] &= ~solid
            index = int(self.bank.object_index[view[number]])
            if index >= self.bank.known:
                continue
            mask = torch.zeros(image.shape[1:], dtype=torch.bool, device=image.device)
            mask[y0:y1, x0:x1] = solid
            labels.append(index + 1)
            boxes.append(box)
            visible.append(mask)
            full.append(int(solid.sum()))
        return self._targets(labels, boxes, visible, full, image)

    def _choose(self) -> Tensor:
        config = self.config
        known = torch.multinomial(self._known_odds, self._number(*config.objects), True, generator=self.generator)
        clutter_count = self._number(*config.clutter)
        if clutter_count == 0 or not bool((self._clutter_odds > 0).any()):
            return known
        clutter = torch.multinomial(self._clutter_odds, clutter_count, True, generator=self.generator)
        return torch.cat([known, clutter])

    def _arrange(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the views go: centres (n, 2) in pixels and scales (n,) of the stored views."""
        config, count = self.config, len(view)
        focal = uniform(*config.focal_px, (1,), self.generator)
        near, far = config.distance_m
        typical = uniform(near, far, (1,), self.generator)
        distance = (typical * torch.exp(uniform(-0.2, 0.2, (count,), self.generator))).clamp(near, far)
        scale = focal / distance * self.bank.camera_from_object[view, 2, 3] / self.bank.focal_px[view]
        size = torch.tensor([config.width, config.height], device=scale.device, dtype=torch.float32)
        crowded = float(uniform(0, 1, (1,), self.generator)) < config.crowded
        if crowded:
            anchor = uniform(0.3, 0.7, (1, 2), self.generator)
            spread = uniform(0.08, 0.25, (1, 1), self.generator)
            noise = torch.randn(count, 2, generator=self.generator, device=scale.device)
            place = anchor + spread * noise
        else:
            place = uniform(0.0, 1.0, (count, 2), self.generator)
        return place.clamp(0.0, 1.0) * size, scale

    def _patches(self, view: Tensor) -> Tensor:
        """Return lit and rolled views (n, 4, P, P), colour times coverage and coverage."""
        side = self.config.patch
        roll = torch.deg2rad(uniform(*self.config.roll_deg, (len(view),), self.generator))
        half, ratio = (side - 1) / 2.0, self.bank.size / side
        transform = torch.zeros(len(view), 3, 3, device=view.device)
        transform[:, 0, 0] = transform[:, 1, 1] = roll.cos() * ratio
        transform[:, 0, 1], transform[:, 1, 0] = roll.sin() * ratio, -roll.sin() * ratio
        turned = transform[:, :2, :2] @ torch.full((2,), half, device=view.device)
        transform[:, :2, 2] = (self.bank.size - 1) / 2.0 - turned
        transform[:, 2, 2] = 1.0
        grid = warp_grid(transform, torch.arange(side, device=view.device, dtype=torch.float32), self.bank.size)
        patches = shaded_views(self.bank, view, grid, self.generator)
        foreign = (self.bank.object_index[view] >= self.bank.known)[:, None, None, None]
        colour = torch.where(
            foreign, uniform(0.2, 1.6, (len(view), 3, 1, 1), self.generator), torch.ones_like(roll)[:, None, None, None]
        )
        patches[:, :3] = torch.minimum(patches[:, :3] * colour, patches[:, 3:])
        return patches

    def _paste(
        self, image: Tensor, patch: Tensor, centre: Tensor, scale: float
    ) -> tuple[tuple[int, int, int, int], Tensor, Tensor] | None:
        """Paint a patch over the image; return the window, its coverage and the clipped box of the whole object."""
        side = max(8, round(self.bank.size * scale))
        mode = "area" if side < patch.shape[-1] else "bilinear"
        resized = F.interpolate(patch[None], size=(side, side), mode=mode)[0]
        height, width = image.shape[1:]
        left, top = (int(value) - side // 2 for value in centre.tolist())
        x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
        if x1 - x0 < 4 or y1 - y0 < 4:
            return None
        cut = resized[:, y0 - top : y1 - top, x0 - left : x1 - left]
        window = image[:, y0:y1, x0:x1]
        window.mul_(1.0 - cut[3:]).add_(cut[:3])
        solid = resized[3] > 0.5
        columns, rows = solid.any(dim=0).nonzero()[:, 0], solid.any(dim=1).nonzero()[:, 0]
        if len(columns) == 0:
            return None
        limits = torch.tensor([width, height, width, height], device=image.device)
        corners = [left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1]
        box = torch.minimum(torch.stack(corners).clamp(min=0), limits).float() - 0.5  # pixel centres are integers
        return (y0, y1, x0, x1), cut[3], box

    def _targets(
        self, labels: list[int], boxes: list[Tensor], visible: list[Tensor], full: list[int], image: Tensor
    ) -> dict[str, Tensor]:
        config = self.config
        keep = [
            number
            for number in range(len(labels))
            if (count := int(visible[number].sum())) >= config.min_pixels
            and count >= config.min_visibility * full[number]
            and float((boxes[number][2:] - boxes[number][:2]).min()) >= 4.0
        ]
        height, width = image.shape[1:]
        return {
            "boxes": torch.stack([boxes[n] for n in keep]) if keep else torch.zeros(0, 4, device=image.device),
            "labels": torch.tensor([labels[n] for n in keep], dtype=torch.int64, device=image.device),
            "masks": torch.stack([visible[n] for n in keep]).to(torch.uint8)
            if keep
            else torch.zeros(0, height, width, dtype=torch.uint8, device=image.device),
        }
