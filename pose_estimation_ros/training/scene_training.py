"""The recipe of Mask R-CNN, trained on synthetic scenes: as a detector of known objects, or of whatever there is."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from pose_estimation_ros.data.scenes import SceneBatch, SceneConfig, SceneSource
from pose_estimation_ros.data.view_bank import ViewBank
from pose_estimation_ros.geometry.transfer import to_device
from pose_estimation_ros.networks.mask_rcnn import MaskRCNNNetwork, load_coco_weights
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle, find_bundle, load_bundle
from pose_estimation_ros.training import processes
from pose_estimation_ros.training.batch_stream import Draw, batch_stream
from pose_estimation_ros.training.crop_source import (
    BankConfig,
    build_network,
    encoder_kind,
    load_matching,
    object_weights,
    open_bank,
    public_weights,
    refuse_arguments,
    refuse_other_encoder,
)
from pose_estimation_ros.training.encoder_recipe import EncoderRecipe, encoder_rates, keep_statistics
from pose_estimation_ros.training.growth import grown_weights
from pose_estimation_ros.training.pause import Pause
from pose_estimation_ros.training.pretrained import load_pretrained
from pose_estimation_ros.training.shared_batch import shared_count
from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer, TrainingRun
from pose_estimation_ros.training.trial import TINY

TABLE_ELEVATION_DEG = (5.0, 80.0)  # from which a camera looks at a table at most


@dataclass(frozen=True)
class Target:
    """What a network is trained to be."""

    role: str  # in the bundle
    classes: int  # that it tells apart


class DetectorRecipe(EncoderRecipe):
    """Everything that decides what the training does."""

    seed: int = 0
    samples: int = Field(default=12_000, ge=1)  # scenes seen
    input_width: int = Field(default=480, ge=64)  # to which camera images are resized at run time, pixels
    network: dict[str, Any] = Field(default={})  # keyword arguments of MaskRCNNNetwork
    encoder_from: Literal["pix2pose"] | None = "pix2pose"  # network of the bundle whose encoder starts ours
    initial: str | None = None  # bundle whose network of that role gives the first weights; wins over encoder_from
    # Network of `initial` that gives them, if it is another one: all our classes begin with what it knows of its one.
    initial_network: Literal["proposals"] | None = None
    encoder_rate: float = Field(default=0.3, ge=0.0)  # learning rate of the encoder, relative; 0 freezes it
    optimiser: OptimiserConfig = OptimiserConfig(
        batch=6, learning_rate=2e-3, warmup_samples=600, weight_decay=1e-3, ema_samples=1500
    )
    scenes: SceneConfig = SceneConfig()
    object_weights: dict[str, float] = Field(default={})  # how often objects are drawn, relative, by name; 1 if absent
    bank: BankConfig = BankConfig()
    workers: int = Field(default=1, ge=0)  # processes that make scenes; 0 makes them in the training process

    @field_validator("pretrained", mode="before")
    @classmethod
    def _was_boolean(cls, value: Any) -> Any:
        """Read what recipes said of torchvision's COCO weights before there were others."""
        return {True: "coco", False: None}[value] if isinstance(value, bool) else value


def new_network(
    bundle: Bundle, recipe: DetectorRecipe, target: Target
) -> tuple[MaskRCNNNetwork, dict[str, Any], dict[str, str]]:
    """Build the network with its starting weights.

    Returns:
        The network, the architecture to write into the bundle, and what is known of the public weights that it goes
        back to.

    Raises:
        ValueError: if the architecture is not understood, or the encoder of the bundle's pix2pose network, or of the
            initial one, does not fit.
        OSError: if pretrained weights are wanted and cannot be read.
    """
    refuse_arguments(recipe.network, {"classes": "follows from what is trained"})
    architecture = dict(recipe.network)
    shares = architecture.get("backbone", "compact") == "compact"
    parent = recipe.encoder_from if shares and recipe.encoder_from in bundle.networks else None
    if parent is not None:
        refuse_other_encoder(bundle, parent, architecture.get("encoder"), f"encoder_from = {parent!r}")
        architecture = {**encoder_shape(bundle, parent), **architecture}
    network = build_network(MaskRCNNNetwork, target.classes, **architecture)
    public: dict[str, str] = {}
    if recipe.pretrained == "coco":
        public = load_coco_weights(network)
    elif recipe.pretrained is not None:
        public = load_pretrained(_trunk(network)[1], recipe.pretrained)
    elif parent is not None:
        _load_encoder(_trunk(network)[1], bundle, parent)
        public = public_weights(bundle, parent)
    if recipe.initial is not None:
        other, role = load_bundle(find_bundle(recipe.initial)), recipe.initial_network or target.role
        kind = getattr(_trunk(network)[1], "kind", None)
        refuse_other_encoder(other, role, kind, f"initial = {recipe.initial!r}")
        if recipe.initial_network is None:
            load_matching(network, recipe.initial, role)
        else:
            _load_one_class(network, other, role)
        public = public_weights(other, role) or public
    return network, {"classes": target.classes, **architecture}, public


def _load_one_class(network: MaskRCNNNetwork, other: Bundle, role: str) -> None:
    """Load the weights of a network of one class, with its class for each of ours."""
    state, own = other.weights(role), network.state_dict()
    rows = {key: 1 for key, value in state.items() if key in own and own[key].shape != value.shape}
    try:
        network.load_state_dict(grown_weights(state, rows, 1, network.classes))
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{other.path}: network {role} does not fit; give the recipe its `network` "
            f"({' '.join(str(error).split())[:200]})"
        ) from error


def _load_encoder(encoder: nn.Module, bundle: Bundle, role: str) -> None:
    try:
        encoder.load_state_dict(encoder_weights(bundle, role))
    except RuntimeError as error:
        raise ValueError(
            f"{bundle.path}: the encoder of network {role} does not fit the detector's widths and blocks; leave them "
            f"out of the recipe or set encoder_from: null ({' '.join(str(error).split())[:200]})"
        ) from error


def encoder_weights(bundle: Bundle, role: str) -> dict[str, Tensor]:
    """Return the weights of a network's encoder, by their names in the encoder."""
    prefix = "encoder."
    return {name[len(prefix) :]: value for name, value in bundle.weights(role).items() if name.startswith(prefix)}


def encoder_shape(bundle: Bundle, role: str) -> dict[str, Any]:
    """Return the arguments of `make_encoder` for an encoder such as that of a network, sizes as its weights have."""
    kind = encoder_kind(bundle, role)
    if kind != "own":
        return {"encoder": kind}
    weights = encoder_weights(bundle, role)
    blocks = [sum(f"stages.{level}.{block}.conv2.weight" in weights for block in range(99)) for level in range(4)]
    return {"widths": [len(weights[f"stages.{level}.0.conv2.weight"]) for level in range(4)], "blocks": blocks}


def _trunk(network: MaskRCNNNetwork) -> tuple[str, nn.Module]:
    """Return the part of the backbone that may come with trained weights, and the prefix of its names."""
    name = network.backbone.trunk_name
    return f"backbone.{name}.", network.backbone.get_submodule(name)


class DetectorStep:
    """The loss of one batch."""

    def __init__(self, recipe: DetectorRecipe, device: torch.device) -> None:
        self.recipe = recipe
        self.bf16 = recipe.optimiser.bf16
        self.device = device

    def __call__(self, network: nn.Module, batch: SceneBatch) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Return the sum of the losses and its parts."""
        assert isinstance(network, MaskRCNNNetwork)
        network.train()
        keep_statistics(_trunk(network)[1], self.recipe, self.recipe.encoder_rate)
        images = to_device(batch.images, self.device)
        targets = [{name: to_device(value, self.device) for name, value in item.items()} for item in batch.targets]
        with autocast(self.device, self.bf16):
            losses = _losses(network, images, targets)
        return sum(losses.values()), {name.removeprefix("loss_"): value.detach() for name, value in losses.items()}


def _losses(network: MaskRCNNNetwork, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Any]:
    """Return the losses; those that are means over regions count for each process by how many it has."""
    if processes.count() == 1:
        return dict(network(images, targets))
    heads = {"box": network.roi_heads.box_predictor, "mask": network.roi_heads.mask_predictor}
    regions: dict[str, int] = {}

    def note(name: str) -> Callable[..., None]:
        return lambda _, inputs, output: regions.update({name: len(inputs[0])})

    hooks = [head.register_forward_hook(note(name)) for name, head in heads.items()]
    losses = network(images, targets)
    for hook in hooks:
        hook.remove()
    for loss, name in (("loss_classifier", "box"), ("loss_box_reg", "box"), ("loss_mask", "mask")):
        count = losses[loss].new_tensor(float(regions[name]))
        losses[loss] = losses[loss] * (count / shared_count(count))
    return losses


def scene_maker(
    bank: ViewBank,
    backgrounds: Tensor,
    config: SceneConfig,
    weights: Tensor | None = None,
    elevation_deg: tuple[float, float] = (-90.0, 90.0),
) -> Draw[SceneBatch]:
    """Return what makes training scenes from a seed, for `batch_stream`; see `SceneSource`."""
    lowest, highest = TABLE_ELEVATION_DEG
    low, high = (math.radians(min(max(value, lowest), highest)) for value in elevation_deg)
    source = SceneSource(bank, backgrounds, config, weights=weights, elevation=(low, high))

    def draw(seed: int, samples: int) -> SceneBatch:
        source.generator.manual_seed(seed)
        return source.batch(samples)

    return draw


def train_on_objects(run: TrainingRun, recipe: DetectorRecipe, target: Target) -> Bundle:
    """Train the network on synthetic scenes of the bundle's objects and write its weights into the bundle."""
    bundle, folder, device = run.bundle, run.folder, run.device
    bank, backgrounds = open_bank(bundle, recipe.bank, recipe.seed, folder, run.mesh_dir, device)
    # Objects are painted one after the other, each where the last ones left room: that is work for processors, as many
    # as there are, while a GPU trains.
    bank, backgrounds = bank.to("cpu"), backgrounds.cpu()
    workers = recipe.workers
    if device != "cpu":
        workers = min(workers, 1) * max(workers, (os.cpu_count() or 1) // processes.on_this_machine())
    prior = {"roll_deg": bundle.pose_prior.roll_deg, "distance_m": bundle.pose_prior.distance_m}
    make = partial(
        scene_maker,
        bank,
        backgrounds,
        recipe.scenes.model_copy(update=prior),
        object_weights(bundle, recipe.object_weights),
        bundle.pose_prior.elevation_deg,
    )

    def scenes(first: int) -> Iterator[SceneBatch]:
        return batch_stream(make, recipe.seed, first, recipe.optimiser.batch, workers, chunk=1)

    return train_on_scenes(bundle, recipe, target, scenes, folder, torch.device(device), run.resume, run.pause)


def train_on_scenes(
    bundle: Bundle,
    recipe: DetectorRecipe,
    target: Target,
    scenes: Callable[[int], Iterator[SceneBatch]],
    folder: Path,
    device: torch.device,
    resume: bool = False,
    pause: Pause | None = None,
) -> Bundle:
    """Train the network on given scenes and write its weights into the bundle.

    Args:
        bundle: the objects; the weights are added to it.
        recipe: what to do.
        target: what the network is to be.
        scenes: gives batches without end, from one of a given number on.
        folder: checkpoints and log.
        device: where to train.
        resume: go on from the last checkpoint.
        pause: where to stop, to go on later.

    Returns:
        The bundle with the weights of an interrupted or a finished training, whichever it was.
    """
    torch.manual_seed(recipe.seed)
    network, architecture, public = new_network(bundle, recipe, target)
    network = network.to(device).to(memory_format=torch.channels_last)
    prefix, trunk = _trunk(network)
    factors = encoder_rates(trunk, recipe, recipe.encoder_rate, prefix)
    trainer = Trainer(network, recipe.optimiser, recipe.samples, folder, resume, factors, recipe, recipe.seed, pause)
    finished = trainer.train(scenes(trainer.steps), DetectorStep(recipe, device), recipe.samples, target.role)
    training = trainer.record(recipe, finished, public)
    return trainer.save_weights(bundle, target.role, architecture, recipe.input_width, training)


# Keys of the recipe for a training of seconds.
TINY_RECIPE: Mapping[str, Any] = {
    **TINY,
    "samples": 8,
    "input_width": 96,
    "network": {"widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1], "channels": 8, "box_hidden": 16},
    "scenes": {"width": 96, "height": 72, "objects": [1, 2], "clutter": [0, 1], "focal_px": [90, 110]},
}
