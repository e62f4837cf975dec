"""Pairs of crops: photographs with annotated poses, and renderings at the same poses in the same crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from pose_estimation_ros.data.augmentation import color_jitter, low_resolution, uneven_light, uniform
from pose_estimation_ros.data.bop import BopDataset, BopImage, GroundTruth
from pose_estimation_ros.data.comparison import warped
from pose_estimation_ros.data.layers import random_backgrounds
from pose_estimation_ros.data.synthetic import STRIDE, CropBatch, CropConfig
from pose_estimation_ros.geometry.camera import project_points, resize_intrinsics
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.object_tensors import object_sizes
from pose_estimation_ros.objects.outline import outline_points
from pose_estimation_ros.rendering.raycaster import RayCaster, Renders
from pose_estimation_ros.rendering.shading import random_lighting, shade

_OVERSAMPLING = 2  # rays a side of a pixel, so that edges are smooth
_RIM_PX = 3  # of the surroundings that stay beside the object where they are made grey
_GREY = 0.5


class PhotoConfig(BaseModel):
    """How crops are cut out of photographs."""

    model_config = ConfigDict(extra="forbid")

    min_visibility: float = Field(default=0.3, ge=0.0, le=1.0)  # instances of which less is seen are left out
    roll_deg: float = Field(default=15.0, ge=0.0, le=180.0)  # largest turn of the photograph
    color_jitter: bool = True  # change the colours of both as those of free renderings are changed


@dataclass(frozen=True)
class PhotoPairs:
    """B crops of photographs and B renderings, with the same ground truth."""

    real: CropBatch
    rendered: CropBatch

    def __len__(self) -> int:
        return len(self.real)


@dataclass(frozen=True)
class _Instance:
    """One annotated object of one photograph."""

    photo: int
    object_index: int
    truth: GroundTruth
    others: tuple[tuple[int, np.ndarray], ...]  # annotated objects that may stand before it: index and pose


@dataclass(frozen=True)
class _Place:
    """Where a crop is cut out."""

    camera: Tensor  # (3, 3) intrinsics of the crop
    turn: Tensor  # (4, 4) from the photograph's camera to the crop's
    image_from_crop: Tensor  # (3, 3) homography


class PhotoPairSource:
    """Cuts annotated objects out of photographs and renders them.

    Args:
        dataset: the photographs, in BOP layout.
        catalog: objects of the network, in its order; objects that it does not know are left out.
        meshes: of these objects.
        backgrounds: pictures behind the renderings, uint8 (P, 3, H, W).
        config: how crops are cut.
        crops: padding, jitters and faults of the camera that free renderings have; pairs have the same.

    Attributes:
        instances: number of annotated objects that are used.

    Raises:
        ValueError: if no known object is visible enough in any photograph.
    """

    def __init__(
        self,
        dataset: BopDataset,
        catalog: Catalog,
        meshes: Sequence[Mesh],
        backgrounds: Tensor,
        config: PhotoConfig,
        crops: CropConfig,
    ) -> None:
        self.config, self.crops, self.backgrounds = config, crops, backgrounds.cpu()
        self._found = _instances(dataset.images, catalog, config.min_visibility)
        if not self._found:
            raise ValueError(
                f"{dataset.root}: none of {', '.join(model.name for model in catalog)} is annotated and at least "
                f"{config.min_visibility:.0%} visible in {len(dataset.images)} images; expected such photographs"
            )
        self.instances = len(self._found)
        self.dataset = dataset
        self._photos = {item.photo: dataset.read_rgb(dataset.images[item.photo]) for item in self._found}
        self._cameras = [torch.from_numpy(image.camera.intrinsics).float() for image in dataset.images]
        self._caster = RayCaster(list(meshes))
        self._outline = torch.from_numpy(np.stack([outline_points(mesh.vertices) for mesh in meshes])).float()
        self._centre, self._half, _ = object_sizes(catalog)
        counts = torch.bincount(torch.tensor([item.object_index for item in self._found]), minlength=len(catalog))
        self._odds = torch.tensor([1.0 / float(counts[item.object_index]) for item in self._found])

    def pairs(self, count: int, size: int, seed: int) -> PhotoPairs:
        """Make pairs; every object is drawn as often as any other, same seed, same pairs.

        Args:
            count: how many.
            size: side of the crops, pixels.
            seed: of what is drawn.
        """
        generator = torch.Generator().manual_seed(seed)
        chosen = [
            self._found[number]
            for number in torch.multinomial(self._odds, count, replacement=True, generator=generator).tolist()
        ]
        places = [self._place(item, size, generator) for item in chosen]
        camera = torch.stack([place.camera for place in places])
        poses = torch.stack([place.turn @ _pose(item.truth) for place, item in zip(places, chosen, strict=True)])
        index = torch.tensor([item.object_index for item in chosen])
        layers, visible = self._render(chosen, places, index, poses, camera, size, generator)
        visible = visible * self._real_masks(chosen, places, size)
        real = torch.cat([self._cut(item, place, size) for item, place in zip(chosen, places, strict=True)])
        background = random_backgrounds(self.backgrounds, count, size, size, generator)
        rendered = layers[:, :3] + background * (1.0 - layers[:, 3:])
        if self.config.color_jitter:
            real = color_jitter(real, generator).clamp(0.0, 1.0)
            rendered = color_jitter(uneven_light(rendered, generator).clamp(0.0, 1.0), generator)
        rendered = low_resolution(rendered, generator, self.crops.image_side_px, self.crops.noise)
        grey = uniform(0.0, 1.0, (count, 1, 1, 1), generator) < self.crops.masked_share
        keep = F.max_pool2d(visible, 2 * _RIM_PX + 1, 1, _RIM_PX).masked_fill(~grey, 1.0)
        truth = self._truth(index, poses, camera, visible, size)
        return PhotoPairs(
            *(CropBatch(_bytes(images * keep + _GREY * (1.0 - keep)), *truth) for images in (real, rendered))
        )

    def _place(self, item: _Instance, size: int, generator: torch.Generator) -> _Place:
        """Choose turn, scale and shift of a crop about an object."""
        intrinsics = self._cameras[item.photo]
        angle = torch.deg2rad(uniform(-1.0, 1.0, (), generator) * self.config.roll_deg)
        turn = torch.eye(4)
        turn[0, 0] = turn[1, 1] = angle.cos()
        turn[0, 1], turn[1, 0] = -angle.sin(), angle.sin()
        outline, pose = self._outline[item.object_index], turn @ _pose(item.truth)
        pixels = project_points(outline[None], pose[None], intrinsics[None])[0]
        low, high = pixels.amin(dim=0), pixels.amax(dim=0)
        longer = (high - low).max()
        shift_jitter = self.crops.shift_jitter
        noise = torch.randn((), generator=generator).clamp(-2.0, 2.0)
        side = self.crops.padding * torch.exp(self.crops.scale_jitter * noise) * longer
        centre = (low + high) / 2.0 + longer * uniform(-shift_jitter, shift_jitter, (2,), generator)
        camera = intrinsics.clone()
        camera[:2, 2] -= centre
        camera[:2] *= size / side
        camera[:2, 2] += (size - 1) / 2.0
        return _Place(camera, turn, intrinsics @ turn[:3, :3].T @ torch.linalg.inv(camera))

    def _cut(self, item: _Instance, place: _Place, size: int) -> Tensor:
        image = torch.from_numpy(self._photos[item.photo]).permute(2, 0, 1).float() / 255.0
        return warped(image, place.image_from_crop[None], size)

    def _real_masks(self, chosen: Sequence[_Instance], places: Sequence[_Place], size: int) -> Tensor:
        """Return what is seen of the objects according to the data set's masks (B, 1, S, S), 1 where it has none."""
        masks = torch.ones(len(chosen), 1, size, size)
        for number, (item, place) in enumerate(zip(chosen, places, strict=True)):
            mask = self.dataset.read_mask(item.truth)
            if mask is not None:
                seen = torch.from_numpy(mask)[None].float()
                masks[number] = (warped(seen, place.image_from_crop[None], size)[0] > 0.5).float()
        return masks

    def _render(
        self,
        chosen: Sequence[_Instance],
        places: Sequence[_Place],
        index: Tensor,
        poses: Tensor,
        camera: Tensor,
        size: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Render objects behind what stands before them.

        Returns:
            Colours times coverage, and coverage, of all objects (B, 4, S, S); the visible part of the object that is
            meant (B, 1, S, S).
        """
        fine = _OVERSAMPLING * size
        large = _resized(camera, _OVERSAMPLING)
        owners = [number for number, item in enumerate(chosen) for _ in item.others]
        other_index = torch.tensor([other for item in chosen for other, _ in item.others], dtype=torch.int64)
        other_poses = [
            place.turn @ torch.from_numpy(pose).float()
            for place, item in zip(places, chosen, strict=True)
            for _, pose in item.others
        ]
        everything = torch.cat([poses, torch.stack(other_poses)]) if other_poses else poses
        rows = torch.tensor([*range(len(chosen)), *owners])
        renders = self._caster.render(torch.cat([index, other_index]), everything, large[rows], fine, fine)
        colors = _lit(renders, generator)
        layers = torch.cat([colors[: len(chosen)], renders.mask[: len(chosen), None].float()], dim=1)
        visible = renders.mask[: len(chosen), None].float()
        nearest = torch.where(renders.mask[: len(chosen)], renders.depth[: len(chosen)], torch.inf)
        for number, owner in enumerate(owners, len(chosen)):
            nearer = renders.mask[number] & (renders.depth[number] < nearest[owner])
            layers[owner, :3] = torch.where(nearer, colors[number], layers[owner, :3])
            layers[owner, 3] = torch.where(nearer, 1.0, layers[owner, 3])
            visible[owner, 0] = torch.where(nearer, 0.0, visible[owner, 0])
            nearest[owner] = torch.where(nearer, renders.depth[number], nearest[owner])
        return F.avg_pool2d(layers, _OVERSAMPLING), F.avg_pool2d(visible, _OVERSAMPLING)

    def _truth(
        self, index: Tensor, poses: Tensor, camera: Tensor, visible: Tensor, size: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the fields of a `CropBatch` behind its images."""
        cells = size // STRIDE
        coarse = self._caster.render(index, poses, _resized(camera, 1.0 / STRIDE), cells, cells)
        centre, half = self._centre[index][:, :, None, None], self._half[index][:, :, None, None].clamp(min=1e-6)
        full = coarse.mask
        coordinates = (coarse.coordinates - centre) / half * full[:, None]
        seen = full & (F.avg_pool2d(visible, STRIDE)[:, 0] > 0.5)
        share = seen.sum(dim=(1, 2)) / full.sum(dim=(1, 2)).clamp(min=1)
        return coordinates, full, seen, index, index, camera, poses, share


def _instances(images: Sequence[BopImage], catalog: Catalog, min_visibility: float) -> list[_Instance]:
    found = []
    for number, image in enumerate(images):
        known = [(catalog.index_of_id(truth.object_id), truth) for truth in image.ground_truth]
        inside = [(index, truth) for index, truth in known if index is not None]
        for index, truth in inside:
            if truth.visibility < min_visibility:
                continue
            others = tuple((other, item.camera_from_object) for other, item in inside if item is not truth)
            found.append(_Instance(number, index, truth, others))
    return found


def _pose(truth: GroundTruth) -> Tensor:
    return torch.from_numpy(truth.camera_from_object).float()


def _lit(renders: Renders, generator: torch.Generator) -> Tensor:
    """Light renderings; colours (B, 3, H, W), black where nothing is."""
    mask = renders.mask[:, None].float()
    lighting = random_lighting(len(mask), generator, mask.device)
    return shade(renders.colors, torch.ones_like(mask), renders.normals, lighting).clamp(0.0, 1.0) * mask


def _resized(camera: Tensor, factor: float) -> Tensor:
    """Return the intrinsics (B, 3, 3) of images that are resized by a factor."""
    return torch.from_numpy(resize_intrinsics(np.eye(3), factor, factor)).float() @ camera


def _bytes(images: Tensor) -> Tensor:
    return (images * 255.0).round().clamp(0, 255).to(torch.uint8)
