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
from pose_estimation_ros.data.similar_views import LookAlikes, look_alikes
from pose_estimation_ros.data.synthetic import CropConfig, CropSource, Placement
from pose_estimation_ros.data.view_bank import ViewBank, sample_maps, warp_grid
from pose_estimation_ros.geometry.rotations import rotation_about_z
from pose_estimation_ros.geometry.virtual_camera import filling_intrinsics
from pose_estimation_ros.rendering.shading import headlight

MAX_RATIO = 1.25  # of their distances


class PairConfig(BaseModel):
    """The errors of the poses that are rendered; every pair draws how much of them it has."""

    model_config = ConfigDict(extra="forbid")

    neighbours: int = Field(default=24, ge=1)  # views near each view, itself among them, that its rendering may show
    # Share of pairs whose rendering shows the object from quite another side, where it looks much the same.
    wrong_share: float = Field(default=0.0, ge=0.0, lt=1.0)
    wrong_deg: float = Field(default=30.0, gt=0.0, lt=180.0)  # least angle between such views, symmetries counted
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
    wrong: Tensor  # (B,) bool, whether the rendering shows quite another side: no small update is to be learned
    mask_visible: Tensor  # (B, S / 4, S / 4) bool, cells of the image that show the object
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
        symmetries: rotations (O, N, 3, 3) of the objects after which they look the same, the identity among them;
            needed where pairs may be wrong.
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
        symmetries: Tensor | None = None,
    ) -> None:
        super().__init__(bank, backgrounds, config, seed, weights)
        self.pairs = pairs
        self.centre, self.half, self.diameter = geometry
        self._near = near_views(bank, pairs.neighbours)
        self._alike: LookAlikes | None = None
        if pairs.wrong_share > 0.0:
            if symmetries is None:
                raise ValueError("PairSource: wrong_share needs symmetries")
            self._alike = look_alikes(bank, symmetries, pairs.wrong_deg)

    def pair_batch(self, count: int) -> PairBatch:
        """Make the next `count` pairs."""
        config, size = self.pairs, self.config.size
        shown = self._draw(self._target_odds, count)
        amount = self._uniform(config.min_error_ratio, config.max_error_ratio, count)
        place = (self._near.shape[1] * amount * self._uniform(0.0, 1.0, count)).long()
        wrong, alike, alike_roll = self._look_alikes(shown)
        other = torch.where(wrong, alike, self._near[shown, place])
        index = self.bank.object_index[shown]
        roll = torch.deg2rad(self._uniform(*self.config.roll_deg, count))
        rendered_turn = rotation_about_z(roll)
        rendered_rotation = rendered_turn @ self.bank.camera_from_object[other, :3, :3]
        camera = self._filling(other, rendered_turn)
        aligned = best_roll(rendered_rotation, self.bank.camera_from_object[shown, :3, :3])
        aligned = torch.where(wrong, roll - alike_roll, aligned)
        shown_turn = rotation_about_z(aligned + amount * math.radians(config.roll_deg) * self._normal(count))
        shift = amount[:, None] * config.shift * self._normal(count, 2)
        log_distance = amount * config.log_distance * self._normal(count)
        distances = [self._distance(view) for view in (shown, other)]
        shown_camera = self._shown_camera(camera, distances[0] / distances[1], shift, log_distance)
        if self._alike is not None:  # placed by its own outline, as a search places it
            own = torch.ones_like(log_distance)
            filling = self._shown_camera(self._filling(shown, shown_turn), own, shift, log_distance)
            shown_camera = torch.where(wrong[:, None, None], filling, shown_camera)
            shift = (shown_camera[:, :2, 2] - camera[:, :2, 2]) / size
            log_distance = (distances[0] / distances[1] * camera[:, 0, 0] / shown_camera[:, 0, 0]).log()
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
            wrong=wrong,
            mask_visible=crops.mask_visible,
            seen_from=distances[0] / self.diameter[index],
        )

    def _look_alikes(self, shown: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Draw which pairs (B,) are wrong, and what their renderings show: a view, rolled by so many radians."""
        if self._alike is None:
            return torch.zeros_like(shown, dtype=torch.bool), shown, torch.zeros(len(shown), device=shown.device)
        count, choices = self._alike.view.shape[1], self._uniform(0.0, 1.0, len(shown), 2)
        pick = (choices[:, 0] * count).long().clamp(max=count - 1)
        view, roll = self._alike.view[shown, pick], self._alike.roll[shown, pick]
        return (choices[:, 1] < self.pairs.wrong_share) & (view >= 0), view.clamp(min=0), roll

    def _shown_camera(self, camera: Tensor, nearness: Tensor, shift: Tensor, log_distance: Tensor) -> Tensor:
        """Return cameras (B, 3, 3) of images, from those of renderings and by how much the poses are off."""
        moved, zoom = camera.clone(), nearness * torch.exp(-log_distance)
        moved[:, 0, 0] *= zoom
        moved[:, 1, 1] *= zoom
        moved[:, :2, 2] += shift * self.config.size
        return moved

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


def near_views(bank: ViewBank, neighbours: int = 24) -> Tensor:
    """Return views (V, neighbours) of the same object from the nearest directions and like distances.

    The first is the view itself, which also fills up where there are not enough. Clutter has itself only.
    """
    views = len(bank.object_index)
    near = torch.arange(views, device=bank.surface.device)[:, None].repeat(1, neighbours)
    for index in range(bank.known):
        rows = torch.nonzero(bank.object_index == index)[:, 0]
        poses = bank.camera_from_object[rows]
        sight = poses[:, 2, :3]  # the line of sight in the object's frame
        depth = poses[:, 2, 3].clamp(min=1e-3).log()
        cosine = sight @ sight.T
        cosine[(depth[:, None] - depth[None]).abs() > math.log(MAX_RATIO)] = -2.0
        count = min(neighbours, len(rows))
        best = cosine.topk(count, dim=1)
        near[rows, :count] = torch.where(best.values > -1.5, rows[best.indices], rows[:, None])
    return near


def best_roll(target: Tensor, rotation: Tensor) -> Tensor:
    """Return the angles about z (B,) that bring rotations (B, 3, 3) as near as they can to others."""
    between = target @ rotation.transpose(1, 2)
    return torch.atan2(between[:, 1, 0] - between[:, 0, 1], between[:, 0, 0] + between[:, 1, 1])
