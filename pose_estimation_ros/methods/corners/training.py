"""Recipe of the corner regression: CAD meshes in, weights out, no real image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from pose_estimation_ros.data.synthetic import CropBatch, CropConfig
from pose_estimation_ros.geometry.transfer import to_device
from pose_estimation_ros.methods.corners.losses import corner_losses, corner_targets
from pose_estimation_ros.methods.corners.network import CornersNet
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.control_points import box_corners
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.outline import outlines
from pose_estimation_ros.training.adaptation import Adaptation
from pose_estimation_ros.training.canonical_poses import CanonicalPoses
from pose_estimation_ros.training.crop_source import build_network, refuse_arguments
from pose_estimation_ros.training.crop_training import CropRecipe, CropTraining
from pose_estimation_ros.training.trainer import OptimiserConfig, TrainingRun
from pose_estimation_ros.training.trial import TINY, Trial

ROLE = "corners"


class CornersRecipe(CropRecipe):
    """Everything that decides what the training does."""

    size: int = Field(default=128, ge=32)  # side of the crops, pixels, a multiple of 32
    samples: int = Field(default=500_000, ge=1)  # crops seen
    l1: float = Field(default=2.0, ge=0.0)  # weight of the absolute error beside the likelihood
    encoder_from: str | None = "pix2pose"  # network of the bundle whose encoder it starts from
    optimiser: OptimiserConfig = OptimiserConfig(kind="muon", batch=48, learning_rate=1e-3)
    crops: CropConfig = CropConfig(masked_share=0.0)  # there is no second stage


class CornersStep:
    """The loss of one batch."""

    def __init__(self, bundle: Bundle, recipe: CornersRecipe, device: torch.device) -> None:
        self.canonical = CanonicalPoses(bundle.catalog, device, towards_object=True)
        self.corners = torch.from_numpy(np.stack([box_corners(model) for model in bundle.catalog])).float().to(device)
        self.recipe = recipe
        self.device = device

    def __call__(self, network: nn.Module, batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts."""
        return self.loss(network, self.features(network, batch), batch)

    def features(self, network: nn.Module, batch: CropBatch) -> list[Tensor]:
        """Return what a mapping would map."""
        assert isinstance(network, CornersNet)
        images = to_device(batch.images, self.device).float().div_(255.0)
        with autocast(self.device, self.recipe.optimiser.bf16):
            return [
                network.features(
                    images.to(memory_format=torch.channels_last), to_device(batch.object_index, self.device)
                )
            ]

    def loss(
        self, network: nn.Module, features: Sequence[Tensor], batch: CropBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of what is read from features, and its parts."""
        assert isinstance(network, CornersNet)
        with autocast(self.device, self.recipe.optimiser.bf16):
            predictions = network.read(features[0], to_device(batch.object_index, self.device))
        losses = corner_losses(predictions, self.targets(batch))
        total = losses["corners"] + self.recipe.l1 * losses["l1"]
        return total, {key: value.detach() for key, value in losses.items()}

    def targets(self, batch: CropBatch) -> Tensor:
        """Return where the corners are (B, 8, 2), see `corner_targets`; of poses that look the same one is chosen."""
        index = to_device(batch.object_index, self.device)
        poses = self.canonical(to_device(batch.camera_from_object, self.device), index)
        return corner_targets(poses, to_device(batch.camera, self.device), self.corners[index], batch.images.shape[-1])


def known_outlines(catalog: Catalog, meshes: Sequence[Mesh]) -> Tensor:
    """Return outline points of objects (O, OUTLINE_POINTS, 3), metres; zeros for categories, whose meshes differ."""
    is_category = torch.tensor([bool(model.instances) for model in catalog])
    return outlines(meshes).masked_fill(is_category[:, None, None], 0.0)


def train_corners(run: TrainingRun, recipe: CornersRecipe) -> Bundle:
    """Train the network and write its weights into the bundle."""
    refuse_arguments(recipe.network, {"size": "is the recipe's size"})
    architecture = {**recipe.network, "size": recipe.size}
    training = CropTraining(run, recipe, ROLE)
    network = build_network(CornersNet, len(run.bundle.catalog), **architecture)
    training.load_start(network, recipe.encoder_from)
    network.outline.copy_(known_outlines(run.bundle.catalog, run.bundle.load_meshes(run.mesh_dir)))
    trainer = training.trainer(network, recipe.samples)
    step = CornersStep(run.bundle, recipe, training.device)
    return training.finish(trainer, step, recipe.size, recipe.samples, architecture)


ADAPTATION = Adaptation(
    ROLE, CornersNet, lambda training, recipe, network: CornersStep(training.run.bundle, recipe, training.device)
)
TRIAL = Trial(
    {
        **TINY,
        "size": 32,
        "samples": 64,
        "network": {"widths": [16, 16, 16, 16], "blocks": [1, 1, 1, 1], "features": 16, "channels": 8},
    },
    settings={"ransac_threshold_ratio": 1.0},
)
