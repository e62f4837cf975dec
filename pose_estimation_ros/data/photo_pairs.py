"""Pairs of crops: photographs with annotated poses, and renderings at the same poses in the same crops."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.augmentation import uniform
from pose_estimation_ros.data.photo_cuts import Instance, PhotoCuts, Photographs, Place, resized_camera
from pose_estimation_ros.data.synthetic import STRIDE, CropBatch
from pose_estimation_ros.geometry.camera import project_points
from pose_estimation_ros.objects.outline import outlines

Batch = TypeVar("Batch", bound=Sized)


@dataclass(frozen=True)
class PhotoPairs(Generic[Batch]):
    """A batch of photographs and one of renderings, with the same ground truth."""

    real: Batch
    rendered: Batch

    def __len__(self) -> int:
        return len(self.real)


class PhotoPairSource:
    """Makes pairs of crops as free renderings have them, turned, shifted and scaled about the objects.

    Args:
        photographs: that they are cut out of.
    """

    def __init__(self, photographs: Photographs) -> None:
        self.photographs = photographs
        self._outline = outlines(photographs.meshes)

    def pairs(self, count: int, size: int, seed: int) -> PhotoPairs[CropBatch]:
        """Make pairs; every object is drawn as often as any other, same seed, same pairs.

        Args:
            count: how many.
            size: side of the crops, pixels.
            seed: of what is drawn.
        """
        generator = torch.Generator().manual_seed(seed)
        chosen = self.photographs.choose(count, generator)
        cuts = self.photographs.cut(chosen, [self._place(item, size, generator) for item in chosen], size, generator)
        truth = self._truth(cuts, size)
        return PhotoPairs(CropBatch(cuts.real, *truth), CropBatch(cuts.rendered, *truth))

    def _place(self, item: Instance, size: int, generator: torch.Generator) -> Place:
        """Choose turn, scale and shift of a crop about an object."""
        photographs = self.photographs
        turn, intrinsics, crops = photographs.roll(generator), photographs.cameras[item.photo], photographs.crops
        outline, pose = self._outline[item.object_index], turn @ item.pose
        pixels = project_points(outline[None], pose[None], intrinsics[None])[0]
        low, high = pixels.amin(dim=0), pixels.amax(dim=0)
        longer = (high - low).max()
        noise = torch.randn((), generator=generator).clamp(-2.0, 2.0)
        side = crops.padding * torch.exp(crops.scale_jitter * noise) * longer
        centre = (low + high) / 2.0 + longer * uniform(-crops.shift_jitter, crops.shift_jitter, (2,), generator)
        camera = intrinsics.clone()
        camera[:2, 2] -= centre
        camera[:2] *= size / side
        camera[:2, 2] += (size - 1) / 2.0
        return photographs.place(item, camera, turn)

    def _truth(
        self, cuts: PhotoCuts, size: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the fields of a `CropBatch` behind its images."""
        cells, index, shapes = size // STRIDE, cuts.index, self.photographs
        coarse = shapes.caster.render(index, cuts.poses, resized_camera(cuts.camera, 1.0 / STRIDE), cells, cells)
        centre, half = shapes.centre[index][:, :, None, None], shapes.half[index][:, :, None, None].clamp(min=1e-6)
        full = coarse.mask
        coordinates = (coarse.coordinates - centre) / half * full[:, None]
        seen = full & (F.avg_pool2d(cuts.visible, STRIDE)[:, 0] > 0.5)
        share = seen.sum(dim=(1, 2)) / full.sum(dim=(1, 2)).clamp(min=1)
        return coordinates, full, seen, index, index, cuts.camera, cuts.poses, share
