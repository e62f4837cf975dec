"""Recipe of the hand network: depth renderings of hands that nobody has, no real image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from pose_estimation_ros.data.hand_scenes import HandCropConfig, HandCropDraw, HandCrops, HandSceneConfig
from pose_estimation_ros.geometry.transfer import to_device
from pose_estimation_ros.methods.hands.network import HandNet, fit_prior
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, save_bundle
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.training.adaptation import MappingRecipe
from pose_estimation_ros.training.batch_stream import batch_stream
from pose_estimation_ros.training.crop_source import build_network, refuse_arguments
from pose_estimation_ros.training.reproducibility import Draws, place_seed
from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer, TrainingRun
from pose_estimation_ros.training.trial import TINY, Trial

ROLE = "hands"
_ROUNDING = 1e-6  # of squared distances in halves of the cube's side, so that their root has a gradient at zero
_PRIOR_CHUNK = 2000  # poses drawn at once


class HandRecipe(BaseModel):
    """Everything that decides what the training does."""

    model_config = ConfigDict(extra="forbid")

    samples: int = Field(default=2_000_000, ge=1)  # hands seen
    seed: int = 0
    network: dict[str, Any] = Field(default={})  # keyword arguments of the network
    components: int = Field(default=30, ge=1, le=42)  # of the prior of poses
    prior_poses: int = Field(default=200_000, ge=100)  # that the prior is fitted to
    centre_weight: float = Field(default=0.5, ge=0.0)  # of the error of the refined centre
    optimiser: OptimiserConfig = OptimiserConfig(batch=128)
    scenes: HandSceneConfig = HandSceneConfig()
    crops: HandCropConfig = HandCropConfig()
    workers: int = Field(default=1, ge=0)  # processes that draw hands; 0 draws them in the training process


class HandStep:
    """The loss of one batch."""

    def __init__(self, recipe: HandRecipe, device: torch.device) -> None:
        self.recipe, self.device = recipe, device

    def __call__(self, network: nn.Module, batch: HandCrops) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and the mean errors in millimetres."""
        return self.loss(network, self.features(network, batch), batch)

    def features(self, network: nn.Module, batch: HandCrops) -> list[Tensor]:
        """Return what a mapping would map."""
        assert isinstance(network, HandNet)
        with autocast(self.device, self.recipe.optimiser.bf16):
            return [network.features(to_device(batch.crops, self.device))]

    def loss(
        self, network: nn.Module, features: Sequence[Tensor], batch: HandCrops
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the joints that are read from features, and of the centres, and the mean errors in mm."""
        assert isinstance(network, HandNet)
        with autocast(self.device, self.recipe.optimiser.bf16):
            joints = network.read(features[0])
            palm = network.centre(to_device(batch.rough_crops, self.device)).float()
        joint_error = _distance(joints, to_device(batch.joints, self.device))
        centre_error = _distance(palm, to_device(batch.palm, self.device))
        crops = self.recipe.crops
        millimetres = 500.0 * crops.cube_side_m
        figures = {
            "joints_mm": millimetres * joint_error.detach(),
            "centre_mm": millimetres * crops.search_scale * centre_error.detach(),
        }
        return joint_error + self.recipe.centre_weight * centre_error, figures


def _distance(estimated: Tensor, true: Tensor) -> Tensor:
    """Return the mean distance of points (..., 3)."""
    return ((estimated - true).square().sum(dim=-1) + _ROUNDING).sqrt().mean()


def train_hands(run: TrainingRun, recipe: HandRecipe) -> Bundle:
    """Train the network and write its weights into the bundle."""
    refuse_arguments(
        recipe.network,
        {
            "size": "is the recipe's crops.size",
            "components": "are the recipe's components",
            "search_scale": "is the recipe's crops.search_scale",
            "mapping": "comes with real images, see pose_adapt_hands",
        },
    )
    device = torch.device(run.device)
    torch.manual_seed(recipe.seed)
    crops = recipe.crops
    given = {"size": crops.size, "components": recipe.components, "search_scale": crops.search_scale}
    architecture = {**recipe.network, **given}
    network = build_network(HandNet, 1, **architecture)
    draw = HandCropDraw(recipe.scenes, recipe.crops)
    if not (run.resume and (run.folder / "checkpoint.pt").is_file()):  # which has it
        network.set_prior(*fit_prior(prior_joints(recipe), recipe.components))
    network = network.to(device).to(memory_format=torch.channels_last).train()
    trainer = hand_trainer(network, run, recipe, recipe.samples, recipe.optimiser)
    batches = batch_stream(lambda: draw, recipe.seed, trainer.steps, recipe.optimiser.batch, recipe.workers)
    finished = trainer.train(batches, HandStep(recipe, device), recipe.samples, f"{ROLE} {recipe.crops.size} px")
    training = trainer.record(recipe, finished) | {"images": "synthetic only, hands of the package's own model"}
    return trainer.save_weights(run.bundle, ROLE, architecture, recipe.crops.size, training)


def hand_trainer(
    network: nn.Module, run: TrainingRun, recipe: HandRecipe | MappingRecipe, samples: int, optimiser: OptimiserConfig
) -> Trainer:
    """Return the trainer of a network, which goes on only by the recipe that it began with.

    Args:
        network: on its device.
        run: where to work.
        recipe: of the training or of an adaptation.
        samples: how many it will see.
        optimiser: how.
    """
    return Trainer(
        network, optimiser, samples, run.folder, run.resume, recipe=recipe, seed=recipe.seed, pause=run.pause
    )


def prior_joints(recipe: HandRecipe) -> Tensor:
    """Draw the poses (N, 14, 3), in cubes, that the prior is fitted to, augmented as crops are."""
    draw = HandCropDraw(recipe.scenes, recipe.crops)
    sizes = [min(_PRIOR_CHUNK, recipe.prior_poses - start) for start in range(0, recipe.prior_poses, _PRIOR_CHUNK)]
    return torch.cat(
        [draw.joints(place_seed(recipe.seed, Draws.PRIOR, number), size) for number, size in enumerate(sizes)]
    )


def new_bundle(path: Path) -> Bundle:
    """Make an empty bundle of a hand, which has no mesh."""
    hand = ObjectModel(1, "hand", 0.2, ((-0.1, -0.1, -0.1), (0.1, 0.1, 0.1)), Path("none"))
    bundle = Bundle(
        path,
        path.resolve().name,
        Catalog((hand,)),
        {},
        PosePrior(),
        meshes=None,
        mesh_source="Hands have no mesh: trainings draw their own (pose_estimation_ros/data/hand_skeleton.py).",
        description="Joints of right hands in depth images.",
    )
    save_bundle(bundle)
    return bundle


TRIAL = Trial(
    {
        "workers": 0,
        "optimiser": TINY["optimiser"],
        "samples": 32,
        "prior_poses": 200,
        "crops": {"size": 32},
        "network": {"widths": [16, 16, 16, 16], "blocks": 1, "features": 32},
    }
)
