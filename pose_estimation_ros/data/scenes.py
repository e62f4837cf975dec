"""Whole training scenes for the detector: several objects that hide each other, made from the bank of views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from pose_estimation_ros.data.augmentation import color_jitter, sensor, uneven_light, uniform
from pose_estimation_ros.data.camera_chain import compress, demosaic, motion_blur
from pose_estimation_ros.data.layers import picture_window, random_backgrounds, shaded_views
from pose_estimation_ros.data.scene_layout import Layout, TableLayouts, scattered
from pose_estimation_ros.data.scene_painting import Shadow, lay_table, paint_view, stick_picture
from pose_estimation_ros.data.view_bank import ViewBank, warp_grid


class SceneConfig(BaseModel):
    """How scenes are made. Lengths in pixels are those of the detector's input."""

    model_config = ConfigDict(extra="forbid")

    width: int = 384
    height: int = 288
    focal_px: tuple[float, float] = (380.0, 480.0)  # of the camera, at the detector's input size
    objects: tuple[int, int] = (3, 9)  # known objects in a scene
    clutter: tuple[int, int] = (0, 12)  # foreign shapes, recoloured
    classes: Literal["objects", "one"] = "objects"  # one: whatever is there, foreign shapes too, is of one class
    collage: tuple[int, int] = (0, 14)  # pieces of other backgrounds, as the edges and colours of a full room
    roll_deg: tuple[float, float] = (-180.0, 180.0)
    distance_m: tuple[float, float] = (0.35, 1.5)
    patch: int = 96  # objects are shaded at this resolution before they are placed
    crowded: float = 0.5  # share of scenes whose objects stand close together
    min_visibility: float = 0.1  # objects less visible than this are not labelled
    min_pixels: int = 40
    noise: float = 0.05
    background_zoom: tuple[float, float] = (0.5, 1.0)  # part of a background's side that fills the image
    tables: float = Field(default=0.0, ge=0.0, le=1.0)  # share of scenes whose objects stand on a plane
    shadows: float = Field(default=0.0, ge=0.0, le=1.0)  # of objects on what lies behind them: darkest
    printed: float = Field(default=0.0, ge=0.0, le=1.0)  # share of foreign shapes with a picture printed on them
    motion_blur: float = Field(default=0.0, ge=0.0, le=1.0)  # share of scenes that are smeared
    demosaic: float = Field(default=0.0, ge=0.0, le=1.0)  # share of scenes seen through a Bayer filter
    jpeg: float = Field(default=0.0, ge=0.0, le=1.0)  # share of scenes that are compressed


@dataclass(frozen=True)
class SceneBatch:
    """B scenes with their ground truth."""

    images: Tensor  # (B, 3, H, W) float in [0, 1]
    # boxes (n, 4) xyxy of the whole object, labels (n,) index + 1, or 1 of one class, masks (n, H, W)
    targets: list[dict[str, Tensor]]

    def __len__(self) -> int:
        return len(self.images)


class SceneSource:
    """Makes batches of scenes without end.

    Args:
        bank: ray-cast views.
        backgrounds: pictures, uint8 (P, 3, h, w), on the bank's device.
        config: how scenes are made.
        seed: same seed, same scenes.
        weights: how often each object is drawn, relative; even where None.
        elevation: range of the camera's elevation above tables, radians.
    """

    def __init__(
        self,
        bank: ViewBank,
        backgrounds: Tensor,
        config: SceneConfig,
        seed: int = 0,
        weights: Tensor | None = None,
        elevation: tuple[float, float] = (0.1, 1.4),
    ) -> None:
        self.bank = bank
        self.backgrounds = backgrounds
        self.config = config
        self.generator = torch.Generator(device=bank.surface.device).manual_seed(seed)
        index = bank.object_index
        per_object = 1.0 / torch.bincount(index).float()
        wanted = torch.ones(bank.known) if weights is None else weights
        self._known_odds = (per_object * F.pad(wanted.to(per_object), (0, len(per_object) - bank.known)))[index]
        self._clutter_odds = per_object[index] * (index >= bank.known)
        self._tables = TableLayouts(bank)
        self._elevation = elevation

    def batch(self, count: int) -> SceneBatch:
        """Make the next `count` scenes."""
        config = self.config
        canvas = random_backgrounds(
            self.backgrounds, count, config.height, config.width, self.generator, zoom=config.background_zoom
        )
        targets = []
        for image in canvas:
            for _ in range(self._number(*config.collage)):
                stick_picture(image, self.backgrounds, self.generator)
            targets.append(self._populate(image))
        canvas = uneven_light(canvas, self.generator)
        canvas = color_jitter(canvas.clamp(0.0, 1.0), self.generator)
        canvas = motion_blur(canvas, config.motion_blur, self.generator)
        canvas = demosaic(canvas, config.demosaic, self.generator)
        canvas = sensor(canvas, self.generator, config.noise)
        canvas = compress(canvas, config.jpeg, self.generator)
        return SceneBatch(canvas.clamp(0.0, 1.0), targets)

    def _number(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=self.generator, device=self.generator.device))

    def _populate(self, image: Tensor) -> dict[str, Tensor]:
        """Paint objects into one image (3, H, W) and return their boxes, labels and masks."""
        focal = float(uniform(*self.config.focal_px, (1,), self.generator))
        layout = self._arrange(self._choose(), focal)
        if layout.table is not None:
            lay_table(image, layout.table, self.backgrounds, self.generator)
        view = layout.view
        patches = self._patches(view, layout.roll)
        # An object's distance shows in how much its stored view is scaled.
        scale = focal / layout.distance * self.bank.camera_from_object[view, 2, 3] / self.bank.focal_px[view]
        sides = (self.bank.size * scale).round().clamp(min=8).int().tolist()
        shadow = Shadow.random(self.config.shadows, self.generator)
        labels: list[int] = []
        full: list[int] = []  # pixels of the whole objects
        boxes: list[Tensor] = []
        visible: list[Tensor] = []
        for number in torch.argsort(layout.distance, descending=True).tolist():  # far objects first
            painted = paint_view(image, patches[number], layout.centre[number], sides[number], shadow)
            if painted is None:
                continue
            solid = painted.coverage > 0.5
            for mask in visible:
                mask[painted.rows, painted.columns] &= ~solid
            index = int(self.bank.object_index[view[number]])
            if self.config.classes == "one":
                index = 0
            elif index >= self.bank.known:
                continue
            mask = torch.zeros(image.shape[1:], dtype=torch.bool, device=image.device)
            mask[painted.rows, painted.columns] = solid
            labels.append(index + 1)
            boxes.append(painted.box)
            visible.append(mask)
            full.append(int(solid.sum()))
        return self._targets(labels, boxes, visible, full, image)

    def _choose(self) -> Tensor:
        config = self.config
        known = self._draw(self._known_odds, self._number(*config.objects))
        return torch.cat([known, self._draw(self._clutter_odds, self._number(*config.clutter))])

    def _draw(self, odds: Tensor, count: int) -> Tensor:
        """Draw views with these odds; none where there are none."""
        if count == 0 or not bool((odds > 0).any()):
            return torch.zeros(0, dtype=torch.int64, device=odds.device)
        return torch.multinomial(odds, count, True, generator=self.generator)

    def _arrange(self, view: Tensor, focal_px: float) -> Layout:
        config, size = self.config, (self.config.width, self.config.height)
        if config.tables > 0.0 and float(uniform(0, 1, (1,), self.generator)) < config.tables:
            return self._tables.place(
                view, focal_px, size, config.distance_m, config.roll_deg, self._elevation, self.generator
            )
        crowded = float(uniform(0, 1, (1,), self.generator)) < config.crowded
        return scattered(view, size, config.distance_m, config.roll_deg, crowded, self.generator)

    def _patches(self, view: Tensor, roll: Tensor) -> Tensor:
        """Return lit and rolled views (n, 4, P, P), colour times coverage and coverage."""
        side = self.config.patch
        half, ratio = (side - 1) / 2.0, self.bank.size / side
        transform = torch.zeros(len(view), 3, 3, device=view.device)
        transform[:, 0, 0] = transform[:, 1, 1] = roll.cos() * ratio
        transform[:, 0, 1], transform[:, 1, 0] = roll.sin() * ratio, -roll.sin() * ratio
        turned = transform[:, :2, :2] @ torch.full((2,), half, device=view.device)
        transform[:, :2, 2] = (self.bank.size - 1) / 2.0 - turned
        transform[:, 2, 2] = 1.0
        grid = warp_grid(transform, torch.arange(side, device=view.device, dtype=torch.float32), self.bank.size)
        patches = shaded_views(self.bank, view, grid, self.generator)
        foreign = self.bank.object_index[view] >= self.bank.known
        tint = uniform(0.2, 1.6, (len(view), 3, 1, 1), self.generator)
        tint[~foreign] = 1.0
        patches[:, :3] *= tint
        if self.config.printed > 0.0:
            printed = (foreign & (uniform(0.0, 1.0, (len(view),), self.generator) < self.config.printed)).nonzero()[
                :, 0
            ]
            prints = [picture_window(self.backgrounds, side, self.generator, zoom=(0.05, 0.6)) for _ in printed]
            light = patches[printed, :3].mean(dim=1, keepdim=True) * 2.0
            if prints:
                patches[printed, :3] = light * torch.stack(prints)
        patches[:, :3] = torch.minimum(patches[:, :3], patches[:, 3:])
        return patches

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
