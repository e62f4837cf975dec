"""What all trainings on crops have in common: from a recipe to the weights in a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from pose_estimation_ros.data.synthetic import CropBatch, CropConfig
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.training.batch_stream import Draw, batch_stream
from pose_estimation_ros.training.crop_source import BankConfig, crop_maker, load_start, object_weights, open_bank
from pose_estimation_ros.training.encoder_recipe import (
    EncoderRecipe,
    encoder_of,
    encoder_rates,
    keep_statistics,
    rate_of_encoder,
)
from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer, TrainingRun

Batch = TypeVar("Batch")


class CropRecipe(EncoderRecipe):
    """What every recipe of a training on crops can say."""

    seed: int = 0
    # Keyword arguments of the network; of the refiner variant: paper is the published one.
    network: dict[str, Any] = Field(default={})
    initial: str | None = None  # bundle whose network gives the first weights
    optimiser: OptimiserConfig = OptimiserConfig()
    crops: CropConfig = CropConfig()
    bank: BankConfig = BankConfig()
    # How often an object is drawn, relative to 1: more for the harder ones.
    object_weights: dict[str, float] = Field(default={})
    workers: int = Field(default=1, ge=0)  # processes that make crops; 0 makes them in the training process


class CropTraining:
    """One training: opens the bank of views, then gives the trainer and the crops, and writes the weights.

    Args:
        run: the bundle, and where to work.
        recipe: what to do.
        role: the network's name in the bundle.

    Raises:
        ValueError: if the recipe names objects that the bundle does not have.
    """

    def __init__(self, run: TrainingRun, recipe: CropRecipe, role: str) -> None:
        self.run, self.recipe, self.role = run, recipe, role
        self.device = torch.device(run.device)
        self.public_weights: dict[str, str] = {}  # that the network starts from
        torch.manual_seed(recipe.seed)
        self.weights = object_weights(run.bundle, recipe.object_weights)
        self.bank, self.backgrounds = open_bank(
            run.bundle, recipe.bank, recipe.seed, run.folder, run.mesh_dir, run.device
        )

    def load_start(self, network: nn.Module, encoder_from: str | None = None) -> None:
        """Load the weights that the recipe starts from, before what is the objects' own; see the function."""
        recipe = self.recipe
        has_encoder = encoder_of(network, recipe) is not None
        frozen = has_encoder and recipe.encoder_rate == 0.0
        self.public_weights = load_start(
            network, self.run.bundle, self.role, encoder_from, recipe.initial, recipe.pretrained, frozen
        )

    def trainer(self, network: nn.Module, total_samples: int, optimiser: OptimiserConfig | None = None) -> Trainer:
        """Return the trainer of a network; an encoder that is frozen stays as it is.

        Args:
            network: what is trained.
            total_samples: how many it will see.
            optimiser: how; the recipe's where absent.
        """
        recipe, run = self.recipe, self.run
        network = network.to(self.device).to(memory_format=torch.channels_last).train()
        encoder, rate = encoder_of(network, recipe), rate_of_encoder(network, recipe)
        factors: dict[str, float] = {}
        if encoder is not None:
            keep_statistics(encoder, recipe, rate)
            factors = encoder_rates(encoder, recipe, rate, "encoder.")
        return Trainer(
            network,
            optimiser or recipe.optimiser,
            total_samples,
            run.folder,
            run.resume,
            factors,
            recipe,
            recipe.seed,
            run.pause,
        )

    def crop_config(self, size: int) -> CropConfig:
        """Return how crops of a size are made of this bundle's objects."""
        return self.recipe.crops.model_copy(update={"roll_deg": self.run.bundle.pose_prior.roll_deg, "size": size})

    def batches(self, trainer: Trainer, size: int) -> Iterator[CropBatch]:
        """Yield crops of a size without end, from the batch that the trainer has come to."""
        return self.batches_from(trainer.steps, size)

    def batches_from(self, first: int, size: int) -> Iterator[CropBatch]:
        """Yield crops of a size without end, from batch number `first` on."""
        make = partial(crop_maker, self.bank, self.backgrounds, self.crop_config(size), self.weights)
        return self.stream_from(first, make)

    def stream(self, trainer: Trainer, make: Callable[[], Draw[Batch]]) -> Iterator[Batch]:
        """Yield batches of what is made from seeds, from the one that the trainer has come to."""
        return self.stream_from(trainer.steps, make)

    def stream_from(self, first: int, make: Callable[[], Draw[Batch]]) -> Iterator[Batch]:
        """Yield batches of what is made from seeds, from batch number `first` on."""
        recipe, on_gpu = self.recipe, self.bank.surface.is_cuda
        return batch_stream(make, recipe.seed, first, recipe.optimiser.batch, recipe.workers, on_gpu)

    def finish(
        self,
        trainer: Trainer,
        step: Callable[[nn.Module, CropBatch], tuple[Tensor, Mapping[str, float | Tensor]]],
        size: int,
        samples: int,
        architecture: dict[str, Any],
    ) -> Bundle:
        """Train on crops of one size until so many were seen, and write the weights into the bundle."""
        finished = trainer.train(self.batches(trainer, size), step, samples, f"{self.role} {size} px")
        return self.save(trainer, architecture, size, finished)

    def save(self, trainer: Trainer, architecture: dict[str, Any], size: int, finished: bool) -> Bundle:
        """Write the averaged weights into the bundle, with the recipe that made them."""
        training = trainer.record(self.recipe, finished, self.public_weights)
        return trainer.save_weights(self.run.bundle, self.role, architecture, size, training)
