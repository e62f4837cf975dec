"""Training crops made online from a bank of views: object, occluders, background, light, sensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from pose_estimation_ros.data.augmentation import color_jitter, low_resolution, uneven_light, uniform
from pose_estimation_ros.data.layers import affine_grid, random_backgrounds, shaded_views
from pose_estimation_ros.data.view_bank import ViewBank, bank_intrinsics, sample_maps, warp_grid
from pose_estimation_ros.geometry.rotations import rotation_about_z

STRIDE = 4  # input pixels per target cell


class CropConfig(BaseModel):
    """How training crops are made."""

    model_config = ConfigDict(extra="forbid")

    size: int = 128  # side of a crop, pixels; recipes take their stages'
    roll_deg: tuple[float, float] = (-180.0, 180.0)  # in-plane rotation; recipes take the bundle's pose prior
    off_axis_deg: tuple[float, float] = (26.0, 20.0)  # largest angle of the object from the optical axis
    padding: float = 1.5  # crop side over box side
    scale_jitter: float = 0.15  # deviation of the logarithm of the crop's side
    shift_jitter: float = 0.08  # largest shift of the crop, in box sides
    image_side_px: tuple[float, float] = (45.0, 200.0)  # side of the crop in the image
    front_layers: int = 2  # most occluders
    back_layers: int = 3  # most distractors behind the object
    bar_share: float = 0.25  # samples that an edge or a bar of something else cuts off
    clutter_share: float = 0.25  # extra clutter views per target view
    min_visibility: float = 0.2  # samples more occluded than this lose their occluders
    masked_share: float = 0.2  # samples with background removed, as in the second stage of Pix2Pose
    noise: float = 0.05  # largest deviation of sensor noise
    painted: float = 0.0  # share of views with a random colour, for categories


@dataclass(frozen=True)
class CropBatch:
    """B training crops with their ground truth; S is the crop's side, s = S / STRIDE."""

    images: Tensor  # (B, 3, S, S) uint8
    coordinates: Tensor  # (B, 3, s, s) float32, [-1, 1] over the object's box, 0 outside the full mask
    mask_full: Tensor  # (B, s, s) bool, the object as if nothing occluded it
    mask_visible: Tensor  # (B, s, s) bool
    object_index: Tensor  # (B,) int64
    mesh_index: Tensor  # (B,) int64, which of the objects' meshes is shown
    camera: Tensor  # (B, 3, 3) float32 intrinsics of the crop
    camera_from_object: Tensor  # (B, 4, 4) float32, metres
    visibility: Tensor  # (B,) visible share of the object's pixels

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Placement:
    """Where N views go: the cameras that see them."""

    view: Tensor  # (N,) into the bank
    turn: Tensor  # (N, 3, 3) rotation from the stored camera to the new one
    camera: Tensor  # (N, 3, 3) intrinsics of the new image

    def source_from_target(self, bank: ViewBank) -> Tensor:
        """Return homographies (N, 3, 3) from new pixels to stored pixels."""
        stored = bank_intrinsics(bank.focal_px[self.view], bank.size)
        return stored @ self.turn.transpose(1, 2) @ torch.linalg.inv_ex(self.camera).inverse


class CropSource:
    """Makes batches of training crops without end.

    Args:
        bank: ray-cast views.
        backgrounds: pictures, uint8 (P, 3, H, W), on the bank's device.
        config: how crops are made.
        seed: same seed, same batches.
        weights: how often each object is drawn, relative; even where None.
    """

    def __init__(
        self,
        bank: ViewBank,
        backgrounds: Tensor,
        config: CropConfig,
        seed: int = 0,
        weights: Tensor | None = None,
    ) -> None:
        self.bank = bank
        self.backgrounds = backgrounds
        self.config = config
        device = bank.surface.device
        self.generator = torch.Generator(device=device).manual_seed(seed)
        share = torch.ones(bank.known) if weights is None else weights
        counts = torch.bincount(bank.object_index, minlength=int(bank.object_index.max()) + 1).to(device)
        per_view = (share.to(device) / counts[: bank.known])[bank.object_index.clamp(max=bank.known - 1)]
        known = bank.object_index < bank.known
        self._target_odds = torch.where(known, per_view, torch.zeros_like(per_view))
        self._clutter_odds = torch.where(known, 0.3 / known.sum(), 0.7 / (~known).sum().clamp(min=1))

    def batch(self, count: int) -> CropBatch:
        """Make the next `count` crops."""
        config = self.config
        extra = max(1, int(config.clutter_share * count))
        view = torch.cat([self._draw(self._target_odds, count), self._draw(self._clutter_odds, extra)])
        return self.composed(self._place(view), count)

    def composed(self, place: Placement, count: int) -> CropBatch:
        """Make crops of the first `count` views that were placed; the others are only clutter."""
        config, view = self.config, place.view
        homography = place.source_from_target(self.bank)
        device = homography.device
        pixels = torch.arange(config.size, device=device, dtype=torch.float32)
        grid = warp_grid(homography, pixels, self.bank.size)
        layers = shaded_views(self.bank, view, grid, self.generator, config.painted)
        images, alpha_visible = self._compose(layers, count)
        cells = (torch.arange(config.size // STRIDE, device=device) + 0.5) * STRIDE - 0.5
        coordinates, mask_full = self._coordinates(view[:count], homography[:count], cells)
        visible = F.avg_pool2d(alpha_visible, STRIDE)[:, 0] > 0.5
        mask_visible = mask_full & visible
        images = uneven_light(images, self.generator)
        images = color_jitter(images.clamp(0.0, 1.0), self.generator)
        images = low_resolution(images, self.generator, config.image_side_px, config.noise)
        if config.masked_share > 0.0:
            images = self._remove_background(images, alpha_visible)
        pose = self.bank.camera_from_object[view[:count]].clone()
        pose[:, :3] = place.turn[:count] @ pose[:, :3]
        return CropBatch(
            images=(images * 255.0).round().clamp(0, 255).to(torch.uint8),
            coordinates=coordinates,
            mask_full=mask_full,
            mask_visible=mask_visible,
            object_index=self.bank.object_index[view[:count]],
            mesh_index=self.bank.mesh_index[view[:count]],
            camera=place.camera[:count],
            camera_from_object=pose,
            visibility=mask_visible.sum(dim=(1, 2)) / mask_full.sum(dim=(1, 2)).clamp(min=1),
        )

    def _draw(self, odds: Tensor, count: int) -> Tensor:
        return torch.multinomial(odds, count, replacement=True, generator=self.generator)

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return uniform(low, high, shape, self.generator)

    def _place(self, view: Tensor) -> Placement:
        """Choose roll, direction, scale and shift of every view's new camera."""
        config, count = self.config, len(view)
        roll = torch.deg2rad(self._uniform(*config.roll_deg, count))
        yaw = torch.deg2rad(self._uniform(-config.off_axis_deg[0], config.off_axis_deg[0], count))
        pitch = torch.deg2rad(self._uniform(-config.off_axis_deg[1], config.off_axis_deg[1], count))
        turn = _turn(roll, yaw, pitch)
        low, high = self._box(view, turn)
        side = (high - low).amax(dim=1)
        noise = torch.randn(count, generator=self.generator, device=side.device)
        scale = config.padding * torch.exp(config.scale_jitter * noise.clamp(-2.0, 2.0))
        focal = config.size / (scale * side)
        centre = (low + high) / 2.0 + side[:, None] * self._uniform(-config.shift_jitter, config.shift_jitter, count, 2)
        camera = torch.zeros(count, 3, 3, device=side.device)
        camera[:, 0, 0] = camera[:, 1, 1] = focal
        camera[:, :2, 2] = (config.size - 1) / 2.0 - focal[:, None] * centre
        camera[:, 2, 2] = 1.0
        return Placement(view, turn, camera)

    def _box(self, view: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
        """Return the corners (N, 2), (N, 2) of the object's box in the plane at depth 1."""
        pose = self.bank.camera_from_object[view]
        points = self.bank.outline[self.bank.mesh_index[view]]
        in_camera = points @ pose[:, :3, :3].transpose(1, 2) + pose[:, None, :3, 3]
        turned = in_camera @ turn.transpose(1, 2)
        flat = turned[..., :2] / turned[..., 2:]
        return flat.amin(dim=1), flat.amax(dim=1)

    def _coordinates(self, view: Tensor, homography: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        grid = warp_grid(homography, cells, self.bank.size)
        mask = self.bank.surface[view, 7:].float() / 255.0
        maps = torch.cat([self.bank.coordinates[view].float(), mask], dim=1)
        sampled = sample_maps(maps, grid)
        full = sampled[:, 3] > 0.5
        coordinates = sampled[:, :3] / sampled[:, 3:].clamp(min=0.5)
        return coordinates * full[:, None], full

    def _background(self, count: int) -> Tensor:
        return random_backgrounds(self.backgrounds, count, self.config.size, self.config.size, self.generator)

    def _compose(self, layers: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Paint background, distractors, object and occluders; return colours and the object's visible coverage."""
        config = self.config
        canvas = self._background(count)
        for number in range(config.back_layers):
            chosen, layer = self._scattered(layers, count, number, 0.0, 0.75)
            canvas[chosen] = _over(layer, canvas[chosen])
        canvas = _over(layers[:count], canvas)
        visible = layers[:count, 3:].clone()
        clear = canvas.clone()
        for number in range(config.front_layers):
            chosen, layer = self._scattered(layers, count, number, 0.25, 0.65)
            canvas[chosen] = _over(layer, canvas[chosen])
            visible[chosen] *= 1.0 - layer[:, 3:]
        chosen = self._some(config.bar_share, count)
        patch = self._half_plane(len(chosen))
        canvas[chosen] = canvas[chosen] * (1.0 - patch) + patch * self._background(len(chosen))
        visible[chosen] *= 1.0 - patch
        share = visible.sum(dim=(1, 2, 3)) / layers[:count, 3:].sum(dim=(1, 2, 3)).clamp(min=1.0)
        keep = (share >= config.min_visibility)[:, None, None, None]
        return torch.where(keep, canvas, clear), torch.where(keep, visible, layers[:count, 3:])

    def _some(self, share: float, count: int) -> Tensor:
        """Return the numbers of a random share of the samples."""
        return torch.nonzero(self._uniform(0.0, 1.0, count) < share)[:, 0]

    def _scattered(
        self, layers: Tensor, count: int, number: int, nearest: float, farthest: float
    ) -> tuple[Tensor, Tensor]:
        """Return other views of the batch, each moved to a random place, and the samples that they are for.

        Later layers appear less often.
        """
        chosen = self._some(0.65 / (1.0 + 0.3 * number), count)
        count = len(chosen)
        pick = torch.randint(len(layers), (count,), generator=self.generator, device=layers.device)
        angle = self._uniform(0.0, 6.2832, count)
        radius = self._uniform(nearest, farthest, count) * 2.0
        scale = torch.exp(self._uniform(-0.5, 0.5, count))
        roll = torch.deg2rad(self._uniform(-30.0, 30.0, count))
        theta = torch.zeros(count, 2, 3, device=layers.device)
        theta[:, 0, 0] = theta[:, 1, 1] = torch.cos(roll) / scale
        theta[:, 0, 1], theta[:, 1, 0] = -torch.sin(roll) / scale, torch.sin(roll) / scale
        shift = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
        theta[:, :, 2] = -(theta[:, :, :2] @ shift[:, :, None])[:, :, 0]
        grid = affine_grid(theta, self.config.size, self.config.size)
        return chosen, sample_maps(layers[pick], grid)

    def _half_plane(self, count: int) -> Tensor:
        """Return the coverage (N, 1, S, S) of edges or bars that hide a part of crops."""
        angle = self._uniform(0.0, 6.2832, count, 1, 1)
        offset = self._uniform(0.15, 0.7, count, 1, 1)
        width = self._uniform(0.1, 1.5, count, 1, 1)
        line = torch.linspace(-1.0, 1.0, self.config.size, device=angle.device)
        along = line[None, None, :] * torch.cos(angle) + line[None, :, None] * torch.sin(angle) - offset
        steep = self.config.size / 3.0
        return (torch.sigmoid(along * steep) * torch.sigmoid((width - along) * steep))[:, None]

    def _remove_background(self, images: Tensor, visible: Tensor) -> Tensor:
        """Set what is not the object to grey in some crops, with a ragged edge, as the second stage sees them."""
        count, side = len(images), self.config.size
        rough = torch.randn(count, 1, side // 8, side // 8, generator=self.generator, device=images.device)
        rough = F.interpolate(rough, size=(side, side), mode="bilinear", align_corners=False)
        soft = F.avg_pool2d(F.pad(visible, (4, 4, 4, 4), mode="replicate"), 9, 1)
        keep = (soft + 0.25 * rough > 0.35).float()
        chosen = (self._uniform(0.0, 1.0, count, 1, 1, 1) < self.config.masked_share).float()
        keep = 1.0 - chosen * (1.0 - keep)
        return images * keep + 0.5 * (1.0 - keep)


def _over(layer: Tensor, canvas: Tensor) -> Tensor:
    return layer[:, :3] + canvas * (1.0 - layer[:, 3:])


def _turn(roll: Tensor, yaw: Tensor, pitch: Tensor) -> Tensor:
    """Return camera rotations (N, 3, 3): first the roll about the optical axis, then pitch and yaw."""
    zero, one = torch.zeros_like(roll), torch.ones_like(roll)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, dim=1).reshape(-1, 3, 3)

    about_x = matrix(one, zero, zero, zero, pitch.cos(), -pitch.sin(), zero, pitch.sin(), pitch.cos())
    about_y = matrix(yaw.cos(), zero, yaw.sin(), zero, one, zero, -yaw.sin(), zero, yaw.cos())
    return about_y @ about_x @ rotation_about_z(roll)
