"""Adaptation of the refiner: photographs and renderings at poses that are a little wrong, as it compares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from pose_estimation_ros.data.pairs import PairBatch
from pose_estimation_ros.data.photo_cuts import Photographs
from pose_estimation_ros.data.photo_pairs import PhotoPairs
from pose_estimation_ros.data.pose_errors import PoseErrors
from pose_estimation_ros.geometry.camera import transform_points
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.geometry.virtual_camera import update_between, updated_poses, virtual_cameras
from pose_estimation_ros.methods.attention.training import ROLE, AttentionRecipe, AttentionStep, pair_maker
from pose_estimation_ros.methods.render_compare import rendered_in, surface_outlines
from pose_estimation_ros.networks.attention_net import CELL, AttentionNet
from pose_estimation_ros.training.adaptation import Adaptation
from pose_estimation_ros.training.crop_training import CropTraining


class PhotoUpdateSource:
    """Makes pairs of a photograph and the rendering of a pose that is off, seen by the virtual camera of that pose.

    Args:
        photographs: that they are cut out of.
        errors: of the poses.
        padding: side of the images over the extent of the rendered object.
    """

    def __init__(self, photographs: Photographs, errors: PoseErrors, padding: float) -> None:
        self.photographs, self.errors, self.padding = photographs, errors, padding
        self._outline = surface_outlines(photographs.meshes)

    def pairs(self, count: int, size: int, seed: int) -> PhotoPairs[PairBatch]:
        """Make pairs; every object is drawn as often as any other, same seed, same pairs.

        The second batch has renderings at the true poses in place of the photographs.

        Args:
            count: how many.
            size: side of the images, pixels.
            seed: of what is drawn.
        """
        generator, photos = torch.Generator().manual_seed(seed), self.photographs
        chosen = photos.choose(count, generator)
        index = torch.tensor([item.object_index for item in chosen])
        rolls = torch.stack([photos.roll(generator) for _ in chosen])
        centre, outline, diameter = photos.centre[index], self._outline[index], photos.diameter[index]
        true = rolls @ torch.stack([item.pose for item in chosen])
        around = virtual_cameras(true, centre, outline, size, self.padding)
        start = updated_poses(true, centre, around, self.errors.draw(index, generator))
        cameras = virtual_cameras(start, centre, outline, size, self.padding)
        turns = rolls.clone()
        turns[:, :3, :3] = cameras.virtual_from_camera @ rolls[:, :3, :3]
        places = [photos.place(*item) for item in zip(chosen, cameras.intrinsics, turns, strict=True)]
        cuts = photos.cut(chosen, places, size, generator)
        update, seen = update_between(start, true, centre, cameras), cameras.poses(start)
        distance = transform_points(centre[:, None], seen)[:, 0, 2] / diameter
        real = PairBatch(
            observed=cuts.real,
            rendered=rendered_in(photos.caster, cameras, index, start, photos.centre, photos.diameter),
            object_index=index,
            shift=update.shift,
            log_distance=update.log_distance,
            rendered_rotation=seen[:, :3, :3],
            true_rotation=matrix_from_axis_angle(update.axis_angle) @ seen[:, :3, :3],
            distance=distance,
            extent=size / cameras.intrinsics[:, 0, 0] * distance,
            wrong=torch.zeros(count, dtype=torch.bool),
            mask_visible=F.avg_pool2d(cuts.visible, CELL)[:, 0] > 0.5,
            seen_from=distance * update.log_distance.exp(),
        )
        return PhotoPairs(real, replace(real, observed=cuts.rendered))


class UpdateSource:
    """The batches of an adaptation, of images as large as those that the network was trained on.

    Args:
        training: of the refiner.
        photographs: to adapt to.
        input_size: of the bundle, that of the last stages; like the training, this has the images of the first ones.
    """

    def __init__(self, training: CropTraining, photographs: Photographs, input_size: int) -> None:
        recipe = training.recipe
        assert isinstance(recipe, AttentionRecipe)
        self._training, self._recipe = training, recipe
        errors = PoseErrors(training.bank, recipe.pairs)
        self._photos = PhotoUpdateSource(photographs, errors, recipe.pairs.padding)

    def free(self, first: int) -> Iterator[PairBatch]:
        """Yield pairs of views without end, from batch number `first` on."""
        return self._training.stream_from(first, pair_maker(self._training, self._recipe))

    def pairs(self, count: int, seed: int) -> PhotoPairs[PairBatch]:
        """Make pairs with photographs."""
        return self._photos.pairs(count, self._recipe.size, seed)


def _network(objects: int, variant: str = "compact", **architecture: Any) -> AttentionNet:
    """Build the network of a bundle.

    Raises:
        ValueError: if it is that of the paper.
    """
    variant = architecture.pop("size", variant)
    if variant != "compact":
        raise ValueError(
            f"network {ROLE} is of variant {variant!r}, where no features of images and renderings are compared that "
            "could be mapped; expected variant 'compact'"
        )
    return AttentionNet(**architecture)


ADAPTATION = Adaptation(
    ROLE,
    _network,
    lambda training, recipe, network: AttentionStep(
        training.run.bundle.catalog, training.bank.outline, recipe, training.device
    ),
    source=UpdateSource,
)
