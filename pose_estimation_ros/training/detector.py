"""The recipe of the detector: Mask R-CNN trained on synthetic scenes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from pose_estimation_ros.detection.mask_rcnn import ROLE, build_network
from pose_estimation_ros.networks.mask_rcnn import CompactBackbone, MaskRCNNNetwork, load_coco_weights
from pose_estimation_ros.networks.precision import runs_bfloat16
from pose_estimation_ros.objects.bundle import Bundle, save_weights
from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer


class DetectorRecipe(BaseModel):
    """Everything that decides what the training does."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    samples: int = Field(default=12_000, ge=1)  # scenes seen
    input_width: int = Field(default=480, ge=64)  # to which camera images are resized at run time, pixels
    network: dict[str, Any] = {}  # keyword arguments of MaskRCNNNetwork
    encoder_from: Literal["pix2pose"] | None = "pix2pose"  # network of the bundle whose encoder starts ours
    encoder_rate: float = Field(default=0.3, ge=0.0)  # learning rate of the encoder, relative; 0 freezes it
    pretrained: bool = False  # start resnet50_fpn from torchvision's COCO weights
    optimiser: OptimiserConfig = OptimiserConfig(
        batch=6, learning_rate=2e-3, warmup_samples=600, weight_decay=1e-3, ema_samples=1500
    )


class SceneBatch(Protocol):
    """Images with the objects in them."""

    images: Tensor  # (B, 3, H, W) float in [0, 1]
    targets: list[dict[str, Tensor]]  # boxes (n, 4), labels (n,) object index + 1, masks (n, H, W) uint8

    def __len__(self) -> int: ...


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
    compact = architecture.get("backbone", "compact") == "compact"
    shared = compact and recipe.encoder_from in bundle.networks
    if shared:
        assert recipe.encoder_from is not None
        source = bundle.networks[recipe.encoder_from].architecture
        architecture = {**{key: source[key] for key in ("widths", "blocks") if key in source}, **architecture}
    network = build_network(bundle, architecture)
    if shared:
        assert recipe.encoder_from is not None
        _share_encoder(network, bundle.weights(recipe.encoder_from), f"{bundle.path}: network {recipe.encoder_from}")
    if recipe.pretrained:
        load_coco_weights(network)
    return network, {"classes": len(bundle.catalog), **architecture}


def _share_encoder(network: MaskRCNNNetwork, weights: Mapping[str, Tensor], where: str) -> None:
    prefix = "encoder."
    encoder = {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}
    assert isinstance(network.backbone, CompactBackbone)
    try:
        network.backbone.encoder.load_state_dict(encoder)
    except RuntimeError as error:
        raise ValueError(
            f"{where}: its encoder does not fit the detector's widths and blocks; "
            f"leave them out of the recipe or set encoder_from: null ({' '.join(str(error).split())[:200]})"
        ) from error


def _trunk(network: MaskRCNNNetwork) -> tuple[str, nn.Module]:
    """Return the part of the backbone that may come with trained weights, and the prefix of its names."""
    if isinstance(network.backbone, CompactBackbone):
        return "backbone.encoder.", network.backbone.encoder
    return "backbone.body.", network.backbone.body


class DetectorStep:
    """The loss of one batch."""

    def __init__(self, recipe: DetectorRecipe, device: torch.device) -> None:
        self.frozen = recipe.encoder_rate == 0.0
        self.bf16 = recipe.optimiser.bf16 and runs_bfloat16(device)
        self.device = device

    def __call__(self, network: nn.Module, batch: SceneBatch) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Return the sum of the losses and its parts."""
        assert isinstance(network, MaskRCNNNetwork)
        network.train()
        if self.frozen:
            _trunk(network)[1].eval()
        images = batch.images.to(self.device, non_blocking=True)
        targets = [{name: value.to(self.device) for name, value in target.items()} for target in batch.targets]
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            losses = network(images, targets)
        return sum(losses.values()), {name.removeprefix("loss_"): value.detach() for name, value in losses.items()}


def train_on_scenes(
    bundle: Bundle,
    recipe: DetectorRecipe,
    scenes: Iterator[SceneBatch],
    folder: Path,
    device: torch.device,
    resume: bool = False,
) -> Bundle:
    """Train the network on given scenes and write its weights into the bundle.

    Args:
        bundle: the objects; the weights are added to it.
        recipe: what to do.
        scenes: batches without end.
        folder: checkpoints and log.
        device: where to train.
        resume: go on from the last checkpoint.

    Returns:
        The bundle with the weights of an interrupted or a finished training, whichever it was.
    """
    torch.manual_seed(recipe.seed)
    network, architecture = new_network(bundle, recipe)
    network = network.to(device, memory_format=torch.channels_last)
    factors = {_trunk(network)[0]: recipe.encoder_rate}
    trainer = Trainer(network, recipe.optimiser, recipe.samples, folder, resume, rate_factors=factors)
    finished = trainer.train(scenes, DetectorStep(recipe, device), recipe.samples, ROLE)
    training = {
        "recipe": recipe.model_dump(mode="json"),
        "samples": trainer.samples,
        "seconds": round(trainer.seconds),
        "finished": finished,
        "images": "synthetic only, rendered from the meshes",
    }
    return save_weights(bundle, ROLE, trainer.averaged_state(), architecture, recipe.input_width, training)
