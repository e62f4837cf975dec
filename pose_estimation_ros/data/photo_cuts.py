"""Annotated objects cut out of photographs, and rendered at the same poses in the same places."""

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
from pose_estimation_ros.data.synthetic import CropConfig
from pose_estimation_ros.geometry.camera import resize_intrinsics
from pose_estimation_ros.geometry.rotations import rotation_about_z
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.object_tensors import object_sizes
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
class Instance:
    """One annotated object of one photograph."""

    photo: int
    object_index: int
    truth: GroundTruth
    others: tuple[tuple[int, np.ndarray], ...]  # annotated objects that may stand before it: index and pose

    @property
    def pose(self) -> Tensor:
        """Its pose as the photograph's camera sees it (4, 4)."""
        return torch.from_numpy(self.truth.camera_from_object).float()


@dataclass(frozen=True)
class Place:
    """Where a photograph is cut."""

    camera: Tensor  # (3, 3) intrinsics of the crop
    turn: Tensor  # (4, 4) from the photograph's camera to the crop's
    image_from_crop: Tensor  # (3, 3) homography


@dataclass(frozen=True)
class PhotoCuts:
    """B crops of photographs, and renderings of the same."""

    real: Tensor  # (B, 3, S, S) uint8
    rendered: Tensor  # (B, 3, S, S) uint8
    visible: Tensor  # (B, 1, S, S) in [0, 1], what is seen of the object
    index: Tensor  # (B,) int64, objects
    camera: Tensor  # (B, 3, 3) intrinsics of the crops
    poses: Tensor  # (B, 4, 4) as these cameras see them


class Photographs:
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
        cameras: intrinsics (3, 3) of each photograph.
        caster: renders the objects, in the catalog's order.
        centre, half, diameter: of the objects, see `object_sizes`.

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
        self.config, self.crops, self.backgrounds, self.meshes = config, crops, backgrounds.cpu(), tuple(meshes)
        self._found = _instances(dataset.images, catalog, config.min_visibility)
        if not self._found:
            raise ValueError(
                f"{dataset.root}: none of {', '.join(model.name for model in catalog)} is annotated and at least "
                f"{config.min_visibility:.0%} visible in {len(dataset.images)} images; expected such photographs"
            )
        self.instances = len(self._found)
        self.dataset = dataset
        self._photos = {item.photo: dataset.read_rgb(dataset.images[item.photo]) for item in self._found}
        self.cameras = [torch.from_numpy(image.camera.intrinsics).float() for image in dataset.images]
        self.caster = RayCaster(list(meshes))
        self.centre, self.half, self.diameter = object_sizes(catalog)
        counts = torch.bincount(torch.tensor([item.object_index for item in self._found]), minlength=len(catalog))
        self._odds = torch.tensor([1.0 / float(counts[item.object_index]) for item in self._found])

    def choose(self, count: int, generator: torch.Generator) -> list[Instance]:
        """Draw annotated objects; every object of the catalog that is there as often as any other."""
        drawn = torch.multinomial(self._odds, count, replacement=True, generator=generator)
        return [self._found[number] for number in drawn.tolist()]

    def roll(self, generator: torch.Generator) -> Tensor:
        """Draw by how much the camera is turned about its axis (4, 4)."""
        angle = torch.deg2rad(uniform(-1.0, 1.0, (), generator) * self.config.roll_deg)
        turn = torch.eye(4)
        turn[:3, :3] = rotation_about_z(angle[None])[0]
        return turn

    def place(self, item: Instance, camera: Tensor, turn: Tensor) -> Place:
        """Return where a camera at the place of the photograph's, with other intrinsics and turned, looks."""
        return Place(camera, turn, self.cameras[item.photo] @ turn[:3, :3].T @ torch.linalg.inv(camera))

    def cut(
        self, chosen: Sequence[Instance], places: Sequence[Place], size: int, generator: torch.Generator
    ) -> PhotoCuts:
        """Cut objects out of their photographs, and render them with what stands before them, lit at random.

        Args:
            chosen: B objects.
            places: of their crops.
            size: side of the crops, pixels.
            generator: of light, background and faults of the camera.
        """
        count = len(chosen)
        camera = torch.stack([place.camera for place in places])
        poses = torch.stack([place.turn @ item.pose for place, item in zip(places, chosen, strict=True)])
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
        real, rendered = (_bytes(images * keep + _GREY * (1.0 - keep)) for images in (real, rendered))
        return PhotoCuts(real, rendered, visible, index, camera, poses)

    def _cut(self, item: Instance, place: Place, size: int) -> Tensor:
        image = torch.from_numpy(self._photos[item.photo]).permute(2, 0, 1).float() / 255.0
        return warped(image, place.image_from_crop[None], size)

    def _real_masks(self, chosen: Sequence[Instance], places: Sequence[Place], size: int) -> Tensor:
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
        chosen: Sequence[Instance],
        places: Sequence[Place],
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
        large = resized_camera(camera, _OVERSAMPLING)
        owners = [number for number, item in enumerate(chosen) for _ in item.others]
        other_index = torch.tensor([other for item in chosen for other, _ in item.others], dtype=torch.int64)
        other_poses = [
            place.turn @ torch.from_numpy(pose).float()
            for place, item in zip(places, chosen, strict=True)
            for _, pose in item.others
        ]
        everything = torch.cat([poses, torch.stack(other_poses)]) if other_poses else poses
        rows = torch.tensor([*range(len(chosen)), *owners])
        renders = self.caster.render(torch.cat([index, other_index]), everything, large[rows], fine, fine)
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


def _instances(images: Sequence[BopImage], catalog: Catalog, min_visibility: float) -> list[Instance]:
    found = []
    for number, image in enumerate(images):
        known = [(catalog.index_of_id(truth.object_id), truth) for truth in image.ground_truth]
        inside = [(index, truth) for index, truth in known if index is not None]
        for index, truth in inside:
            if truth.visibility < min_visibility:
                continue
            others = tuple((other, item.camera_from_object) for other, item in inside if item is not truth)
            found.append(Instance(number, index, truth, others))
    return found


def _lit(renders: Renders, generator: torch.Generator) -> Tensor:
    """Light renderings; colours (B, 3, H, W), black where nothing is."""
    mask = renders.mask[:, None].float()
    lighting = random_lighting(len(mask), generator, mask.device)
    return shade(renders.colors, torch.ones_like(mask), renders.normals, lighting).clamp(0.0, 1.0) * mask


def resized_camera(camera: Tensor, factor: float) -> Tensor:
    """Return the intrinsics (B, 3, 3) of images that are resized by a factor."""
    return torch.from_numpy(resize_intrinsics(np.eye(3), factor, factor)).float() @ camera


def _bytes(images: Tensor) -> Tensor:
    return (images * 255.0).round().clamp(0, 255).to(torch.uint8)
