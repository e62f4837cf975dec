"""Adaptation of the hand network: a few depth images of a real camera with known joints, by feature mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from pose_estimation_ros.data.hand_pairs import HandPairCrops, HandPairSource
from pose_estimation_ros.data.hand_scenes import HandCropDraw, HandCrops, HandScenes
from pose_estimation_ros.data.photo_pairs import PhotoPairs
from pose_estimation_ros.methods.hands.network import HandNet
from pose_estimation_ros.methods.hands.training import ROLE, HandRecipe, HandStep, hand_trainer
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.training.adaptation import (
    JointStep,
    MappingRecipe,
    adapted_network,
    joint_batches,
    suited,
    train_jointly,
)
from pose_estimation_ros.training.batch_stream import batch_stream
from pose_estimation_ros.training.trainer import OptimiserConfig, TrainingRun


class HandAdaptationRecipe(MappingRecipe):
    """Everything that decides what the adaptation does."""

    optimiser: OptimiserConfig = OptimiserConfig(
        batch=64, learning_rate=3e-4, warmup_samples=1_000, ema_samples=4_000, snapshot_samples=1_000_000
    )


class HandSource:
    """The batches of an adaptation.

    Args:
        trained_by: recipe of the network, whose hands and crops the free renderings have.
        recipe: of the adaptation.
        pairs: of real images and renderings.
    """

    def __init__(self, trained_by: HandRecipe, recipe: HandAdaptationRecipe, pairs: HandPairSource) -> None:
        self._draw = HandCropDraw(trained_by.scenes, trained_by.crops)
        self._recipe, self._pairs = recipe, pairs

    def free(self, first: int) -> Iterator[HandCrops]:
        """Yield crops of renderings without end, from batch number `first` on."""
        recipe = self._recipe
        return batch_stream(lambda: self._draw, recipe.seed, first, recipe.free_batch(), recipe.workers)

    def pairs(self, count: int, seed: int) -> PhotoPairs[HandPairCrops]:
        """Make pairs of crops."""
        return self._pairs.pairs(count, seed)


@dataclass(frozen=True)
class HandAdaptation:
    """How the network goes on learning from depth images."""

    recipe: type[HandAdaptationRecipe]
    adapt: Callable[..., Bundle]  # see `adapt_hands`


def adapt_hands(
    run: TrainingRun,
    trained_by: HandRecipe,
    recipe: HandAdaptationRecipe,
    scenes: HandScenes,
    seconds: float | None = None,
) -> Bundle:
    """Go on with a bundle's hand network on depth images with known joints, and write it into the bundle.

    Args:
        run: the bundle, and where to work.
        trained_by: recipe that the network was trained by.
        recipe: what to do.
        scenes: windows of the images, see `hand_windows`.
        seconds: how long the training takes, about; the recipe's samples where absent.

    Raises:
        BundleError: if the weights do not fit.
        ValueError: if the joints are those of no right hand.
        CollapseError: if the features lose their variance.
    """
    bundle, device = run.bundle, torch.device(run.device)
    entry = bundle.network(ROLE)
    torch.manual_seed(recipe.seed)
    network, architecture = adapted_network(bundle, ROLE, HandNet, recipe.mapping)
    pairs = HandPairSource(scenes, trained_by.crops)
    network = network.to(device).to(memory_format=torch.channels_last).train()
    step = JointStep(HandStep(trained_by, device), recipe.weights)
    batches = partial(joint_batches, HandSource(trained_by, recipe, pairs), recipe)
    trainer, record = train_jointly(
        network,
        step,
        batches,
        recipe,
        lambda samples: hand_trainer(network, run, recipe, samples, suited(recipe.optimiser, samples)),
        seconds,
        f"{ROLE}, {len(pairs.real)} depth images",
    )
    left_out = f", {pairs.left_out} left out whose joints no hand can have" if pairs.left_out else ""
    record |= {"images": f"{len(pairs.real)} depth images with known joints{left_out}, and renderings"}
    known = {**entry.training, "adaptation": record}
    return trainer.save_weights(bundle, ROLE, architecture, entry.input_size, known)


ADAPTATION = HandAdaptation(HandAdaptationRecipe, adapt_hands)
