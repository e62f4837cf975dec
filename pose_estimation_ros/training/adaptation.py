"""Going on with photographs: a trained network learns to see through them what it knows from renderings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.photo_cuts import PhotoConfig, Photographs
from pose_estimation_ros.data.photo_pairs import PhotoPairs, PhotoPairSource
from pose_estimation_ros.data.synthetic import CropBatch
from pose_estimation_ros.objects.bundle import Bundle, BundleError
from pose_estimation_ros.training.crop_source import BankConfig
from pose_estimation_ros.training.crop_training import CropRecipe, CropTraining
from pose_estimation_ros.training.feature_mapping import (
    CollapseWatch,
    MappingWeights,
    feature_loss,
    feature_variance,
    joint_loss,
)
from pose_estimation_ros.training.reproducibility import Draws, place_seed
from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer, TrainingRun

_TIMED_STEPS = 3  # after one that warms up


class AdaptableStep(Protocol):
    """The loss of one batch, in two parts between which a mapping fits."""

    def features(self, network: nn.Module, batch: Any) -> list[Tensor]:
        """Return the features of a batch's images."""
        ...

    def loss(self, network: nn.Module, features: Sequence[Tensor], batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of what is read from features, and its parts."""
        ...


class AdaptationSource(Protocol):
    """Makes the batches of an adaptation, of whatever kind the method's own training has."""

    def free(self, first: int) -> Iterator[Any]:
        """Yield batches of free renderings without end, from batch number `first` on."""
        ...

    def pairs(self, count: int, seed: int) -> PhotoPairs[Any]:
        """Make pairs of batches that have a `mask_visible` (B, s, s) of the crops; same seed, same pairs."""
        ...


class CropSource:
    """Crops, as most methods are trained on.

    Args:
        training: of the method.
        photographs: to adapt to.
        size: side of the crops, pixels.
    """

    def __init__(self, training: CropTraining, photographs: Photographs, size: int) -> None:
        self.training, self.size = training, size
        self._photos = PhotoPairSource(photographs)

    def free(self, first: int) -> Iterator[CropBatch]:
        """Yield crops of renderings without end, from batch number `first` on."""
        return self.training.batches_from(first, self.size)

    def pairs(self, count: int, seed: int) -> PhotoPairs[CropBatch]:
        """Make pairs of crops."""
        return self._photos.pairs(count, self.size, seed)


Shown = Callable[[nn.Module, Tensor], Tensor]


def _as_they_are(network: nn.Module, visible: Tensor) -> Tensor:
    return visible


@dataclass(frozen=True)
class Adaptation:
    """How a method's network goes on learning from photographs."""

    role: str  # of the network in a bundle
    network: Callable[..., nn.Module]  # its class, which takes `mapping` and then has a `FeatureMapping` of that name
    step: Callable[[CropTraining, Any, Any], AdaptableStep]  # with the recipe the network was trained by, and it
    # What masks (B, s, s) of the crops show of what each position of the feature maps sees.
    shown: Shown = _as_they_are
    source: Callable[[CropTraining, Photographs, int], AdaptationSource] = CropSource  # for the bundle's input size


class MappingRecipe(BaseModel):
    """What every adaptation is decided by."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    samples: int = Field(default=20_000, ge=1)  # crops of real images and free renderings together
    real_share: float = Field(default=0.5, gt=0.0, lt=1.0)  # of the samples that are real images
    mapping: bool = True  # false: plain fine-tuning, the network reads real features as they are
    weights: MappingWeights = MappingWeights()
    optimiser: OptimiserConfig = OptimiserConfig(
        batch=32, learning_rate=2e-4, warmup_samples=1_000, ema_samples=4_000, snapshot_samples=1_000_000
    )
    workers: int = Field(default=0, ge=0)

    def free_batch(self) -> int:
        """Return how many free renderings a batch has."""
        return max(2, round((1.0 - self.real_share) * self.optimiser.batch))

    def real_batch(self) -> int:
        """Return how many real images a batch has."""
        return max(1, round(self.real_share * self.optimiser.batch))


class AdaptationRecipe(MappingRecipe):
    """Everything that decides what the adaptation to photographs does."""

    photos: PhotoConfig = PhotoConfig()
    bank: BankConfig = BankConfig(views=400)  # of the free renderings


@dataclass(frozen=True)
class JointBatch:
    """What one step sees."""

    free: Any  # as the method's own training has them
    pairs: PhotoPairs[Any]

    def __len__(self) -> int:
        return len(self.free) + len(self.pairs)


class JointStep:
    """The joint loss of one batch, see `training.feature_mapping`.

    Args:
        step: the method's loss.
        weights: of the terms.
        shown: what masks of crops show of the positions of feature maps, see `Adaptation`.
    """

    def __init__(self, step: AdaptableStep, weights: MappingWeights, shown: Shown = _as_they_are) -> None:
        self.step, self.weights, self.shown = step, weights, shown
        self.watch = CollapseWatch()

    def __call__(self, network: nn.Module, batch: JointBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts.

        Raises:
            CollapseError: if the features lose their variance.
        """
        free = self.step.features(network, batch.free)
        variance = feature_variance(free)
        self.watch.check(variance)
        real = self.step.features(network, batch.pairs.real)
        mapped = mapped_features(network, real)
        synthetic_loss, _ = self.step.loss(network, free, batch.free)
        real_loss, figures = self.step.loss(network, mapped, batch.pairs.real)
        if getattr(network, "mapping", None) is None:  # plain fine-tuning asks for no agreement
            agreement = torch.zeros((), device=real_loss.device)
        else:
            with torch.no_grad():
                rendered = self.step.features(network, batch.pairs.rendered)
            shared = self.shown(network, batch.pairs.real.mask_visible.to(real_loss.device))
            agreement = feature_loss(mapped, rendered, variance, shared)
        total = joint_loss(synthetic_loss, agreement, real_loss, self.weights)
        own = {"synthetic": synthetic_loss.detach(), "real": real_loss.detach(), "features": agreement.detach()}
        return total, {**{f"real_{key}": value for key, value in figures.items()}, **own}


def mapped_features(network: nn.Module, features: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return features of real images as the network reads them: as they are where it has no mapping."""
    mapping = getattr(network, "mapping", None)
    return features if mapping is None else mapping([item.float() for item in features])


def adapt(
    run: TrainingRun,
    adaptation: Adaptation,
    trained_by: CropRecipe,
    recipe: AdaptationRecipe,
    dataset: BopDataset,
    seconds: float | None = None,
) -> Bundle:
    """Go on with a bundle's network on photographs, and write it into the bundle.

    Args:
        run: the bundle, and where to work.
        adaptation: of the method.
        trained_by: recipe that the network was trained by; it says how crops are made and what the loss is.
        recipe: what to do.
        dataset: the photographs.
        seconds: how long the training takes, about; the recipe's samples where absent.

    Raises:
        BundleError: if the weights do not fit.
        ValueError: if the photographs show no known object.
        CollapseError: if the features lose their variance.
    """
    bundle, role = run.bundle, adaptation.role
    bundle.catalog.require_single_meshes("adaptation")
    entry = bundle.network(role)
    network, architecture = adapted_network(bundle, role, adaptation.network, recipe.mapping)
    joined = trained_by.model_copy(
        update={
            "seed": recipe.seed,
            "optimiser": recipe.optimiser.model_copy(update={"batch": recipe.free_batch()}),
            "bank": recipe.bank,
            "workers": recipe.workers,
            "pretrained": None,
        }
    )
    training = CropTraining(run, joined, role)
    meshes = bundle.load_meshes(run.mesh_dir)
    photos = Photographs(dataset, bundle.catalog, meshes, training.backgrounds, recipe.photos, joined.crops)
    network = network.to(training.device)
    step = JointStep(adaptation.step(training, joined, network), recipe.weights, adaptation.shown)
    joint = partial(joint_batches, adaptation.source(training, photos, entry.input_size), recipe)
    trainer, record = train_jointly(
        network,
        step,
        joint,
        recipe,
        lambda samples: training.trainer(network, samples, suited(joined.optimiser, samples)),
        seconds,
        f"{role}, {photos.instances} annotated objects",
    )
    record |= {"images": f"{len(dataset.images)} photographs with {photos.instances} annotated objects, and renderings"}
    known = {**entry.training, "adaptation": record}
    return trainer.save_weights(bundle, role, architecture, entry.input_size, known)


def train_jointly(
    network: nn.Module,
    step: JointStep,
    batches: Callable[[int], Iterator[JointBatch]],
    recipe: MappingRecipe,
    make_trainer: Callable[[int], Trainer],
    seconds: float | None,
    about: str,
) -> tuple[Trainer, dict[str, Any]]:
    """Train a network by the joint loss, normalising as at run time.

    Args:
        network: that is trained.
        step: the loss.
        batches: from a number on.
        recipe: what to do.
        make_trainer: returns the trainer for so many samples.
        seconds: how long it takes, about; the recipe's samples where absent.
        about: what the progress bar says.

    Returns:
        The trainer, and what it has to record.

    Raises:
        CollapseError: if the features lose their variance.
    """
    if seconds is not None:
        recipe = recipe.model_copy(update={"samples": _samples_within(seconds, network, step, batches(0))})
    trainer = make_trainer(recipe.samples)
    _keep_statistics(network)
    finished = trainer.train(batches(trainer.steps), step, recipe.samples, about)
    return trainer, trainer.record(recipe, finished)


def suited(optimiser: OptimiserConfig, samples: int) -> OptimiserConfig:
    """Return how a training of so many samples is optimised, were it a short one.

    It warms up for a tenth of it at most, and weights are averaged over a quarter: else they were the first ones still.
    """
    short = {"warmup_samples": samples // 10, "ema_samples": max(optimiser.batch, samples // 4)}
    return optimiser.model_copy(update={key: min(getattr(optimiser, key), most) for key, most in short.items()})


def _samples_within(seconds: float, network: nn.Module, step: JointStep, batches: Iterator[JointBatch]) -> int:
    """Measure how many samples a training sees in so many seconds, on a copy of the network."""
    copy = deepcopy(network).train()
    _keep_statistics(copy)
    started, seen = 0.0, 0
    for number, batch in enumerate(islice(batches, _TIMED_STEPS + 1)):
        if number == 1:
            started, seen = time.monotonic(), 0
        loss, _ = step(copy, batch)
        loss.backward()
        seen += len(batch)
    return max(len(batch), int(seconds * seen / (time.monotonic() - started)))


def joint_batches(source: AdaptationSource, recipe: MappingRecipe, first: int) -> Iterator[JointBatch]:
    """Yield batches without end, from number `first` on."""
    for number, free in enumerate(source.free(first), first):
        yield JointBatch(free, source.pairs(recipe.real_batch(), place_seed(recipe.seed, Draws.PHOTOS, number)))


def adapted_network(
    bundle: Bundle, role: str, make: Callable[..., nn.Module], mapping: bool
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a network with the weights of the bundle, with a mapping where it is wanted, and its architecture.

    A mapping that is already there stays, and goes on learning.

    Args:
        bundle: that has the network.
        role: of the network in it.
        make: the network's class, see `Adaptation`.
        mapping: whether one is wanted.

    Raises:
        BundleError: if the weights do not fit the architecture.
    """
    entry = bundle.network(role)
    architecture = {**entry.architecture, "mapping": mapping or bool(entry.architecture.get("mapping", False))}
    network = make(len(bundle.catalog), **architecture)
    missing, unexpected = network.load_state_dict(bundle.weights(role), strict=False)
    wrong = [key for key in missing if not key.startswith("mapping.")] + list(unexpected)
    if wrong:
        raise BundleError(f"{bundle.path / entry.file}: weights do not fit the architecture: {', '.join(wrong[:3])}")
    return network, architecture


def _keep_statistics(network: nn.Module) -> None:
    """Normalise as at run time, renderings and photographs alike: a few of these would spoil the statistics."""
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.eval()
