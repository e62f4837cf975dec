"""The recipe of `toy`: CAD meshes in, weights out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose_estimation_ros.data.synthetic import CropBatch
from pose_estimation_ros.geometry.camera import transform_points
from pose_estimation_ros.networks.placement import placement_of
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.object_tensors import object_sizes
from pose_estimation_ros.training.crop_source import build_network
from pose_estimation_ros.training.crop_training import CropRecipe, CropTraining
from pose_estimation_ros.training.trainer import TrainingRun
from pose_estimation_ros.training.trial import TINY, Trial

from .network import ToyNet


class ToyRecipe(CropRecipe):
    """Everything that decides what the training does."""

    size: int = 64  # side of the crops, pixels
    samples: int = 50_000  # crops seen


class ToyStep:
    """The loss of one batch: how far centre and size are off."""

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self.centre_m, _, self.diameter_m = object_sizes(bundle.catalog, device)
        self.device = device

    def __call__(self, network: nn.Module, batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts."""
        images, index = batch.images.to(self.device).float() / 255.0, batch.object_index.to(self.device)
        pose, camera = batch.camera_from_object.to(self.device), batch.camera.to(self.device)
        centre = transform_points(self.centre_m[index][:, None], pose)[:, 0]
        target = placement_of(centre, camera, self.diameter_m[index], images.shape[-1])
        off = F.l1_loss(network(images, index), target)
        return off, {"off": off.detach()}


def train_toy(run: TrainingRun, recipe: ToyRecipe) -> Bundle:
    """Train the network and write its weights into the bundle."""
    training = CropTraining(run, recipe, "toy")
    network = build_network(ToyNet, len(run.bundle.catalog), **recipe.network)
    trainer = training.trainer(network, recipe.samples)
    batches = training.batches(trainer, recipe.size)
    finished = trainer.train(batches, ToyStep(run.bundle, training.device), recipe.samples, "toy")
    return training.save(trainer, recipe.network, recipe.size, finished)


TRIAL = Trial({**TINY, "size": 32, "samples": 64, "network": {"channels": 8}})
