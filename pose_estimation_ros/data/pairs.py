"""Training pairs for refinement: a composed image, and a rendering of a pose that is a little wrong.

Both are views of the bank. The rendering shows the object from a direction near that of the image, rolled, moved
and scaled by a random error, so no rays are cast while a network is trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from pose_estimation_ros.data.comparison import rendered_channels
from pose_estimation_ros.data.synthetic import CropConfig, CropSource, Placement
from pose_estimation_ros.data.view_bank import ViewBank, sample_maps, warp_grid
from pose_estimation_ros.geometry.virtual_camera import filling_intrinsics
from pose_estimation_ros.rendering.shading import headlight

NEIGHBOURS = 24  # views near each view that its rendering may show
MAX_RATIO = 1.25  # of their distances


class PairConfig(BaseModel):
    """The errors of the poses that are rendered; every pair draws how much of them it has."""

    model_config = ConfigDict(extra="forbid")

    padding: float = 1.3  # side of the image over the extent of the rendered object
    shift: float = 0.04  # deviation in the image, share of its side
    log_distance: float = 0.06  # deviation
    roll_deg: float = 7.0  # deviation of the rotation about the line of sight; the neighbours add the rest
    min_error_ratio: float = Field(default=0.1, ge=0.0, le=1.0)  # share of these errors that the easiest pairs have
    max_error_ratio: float = Field(default=1.0, ge=0.0, le=1.0)  # and the hardest
    color: float = (
        0.0  # deviation of the logarithms by which the rendering's colours are changed: no mesh has them right
    )


@dataclass(frozen=True)
class PairBatch:
    """B pairs and the update that turns the rendered pose into the true one; see `PoseUpdate`."""

    observed: Tensor  # (B, 3, S, S) uint8
    rendered: Tensor  # (B, RENDERED, S, S) float16: colour, points over radius, mask
    object_index: Tensor  # (B,) int64
    shift: Tensor  # (B, 2) share of the side
    log_distance: Tensor  # (B,)
    rendered_rotation: Tensor  # (B, 3, 3) looking camera from object
    true_rotation: Tensor  # (B, 3, 3)
    distance: Tensor  # (B,) diameters
    extent: Tensor  # (B,) diameters per side of the image, at the object's distance
    seen_from: Tensor  # (B,) distance from which the image was taken, zoomed to the size it should have; diameters

    def __len__(self) -> int:
        return len(self.observed)


class PairSource(CropSource):
    """Makes batches of pairs without end.

    Args:
        bank: ray-cast views.
        backgrounds: pictures, uint8 (P, 3, H, W), on the bank's device.
        config: how the images are made; its jitters are not used.
        pairs: how wrong the rendered poses are.
        geometry: centre (O, 3), half size (O, 3) and diameter (O,) of the objects, metres.
        seed: same seed, same batches.
        weights: how often each object is drawn, relative.
    """

    def __init__(
        self,
        bank: ViewBank,
        backgrounds: Tensor,
        config: CropConfig,
        pairs: PairConfig,
        geometry: tuple[Tensor, Tensor, Tensor],
        seed: int = 0,
        weights: Tensor | None = None,
    ) -> None:
        super().__init__(bank, backgrounds, config, seed, weights)
        self.pairs = pairs
        self.centre, self.half, self.diameter = geometry
        self._near = near_views(bank)

    def pair_batch(self, count: int) -> PairBatch:
        """Make the next `count` pairs."""
        config, size = self.pairs, self.config.size
        shown = self._draw(self._target_odds, count)
        amount = self._uniform(config.min_error_ratio, config.max_error_ratio, count)
        place = (self._near.shape[1] * amount * self._uniform(0.0, 1.0, count)).long()
        other = self._near[shown, place]
        index = self.bank.object_index[shown]
        roll = torch.deg2rad(self._uniform(*self.config.roll_deg, count))
        rendered_turn = _about_z(roll)
        rendered_rotation = rendered_turn @ self.bank.camera_from_object[other, :3, :3]
        camera = self._filling(other, rendered_turn)
        aligned = _best_roll(rendered_rotation, self.bank.camera_from_object[shown, :3, :3])
        shown_turn = _about_z(aligned + amount * math.radians(config.roll_deg) * self._normal(count))
        shift = amount[:, None] * config.shift * self._normal(count, 2)
        log_distance = amount * config.log_distance * self._normal(count)
        shown_camera = camera.clone()
        distances = [self._distance(view) for view in (shown, other)]
        zoom = distances[0] / distances[1] * torch.exp(-log_distance)
        shown_camera[:, 0, 0] *= zoom
        shown_camera[:, 1, 1] *= zoom
        shown_camera[:, :2, 2] += shift * size
        extra = self._draw(self._clutter_odds, max(1, int(self.config.clutter_share * count)))
        clutter = self._place(extra)
        placement = Placement(
            torch.cat([shown, extra]),
            torch.cat([shown_turn, clutter.turn]),
            torch.cat([shown_camera, clutter.camera]),
        )
        crops = self.composed(placement, count)
        return PairBatch(
            observed=crops.images,
            rendered=self._rendered(Placement(other, rendered_turn, camera), rendered_rotation),
            object_index=index,
            shift=shift,
            log_distance=log_distance,
            rendered_rotation=rendered_rotation,
            true_rotation=shown_turn @ self.bank.camera_from_object[shown, :3, :3],
            distance=distances[1] / self.diameter[index],
            extent=size / camera[:, 0, 0] * distances[1] / self.diameter[index],
            seen_from=distances[0] / self.diameter[index],
        )

    def _normal(self, *shape: int) -> Tensor:
        drawn = torch.randn(*shape, generator=self.generator, device=self.bank.surface.device)
        return drawn.clamp(-2.5, 2.5)

    def _distance(self, view: Tensor) -> Tensor:
        """Return the depth (B,) of the objects' centres, metres."""
        pose, centre = self.bank.camera_from_object[view], self.centre[self.bank.object_index[view]]
        return (pose[:, 2, :3] * centre).sum(dim=1) + pose[:, 2, 3]

    def _filling(self, view: Tensor, turn: Tensor) -> Tensor:
        pose = self.bank.camera_from_object[view]
        points = self.bank.outline[self.bank.mesh_index[view]]
        seen = points @ pose[:, :3, :3].transpose(1, 2) + pose[:, None, :3, 3]
        return filling_intrinsics(seen @ turn.transpose(1, 2), self.config.size, self.pairs.padding)

    def _rendered(self, place: Placement, rotation: Tensor) -> Tensor:
        """Return what the ray caster would show (B, RENDERED, S, S)."""
        bank = self.bank
        pixels = torch.arange(self.config.size, device=rotation.device, dtype=torch.float32)
        grid = warp_grid(place.source_from_target(bank), pixels, bank.size)
        surface = bank.surface[place.view].float() / 255.0
        mask = surface[:, 7:]
        lit = headlight(surface[:, :3], (surface[:, 6:7] - 128.0 / 255.0) * (255.0 / 127.0))
        lit = self._recolored(lit)
        sampled = sample_maps(torch.cat([lit * mask, bank.coordinates[place.view].float(), mask], dim=1), grid)
        return rendered_channels(sampled[:, :3], sampled[:, 3:6], sampled[:, 6:], rotation, *self._sizes(place.view))

    def _recolored(self, color: Tensor) -> Tensor:
        """Change brightness, tint, contrast and evenness of renderings (B, 3, S, S)."""
        deviation, count = self.pairs.color, len(color)
        if deviation == 0.0:
            return color
        uneven = F.interpolate(self._normal(count, 1, 4, 4), size=color.shape[-2:], mode="bilinear")
        change = self._normal(count, 1, 1, 1) + 0.7 * self._normal(count, 3, 1, 1) + uneven
        contrast = torch.exp(deviation * self._normal(count, 1, 1, 1))
        return (color.clamp(min=1e-4) ** contrast * torch.exp(deviation * change)).clamp(0.0, 1.0)

    def _sizes(self, view: Tensor) -> tuple[Tensor, Tensor]:
        index = self.bank.object_index[view]
        return self.half[index], self.diameter[index]


def near_views(bank: ViewBank) -> Tensor:
    """Return the NEIGHBOURS views (V, NEIGHBOURS) of the same object from the nearest directions and like distances.

    The first is the view itself, which also fills up where there are not enough. Clutter has itself only.
    """
    views = len(bank.object_index)
    near = torch.arange(views, device=bank.surface.device)[:, None].repeat(1, NEIGHBOURS)
    for index in range(bank.known):
        rows = torch.nonzero(bank.object_index == index)[:, 0]
        poses = bank.camera_from_object[rows]
        sight = poses[:, 2, :3]  # the line of sight in the object's frame
        depth = poses[:, 2, 3].clamp(min=1e-3).log()
        cosine = sight @ sight.T
        cosine[(depth[:, None] - depth[None]).abs() > math.log(MAX_RATIO)] = -2.0
        count = min(NEIGHBOURS, len(rows))
        best = cosine.topk(count, dim=1)
        near[rows, :count] = torch.where(best.values > -1.5, rows[best.indices], rows[:, None])
    return near


def _about_z(angle: Tensor) -> Tensor:
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = [angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero, zero, zero, one]
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def _best_roll(target: Tensor, rotation: Tensor) -> Tensor:
    """Return the angles about z (B,) that bring rotations (B, 3, 3) as near as they can to others."""
    between = target @ rotation.transpose(1, 2)
    return torch.atan2(between[:, 1, 0] - between[:, 0, 1], between[:, 0, 0] + between[:, 1, 1])
