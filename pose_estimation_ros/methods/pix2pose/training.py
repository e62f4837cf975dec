"""Recipe of the dense coordinate network: CAD meshes in, weights out, no real image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from pose_estimation_ros.data.synthetic import CropBatch
from pose_estimation_ros.geometry.transfer import to_device
from pose_estimation_ros.methods.pix2pose.losses import (
    coordinate_losses,
    nearest_symmetric_target,
    placement_loss,
    symmetry_table,
)
from pose_estimation_ros.methods.pix2pose.network import Pix2PoseNet
from pose_estimation_ros.methods.pix2pose.projection import ProjectionConfig, projection_loss
from pose_estimation_ros.networks.placement import placement_of
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.training.adaptation import Adaptation
from pose_estimation_ros.training.crop_source import build_network
from pose_estimation_ros.training.crop_training import CropRecipe, CropTraining
from pose_estimation_ros.training.trainer import TrainingRun
from pose_estimation_ros.training.trial import TINY, Trial

ROLE = "pix2pose"


class Stage(BaseModel):
    """A part of the training at one crop size."""

    model_config = ConfigDict(extra="forbid")

    size: int
    samples: int
    projection: bool = True  # whether it learns through PnP, if the recipe's projection has a weight


class LossWeights(BaseModel):
    """Weights of the loss terms."""

    model_config = ConfigDict(extra="forbid")

    bins: float = 1.0
    l1: float = 2.0
    error: float = 1.0
    mask: float = 1.0
    classes: float = 0.1
    placement: float = 0.1


class Pix2PoseRecipe(CropRecipe):
    """Everything that decides what the training does."""

    stages: list[Stage] = Field(
        default=[Stage(size=64, samples=250_000), Stage(size=96, samples=300_000), Stage(size=128, samples=100_000)]
    )
    losses: LossWeights = LossWeights()
    projection: ProjectionConfig = ProjectionConfig()  # end-to-end training through PnP, docs/bpnp.md


class Pix2PoseStep:
    """The loss of one batch."""

    def __init__(self, bundle: Bundle, recipe: Pix2PoseRecipe, device: torch.device) -> None:
        self.table = symmetry_table(bundle.catalog, device)
        self.weights = recipe.losses.model_dump()
        self.projection = recipe.projection
        self.half_size = torch.tensor(np.stack([model.half_size_m for model in bundle.catalog])).float().to(device)
        self.centre = torch.tensor(np.stack([model.centre_m for model in bundle.catalog])).float().to(device)
        self.diameter = torch.tensor([model.diameter_m for model in bundle.catalog]).float().to(device)
        self.bf16 = recipe.optimiser.bf16
        self.device = device

    def __call__(self, network: nn.Module, batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss and its parts."""
        return self.loss(network, self.features(network, batch), batch)

    def features(self, network: nn.Module, batch: CropBatch) -> list[Tensor]:
        """Return what a mapping would map."""
        assert isinstance(network, Pix2PoseNet)
        images = to_device(batch.images, self.device).float().div_(255.0)
        with autocast(self.device, self.bf16):
            return network.encoder(images.to(memory_format=torch.channels_last))

    def loss(
        self, network: nn.Module, features: Sequence[Tensor], batch: CropBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss of what is read from features, and its parts."""
        assert isinstance(network, Pix2PoseNet)
        index = to_device(batch.object_index, self.device)
        with autocast(self.device, self.bf16):
            maps = network.decode(list(features), index)
        full, visible = to_device(batch.mask_full, self.device), to_device(batch.mask_visible, self.device)
        target = nearest_symmetric_target(
            maps.coordinates, to_device(batch.coordinates, self.device), full, index, self.table
        )
        losses = coordinate_losses(maps, target, full, visible)
        losses["classes"] = nn.functional.cross_entropy(network.classify(list(features)), index)
        if maps.placement is not None:
            losses["placement"] = placement_loss(maps.placement, self.placement(batch, index))
        total = sum(self.weights[key] * value for key, value in losses.items())
        if self.projection.weight > 0.0:
            camera, box = to_device(batch.camera, self.device), (self.half_size[index], self.centre[index])
            through, parts = projection_loss(maps, target, visible, camera, *box, self.projection)
            total = total + through
            losses |= parts
        return total, {key: value.detach() for key, value in losses.items()}

    def placement(self, batch: CropBatch, index: Tensor) -> Tensor:
        """Return where the centres of the objects (B,) are and how large they appear, shape (B, 3)."""
        pose = to_device(batch.camera_from_object, self.device)
        centre = torch.einsum("bij,bj->bi", pose[:, :3, :3], self.centre[index]) + pose[:, :3, 3]
        return placement_of(centre, to_device(batch.camera, self.device), self.diameter[index], batch.images.shape[-1])


def train_pix2pose(run: TrainingRun, recipe: Pix2PoseRecipe) -> Bundle:
    """Train the network and write its weights into the bundle."""
    training = CropTraining(run, recipe, ROLE)
    network = build_network(Pix2PoseNet, len(run.bundle.catalog), **recipe.network)
    training.load_start(network)
    trainer = training.trainer(network, sum(stage.samples for stage in recipe.stages))
    finished, until = True, 0
    for stage in recipe.stages:
        until += stage.samples
        if trainer.samples >= until:
            continue
        batches = training.batches(trainer, stage.size)
        projection = recipe.projection if stage.projection else ProjectionConfig()
        step = Pix2PoseStep(run.bundle, recipe.model_copy(update={"projection": projection}), training.device)
        finished = trainer.train(batches, step, until, f"{ROLE} {stage.size} px")
        if not finished:
            break
    return training.save(trainer, recipe.network, size_reached(recipe, trainer.samples), finished)


def size_reached(recipe: Pix2PoseRecipe, samples: int) -> int:
    """Return the crop side of the stage that saw the last of so many samples: what the weights are good for."""
    until = 0
    for stage in recipe.stages:
        until += stage.samples
        if samples <= until:
            return stage.size
    return recipe.stages[-1].size


ADAPTATION = Adaptation(
    ROLE, Pix2PoseNet, lambda training, recipe, network: Pix2PoseStep(training.run.bundle, recipe, training.device)
)
TRIAL = Trial(
    {
        **TINY,
        "stages": [{"size": 32, "samples": 64}],
        "network": {"widths": [16, 16, 16, 16], "blocks": [1, 1, 1, 1], "decoder": [16, 16, 16], "bins": 4},
    },
    settings={"mask_threshold": 0.0, "inlier_error": 1.0, "ransac_threshold_ratio": 1.0},
)
