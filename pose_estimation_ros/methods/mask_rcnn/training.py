"""The recipe of the detector: Mask R-CNN trained on synthetic scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from pose_estimation_ros.data.scenes import SceneBatch, SceneConfig, SceneSource
from pose_estimation_ros.data.view_bank import ViewBank
from pose_estimation_ros.methods.mask_rcnn.detector import ROLE, build_network
from pose_estimation_ros.methods.mask_rcnn.network import (
    CompactBackbone,
    MaskRCNNNetwork,
    ResNet50Backbone,
    load_coco_weights,
)
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle, save_weights
from pose_estimation_ros.training.batch_stream import Draw, batch_stream
from pose_estimation_ros.training.crop_source import BankConfig, load_matching, open_bank
from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer, TrainingRun
from pose_estimation_ros.training.trial import TINY, Trial


class DetectorRecipe(BaseModel):
    """Everything that decides what the training does."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    samples: int = Field(default=12_000, ge=1)  # scenes seen
    input_width: int = Field(default=480, ge=64)  # to which camera images are resized at run time, pixels
    network: dict[str, Any] = {}  # keyword arguments of MaskRCNNNetwork
    encoder_from: Literal["pix2pose"] | None = "pix2pose"  # network of the bundle whose encoder starts ours
    initial: str | None = None  # bundle whose detector gives the first weights; wins over encoder_from
    encoder_rate: float = Field(default=0.3, ge=0.0)  # learning rate of the encoder, relative; 0 freezes it
    pretrained: bool = False  # start resnet50_fpn from torchvision's COCO weights
    optimiser: OptimiserConfig = OptimiserConfig(
        batch=6, learning_rate=2e-3, warmup_samples=600, weight_decay=1e-3, ema_samples=1500
    )
    scenes: SceneConfig = SceneConfig()
    bank: BankConfig = BankConfig()
    workers: int = Field(default=1, ge=0)  # processes that make scenes; 0 makes them in the training process


def new_network(bundle: Bundle, recipe: DetectorRecipe) -> tuple[MaskRCNNNetwork, dict[str, Any]]:
    """Build the network with its starting weights.

    Returns:
        The network, and the architecture to write into the bundle.

    Raises:
        BundleError: if the architecture is not understood.
        ValueError: if the encoder of the bundle's pix2pose network does not fit.
        OSError: if pretrained weights are wanted and cannot be read.
    """
    architecture = dict(recipe.network)
    encoder: dict[str, Tensor] = {}
    if recipe.encoder_from in bundle.networks and architecture.get("backbone", "compact") == "compact":
        encoder = encoder_weights(bundle, recipe.encoder_from)
        architecture = {**encoder_shape(encoder), **architecture}
    network = build_network(bundle, architecture)
    if encoder:
        assert isinstance(network.backbone, CompactBackbone)
        try:
            network.backbone.encoder.load_state_dict(encoder)
        except RuntimeError as error:
            raise ValueError(
                f"{bundle.path}: the encoder of network {recipe.encoder_from} does not fit the detector's widths and "
                f"blocks; leave them out of the recipe or set encoder_from: null ({' '.join(str(error).split())[:200]})"
            ) from error
    if recipe.pretrained:
        load_coco_weights(network)
    if recipe.initial is not None:
        load_matching(network, recipe.initial, ROLE)
    return network, {"classes": len(bundle.catalog), **architecture}


def encoder_weights(bundle: Bundle, role: str) -> dict[str, Tensor]:
    """Return the weights of a network's encoder, named as in `ResNetEncoder`."""
    prefix = "encoder."
    return {name[len(prefix) :]: value for name, value in bundle.weights(role).items() if name.startswith(prefix)}


def encoder_shape(weights: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Read widths and blocks of a `ResNetEncoder` off its weights."""
    blocks = [sum(f"stages.{level}.{block}.conv2.weight" in weights for block in range(99)) for level in range(4)]
    return {"widths": [len(weights[f"stages.{level}.0.conv2.weight"]) for level in range(4)], "blocks": blocks}


def _trunk(network: MaskRCNNNetwork) -> tuple[str, nn.Module]:
    """Return the part of the backbone that may come with trained weights, and the prefix of its names."""
    if isinstance(network.backbone, CompactBackbone):
        return "backbone.encoder.", network.backbone.encoder
    assert isinstance(network.backbone, ResNet50Backbone)
    return "backbone.body.", network.backbone.body


class DetectorStep:
    """The loss of one batch."""

    def __init__(self, recipe: DetectorRecipe, device: torch.device) -> None:
        self.frozen = recipe.encoder_rate == 0.0
        self.bf16 = recipe.optimiser.bf16
        self.device = device

    def __call__(self, network: nn.Module, batch: SceneBatch) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Return the sum of the losses and its parts."""
        assert isinstance(network, MaskRCNNNetwork)
        network.train()
        if self.frozen:
            _trunk(network)[1].eval()
        images = batch.images.to(self.device, non_blocking=True)
        targets = [{name: value.to(self.device) for name, value in target.items()} for target in batch.targets]
        with autocast(self.device, self.bf16):
            losses = network(images, targets)
        return sum(losses.values()), {name.removeprefix("loss_"): value.detach() for name, value in losses.items()}


def scene_maker(bank: ViewBank, backgrounds: Tensor, config: SceneConfig) -> Draw[SceneBatch]:
    """Return what makes training scenes from a seed, for `batch_stream`."""
    source = SceneSource(bank, backgrounds, config)

    def draw(seed: int, samples: int) -> SceneBatch:
        source.generator.manual_seed(seed)
        return source.batch(samples)

    return draw


def train_detector(run: TrainingRun, recipe: DetectorRecipe) -> Bundle:
    """Train the detector on synthetic scenes of the bundle's objects and write its weights into the bundle."""
    bundle, folder, device = run.bundle, run.folder, run.device
    bank, backgrounds = open_bank(bundle, recipe.bank, recipe.seed, folder, run.mesh_dir, device)
    prior = {"roll_deg": bundle.pose_prior.roll_deg, "distance_m": bundle.pose_prior.distance_m}
    make = partial(scene_maker, bank, backgrounds, recipe.scenes.model_copy(update=prior))

    def scenes(first: int) -> Iterator[SceneBatch]:
        return batch_stream(make, recipe.seed, first, recipe.optimiser.batch, recipe.workers, bank.surface.is_cuda)

    return train_on_scenes(bundle, recipe, scenes, folder, torch.device(device), run.resume)


def train_on_scenes(
    bundle: Bundle,
    recipe: DetectorRecipe,
    scenes: Callable[[int], Iterator[SceneBatch]],
    folder: Path,
    device: torch.device,
    resume: bool = False,
) -> Bundle:
    """Train the network on given scenes and write its weights into the bundle.

    Args:
        bundle: the objects; the weights are added to it.
        recipe: what to do.
        scenes: gives batches without end, from one of a given number on.
        folder: checkpoints and log.
        device: where to train.
        resume: go on from the last checkpoint.

    Returns:
        The bundle with the weights of an interrupted or a finished training, whichever it was.
    """
    torch.manual_seed(recipe.seed)
    network, architecture = new_network(bundle, recipe)
    network = network.to(device).to(memory_format=torch.channels_last)
    factors = {_trunk(network)[0]: recipe.encoder_rate}
    trainer = Trainer(network, recipe.optimiser, recipe.samples, folder, resume, factors, recipe, recipe.seed)
    finished = trainer.train(scenes(trainer.steps), DetectorStep(recipe, device), recipe.samples, ROLE)
    training = trainer.record(recipe, finished)
    return save_weights(bundle, ROLE, trainer.averaged_state(), architecture, recipe.input_width, training)


TRIAL = Trial(
    {
        **TINY,
        "samples": 8,
        "input_width": 96,
        "network": {"widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1], "channels": 8, "box_hidden": 16},
        "scenes": {"width": 96, "height": 72, "objects": [1, 2], "clutter": [0, 1], "focal_px": [90, 110]},
    }
)
