"""Recipe of the refiner: CAD meshes in, weights out, pairs of image and rendering made on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from pose_estimation_ros.data.pairs import PairBatch, PairConfig, PairSource
from pose_estimation_ros.data.synthetic import CropConfig
from pose_estimation_ros.data.view_bank import ViewBank
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.geometry.transfer import to_device
from pose_estimation_ros.networks.attention_flow import point_flow
from pose_estimation_ros.networks.attention_net import CELL, DIVISOR, AttentionNet, Comparison
from pose_estimation_ros.networks.attention_paper import make_attention_net
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.object_tensors import catalog_symmetries, object_sizes
from pose_estimation_ros.training.batch_stream import Draw
from pose_estimation_ros.training.crop_source import build_network, refuse_arguments
from pose_estimation_ros.training.crop_training import CropRecipe, CropTraining
from pose_estimation_ros.training.shared_batch import shared_count
from pose_estimation_ros.training.trainer import OptimiserConfig, TrainingRun
from pose_estimation_ros.training.trial import TINY, Trial

ROLE = "attention"
_TAKEN = {"padding": "is pairs.padding", "coarse": "follows from fine_size"}  # arguments that are not the recipe's


class AttentionRecipe(CropRecipe):
    """Everything that decides what the training does."""

    size: int = Field(default=80, ge=32, multiple_of=DIVISOR)  # side of the images, pixels
    # Side of the images of all stages but the first, where it is larger. Nothing is trained on these: a network of
    # convolutions that finds where a cell went finds it more exactly in a larger image.
    fine_size: int | None = Field(default=None, multiple_of=DIVISOR)
    samples: int = Field(default=300_000, ge=1)  # pairs seen
    pairs: PairConfig = PairConfig()
    distance_weight: float = Field(default=0.3, ge=0.0)  # of errors along the ray, relative to those across it
    pose_weight: float = Field(default=3.0, ge=0.0)  # of the errors of the update, relative to those of the flow
    error_weight: float = Field(default=0.05, ge=0.0)  # of what it says of its error, relative to those of the flow
    encoder_from: str | None = "pix2pose"  # network of the bundle whose encoder starts ours
    optimiser: OptimiserConfig = OptimiserConfig(kind="muon", batch=16, learning_rate=1e-3, warmup_samples=4000)
    crops: CropConfig = CropConfig(masked_share=0.0, off_axis_deg=(0.0, 0.0))

    @model_validator(mode="after")
    def _fine_is_larger(self) -> AttentionRecipe:
        if self.fine_size is not None and self.fine_size <= self.size:
            raise ValueError(f"fine_size = {self.fine_size}: expected more than size = {self.size}, or nothing")
        return self


class AttentionStep:
    """The losses of one batch, in diameters of the objects.

    Errors across the ray, along it and of the rotation are counted apart, each as the movement of the object's points
    that it alone would cause: so the large errors along the ray do not drown the others.
    """

    def __init__(self, catalog: Catalog, outline: Tensor, recipe: AttentionRecipe, device: torch.device) -> None:
        centre, _, diameter = object_sizes(catalog, device)
        self.points = ((outline[: len(catalog)].to(device) - centre[:, None]) / diameter[:, None, None])[:, ::4]
        self.symmetries = catalog_symmetries(catalog).float().to(device)[:, :, :3, :3]
        self.recipe = recipe
        self.bf16 = recipe.optimiser.bf16
        self.device = device

    def __call__(self, network: nn.Module, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts."""
        rendered = self._rendered(batch)
        with autocast(self.device, self.bf16):
            prediction = network(self._observed(batch), rendered, *self._scale(batch))
        return self._losses(prediction, batch, rendered)

    def features(self, network: nn.Module, batch: PairBatch) -> list[Tensor]:
        """Return what a mapping would map: the features of the images, not those of the renderings."""
        assert isinstance(network, AttentionNet)
        with autocast(self.device, self.bf16):
            return network.features(self._observed(batch))

    def loss(
        self, network: nn.Module, features: Sequence[Tensor], batch: PairBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of images with these features, and its parts."""
        assert isinstance(network, AttentionNet)
        rendered = self._rendered(batch)
        with autocast(self.device, self.bf16):
            drawn = network.rendering_features(rendered)
            prediction = network.compare(features, drawn, rendered, *self._scale(batch))
        return self._losses(prediction, batch, rendered)

    def _observed(self, batch: PairBatch) -> Tensor:
        images = to_device(batch.observed, self.device).float().div_(255.0)
        return images.contiguous(memory_format=torch.channels_last)

    def _rendered(self, batch: PairBatch) -> Tensor:
        return to_device(batch.rendered, self.device).float().contiguous(memory_format=torch.channels_last)

    def _scale(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        return to_device(batch.distance, self.device), to_device(batch.extent, self.device)

    def _losses(self, prediction: Comparison, batch: PairBatch, rendered: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        across, along, turn = self.errors(prediction, batch)
        error = (across + along + turn).detach()
        error_loss = error * torch.exp(-prediction.log_error) + prediction.log_error
        right = ~to_device(batch.wrong, self.device)
        pose = _mean(across + self.recipe.distance_weight * along + turn, right)
        loss = self.recipe.pose_weight * pose + self.recipe.error_weight * error_loss.mean()
        before = self.errors(_nothing(prediction), batch)
        figures = {
            name: _mean(after, right) / _mean(start, right).clamp(min=1e-6)
            for name, after, start in zip(("across", "along", "turn"), (across, along, turn), before, strict=True)
        }
        figures["doubt"] = error_loss.mean()
        if self.recipe.pairs.wrong_share > 0.0:  # by which wrong poses are expected to be more wrong
            said = prediction.log_error
            figures["told"] = _mean(said, ~right) - _mean(said, right)
        if prediction.flow is not None and prediction.log_scale is not None:
            flow, figures["flow"] = self.flow_loss(prediction.flow, prediction.log_scale, batch, rendered)
            loss = loss + flow
        return loss, {key: value.detach() for key, value in figures.items()}

    def flow_loss(self, flow: Tensor, log_scale: Tensor, batch: PairBatch, rendered: Tensor) -> tuple[Tensor, Tensor]:
        """Return the likelihood loss of the flow, and its error as a share of the true flow's length."""
        geometry = F.avg_pool2d(rendered[:, 3:], CELL)
        shown = (geometry[:, 3] > 0.5) & ~to_device(batch.wrong, self.device)[:, None, None]
        points = geometry[:, :3] / geometry[:, 3:].clamp(min=0.25)
        true = self.true_flow(points, batch)
        error = (flow - true).norm(dim=1)
        likelihood = error * torch.exp(-log_scale) + 2.0 * log_scale
        count = shared_count(shown.sum())
        share = (error * shown).sum() / (true.norm(dim=1) * shown).sum().clamp(min=1e-6)
        return (likelihood * shown).sum() / count, share

    def true_flow(self, points: Tensor, batch: PairBatch) -> Tensor:
        """Return where rendered points (B, 3, h, w) are in the image, relative to the rendering, in cells."""
        rendered = to_device(batch.rendered_rotation, self.device)
        index = to_device(batch.object_index, self.device)
        true = nearest_equivalent(to_device(batch.true_rotation, self.device), rendered, self.symmetries[index])
        before = points.flatten(2) / 2.0
        after = (true @ rendered.transpose(1, 2)) @ before
        shift, log_distance, distance, extent = (
            to_device(item, self.device) for item in (batch.shift, batch.log_distance, batch.distance, batch.extent)
        )
        seen_from = to_device(batch.seen_from, self.device)
        moved = point_flow(before, after, shift, log_distance, distance, extent, points.shape[-1], seen_from)
        return moved.transpose(1, 2).reshape(len(points), 2, *points.shape[-2:])

    def errors(self, prediction: Comparison, batch: PairBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the errors (B,) across the ray, along it, and of the points that the rotation moves; diameters."""
        index = to_device(batch.object_index, self.device)
        true_shift, extent, log_distance, distance = (
            to_device(item, self.device) for item in (batch.shift, batch.extent, batch.log_distance, batch.distance)
        )
        across = (prediction.shift - true_shift).norm(dim=1) * extent
        along = (prediction.log_distance - log_distance).abs() * distance
        rendered = to_device(batch.rendered_rotation, self.device)
        true = nearest_equivalent(to_device(batch.true_rotation, self.device), rendered, self.symmetries[index])
        points = self.points[index]
        moved = points @ (matrix_from_axis_angle(prediction.axis_angle) @ rendered).transpose(1, 2)
        turn = (moved - points @ true.transpose(1, 2)).norm(dim=2).mean(dim=1)
        return across, along, turn


def nearest_equivalent(true: Tensor, near: Tensor, symmetries: Tensor) -> Tensor:
    """Return of the rotations (B, 3, 3) that look the same the one nearest to another (B, 3, 3).

    Args:
        true: rotations.
        near: rotations.
        symmetries: of each object (B, N, 3, 3), the identity among them.
    """
    equivalent = true[:, None] @ symmetries
    trace = (equivalent * near[:, None]).sum(dim=(2, 3))
    return equivalent[torch.arange(len(true), device=true.device), trace.argmax(dim=1)]


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of the values (B,) that count (B,), zero of nothing."""
    return torch.where(counted, values, 0.0).sum() / shared_count(counted.sum())


def _nothing(prediction: Comparison) -> Comparison:
    """Return what a network that never moves anything would have said."""
    still = [torch.zeros_like(item) for item in (prediction.shift, prediction.log_distance, prediction.axis_angle)]
    return replace(prediction, shift=still[0], log_distance=still[1], axis_angle=still[2])


def train_attention(run: TrainingRun, recipe: AttentionRecipe) -> Bundle:
    """Train the network and write its weights into the bundle."""
    bundle = run.bundle
    bundle.catalog.require_single_meshes("network attention")
    refuse_arguments(recipe.network, _TAKEN)
    training = CropTraining(run, recipe, ROLE)
    architecture = {**recipe.network, "padding": recipe.pairs.padding}
    if recipe.fine_size is not None:
        architecture["coarse"] = [recipe.size]
    network = build_network(make_attention_net, **architecture)
    training.load_start(network, recipe.encoder_from if network.shares_encoder else None)
    trainer = training.trainer(network, recipe.samples)
    batches = training.stream(trainer, pair_maker(training, recipe))
    step = AttentionStep(bundle.catalog, training.bank.outline, recipe, training.device)
    finished = trainer.train(batches, step, recipe.samples, f"{ROLE} {recipe.size} px")
    return training.save(trainer, architecture, recipe.fine_size or recipe.size, finished)


def pair_maker(training: CropTraining, recipe: AttentionRecipe) -> Callable[[], Draw[PairBatch]]:
    """Return what makes that which draws pairs of a training's objects from seeds."""
    catalog, device = training.run.bundle.catalog, training.device
    crops, sizes = training.crop_config(recipe.size), object_sizes(catalog, device)
    symmetries = catalog_symmetries(catalog).float().to(device)[:, :, :3, :3]
    return partial(
        _pair_maker, training.bank, training.backgrounds, crops, recipe.pairs, sizes, training.weights, symmetries
    )


def _pair_maker(
    bank: ViewBank,
    backgrounds: Tensor,
    crops: CropConfig,
    pairs: PairConfig,
    sizes: tuple[Tensor, Tensor, Tensor],
    weights: Tensor,
    symmetries: Tensor,
) -> Draw[PairBatch]:
    source = PairSource(bank, backgrounds, crops, pairs, sizes, weights=weights, symmetries=symmetries)

    def draw(seed: int, samples: int) -> PairBatch:
        source.generator.manual_seed(seed)
        return source.pair_batch(samples)

    return draw


TRIAL = Trial(
    {
        **TINY,
        "size": 32,
        "samples": 64,
        "network": {"widths": [8, 8], "blocks": [1, 1], "hidden": 8, "frozen": False},
    },
    settings={"search": {"directions": 12, "roll_step_deg": 90.0, "candidates": 6, "shortlist": 4, "compared": 2}},
)
