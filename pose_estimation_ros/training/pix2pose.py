"""Recipe of the dense coordinate network: CAD meshes in, weights out, no real image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.clutter import clutter_meshes
from pose_estimation_ros.data.synthetic import CropBatch, CropConfig, CropSource
from pose_estimation_ros.data.view_bank import ViewBank, build_view_bank
from pose_estimation_ros.networks.pix2pose_net import Pix2PoseNet
from pose_estimation_ros.networks.placement import placement_of
from pose_estimation_ros.objects.bundle import Bundle, find_bundle, load_bundle, save_weights
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.training.losses import (
    coordinate_losses,
    nearest_symmetric_target,
    placement_loss,
    symmetry_table,
)
from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer

ROLE = "pix2pose"


class Stage(BaseModel):
    """A part of the training at one crop size."""

    model_config = ConfigDict(extra="forbid")

    size: int
    samples: int


class BankConfig(BaseModel):
    """The bank of views."""

    model_config = ConfigDict(extra="forbid")

    views: int = 1500
    clutter: int = 24
    clutter_views: int = 40
    size: int = 112
    backgrounds: int = 300
    background_folder: Path | None = None


class LossWeights(BaseModel):
    """Weights of the loss terms."""

    model_config = ConfigDict(extra="forbid")

    bins: float = 1.0
    l1: float = 2.0
    error: float = 1.0
    mask: float = 1.0
    classes: float = 0.1
    placement: float = 0.1


class Pix2PoseRecipe(BaseModel):
    """Everything that decides what the training does."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    stages: list[Stage] = [
        Stage(size=64, samples=250_000),
        Stage(size=96, samples=300_000),
        Stage(size=128, samples=100_000),
    ]
    network: dict[str, Any] = {}  # keyword arguments of Pix2PoseNet
    initial: str | None = None  # bundle whose network gives the first weights
    optimiser: OptimiserConfig = OptimiserConfig()
    crops: CropConfig = CropConfig()
    bank: BankConfig = BankConfig()
    losses: LossWeights = LossWeights()
    object_weights: dict[str, float] = {}  # how often an object is drawn, relative to 1: more for the harder ones
    workers: int = 1  # processes that make crops; 0 makes them in the training process


def load_bank(
    bundle: Bundle, config: BankConfig, seed: int, folder: Path, mesh_dir: Path | None, device: str
) -> ViewBank:
    """Build the bank of a bundle's objects, or read it from the folder where an earlier run left the same one."""
    paths = [bundle.mesh_path(index, mesh_dir) for index in range(len(bundle.catalog))]
    identity = [
        config.model_dump_json(exclude={"backgrounds", "background_folder"}),
        bundle.pose_prior.model_dump_json(),
    ]
    identity += [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] + [str(seed)]
    key = hashlib.sha256("".join(identity).encode()).hexdigest()[:16]
    file = folder / f"views_{key}.pt"
    if file.is_file():
        return ViewBank.load(file).to(device)
    meshes = [
        load_mesh(path, model.mesh_unit, model.diameter_m) for path, model in zip(paths, bundle.catalog, strict=True)
    ]
    clutter = clutter_meshes(config.clutter, seed)
    bank = build_view_bank(
        list(bundle.catalog),
        meshes,
        bundle.pose_prior,
        config.views,
        clutter,
        config.clutter_views,
        config.size,
        seed,
        device,
    )
    bank.save(file)
    return bank


class _Endless(torch.utils.data.IterableDataset):
    """Crops for DataLoader workers, a different stream for each."""

    def __init__(
        self, bank: ViewBank, backgrounds: Tensor, config: CropConfig, batch: int, seed: int, weights: Tensor
    ) -> None:
        self.arguments = (bank, backgrounds, config)
        self.weights = weights
        self.batch = batch
        self.seed = seed

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        source = CropSource(*self.arguments, self.seed * 1000 + (worker.id if worker else 0), self.weights)
        while True:
            yield _joined([source.batch(min(16, self.batch)) for _ in range(max(1, self.batch // 16))])


def _joined(parts: list[CropBatch]) -> dict[str, Tensor]:
    """Join small batches; small ones stay in the processor's cache while they are made."""
    return {field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(CropBatch)}


def crop_batches(
    bank: ViewBank, backgrounds: Tensor, config: CropConfig, batch: int, seed: int, weights: Tensor, workers: int
) -> Iterator[CropBatch]:
    """Yield training crops without end, made by worker processes on a CPU or in this process on a GPU."""
    if bank.surface.is_cuda:
        source = CropSource(bank, backgrounds, config, seed, weights)
        while True:
            yield source.batch(batch)
    dataset = _Endless(bank, backgrounds, config, batch, seed, weights)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=workers, prefetch_factor=6 if workers else None
    )
    for item in loader:
        yield CropBatch(**item)


class Pix2PoseStep:
    """The loss of one batch."""

    def __init__(self, bundle: Bundle, recipe: Pix2PoseRecipe, device: torch.device) -> None:
        self.table = symmetry_table(bundle.catalog, device)
        self.weights = recipe.losses.model_dump()
        self.centre = torch.tensor(np.stack([model.centre_m for model in bundle.catalog])).float().to(device)
        self.diameter = torch.tensor([model.diameter_m for model in bundle.catalog]).float().to(device)
        self.bf16 = recipe.optimiser.bf16
        self.device = device

    def __call__(self, network: nn.Module, batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss and its parts."""
        assert isinstance(network, Pix2PoseNet)
        images = batch.images.to(self.device, non_blocking=True).float().div_(255.0)
        images = images.to(memory_format=torch.channels_last)
        index = batch.object_index.to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            features = network.encoder(images)
            maps = network.decode(features, index)
        full, visible = batch.mask_full.to(self.device), batch.mask_visible.to(self.device)
        target = nearest_symmetric_target(maps.coordinates, batch.coordinates.to(self.device), full, index, self.table)
        losses = coordinate_losses(maps, target, full, visible)
        losses["classes"] = nn.functional.cross_entropy(network.classify(features), index)
        if maps.placement is not None:
            losses["placement"] = placement_loss(maps.placement, self.placement(batch, index))
        total = sum(self.weights[key] * value for key, value in losses.items())
        return total, {key: value.detach() for key, value in losses.items()}

    def placement(self, batch: CropBatch, index: Tensor) -> Tensor:
        """Return where the middles of the objects (B,) are and how large they appear, shape (B, 3)."""
        pose = batch.camera_from_object.to(self.device)
        centre = torch.einsum("bij,bj->bi", pose[:, :3, :3], self.centre[index]) + pose[:, :3, 3]
        return placement_of(centre, batch.camera.to(self.device), self.diameter[index], batch.images.shape[-1])


def train_pix2pose(
    bundle: Bundle,
    recipe: Pix2PoseRecipe,
    folder: Path,
    mesh_dir: Path | None = None,
    device: str = "cpu",
    resume: bool = False,
) -> Bundle:
    """Train the network and write its weights into the bundle.

    Args:
        bundle: objects and pose prior; the weights are added to it.
        recipe: what to do.
        folder: checkpoints, log and the bank of views.
        mesh_dir: where the meshes are that the bundle does not ship.
        device: cpu or cuda.
        resume: go on from the last checkpoint.

    Returns:
        The bundle with the weights of an interrupted or a finished training, whichever it was.
    """
    torch.manual_seed(recipe.seed)
    bank = load_bank(bundle, recipe.bank, recipe.seed, folder, mesh_dir, device)
    backgrounds = background_pool(recipe.bank.backgrounds, seed=recipe.seed, folder=recipe.bank.background_folder)
    backgrounds = backgrounds.to(bank.surface.device)
    network = Pix2PoseNet(len(bundle.catalog), **recipe.network)
    if recipe.initial is not None:
        load_matching(network, recipe.initial, ROLE)
    network = network.to(device).to(memory_format=torch.channels_last).train()
    total = sum(stage.samples for stage in recipe.stages)
    trainer = Trainer(network, recipe.optimiser, total, folder, resume)
    step = Pix2PoseStep(bundle, recipe, torch.device(device))
    crops = recipe.crops.model_copy(update={"roll_deg": bundle.pose_prior.roll_deg})
    weights = object_weights(bundle, recipe.object_weights)
    finished, until = True, 0
    for stage in recipe.stages:
        until += stage.samples
        if trainer.samples >= until:
            continue
        config = crops.model_copy(update={"size": stage.size})
        seed = recipe.seed + trainer.samples  # a resumed run goes on with new crops
        batches = crop_batches(bank, backgrounds, config, recipe.optimiser.batch, seed, weights, recipe.workers)
        finished = trainer.train(batches, step, until, f"{ROLE} {stage.size} px")
        if not finished:
            break
    return export(bundle, recipe, trainer, finished)


def object_weights(bundle: Bundle, by_name: dict[str, float]) -> Tensor:
    """Return how often each object is drawn, shape (O,), 1 where nothing is said.

    Raises:
        ValueError: if a name is not in the catalog or a weight is not positive.
    """
    weights = torch.ones(len(bundle.catalog))
    for name, weight in by_name.items():
        index = bundle.catalog.index_of_name(name)
        if index is None or not weight > 0.0:
            raise ValueError(f"object_weights: {name} = {weight!r}: expected a known object and a positive number")
        weights[index] = weight
    return weights


def export(bundle: Bundle, recipe: Pix2PoseRecipe, trainer: Trainer, finished: bool) -> Bundle:
    """Write the averaged weights with the recipe that made them."""
    size = size_reached(recipe, trainer.samples)
    training = trainer.record(recipe, finished)
    return save_weights(bundle, ROLE, trainer.averaged_state(), recipe.network, size, training)


def size_reached(recipe: Pix2PoseRecipe, samples: int) -> int:
    """Return the crop side of the stage that saw the last of so many samples: what the weights are good for."""
    until = 0
    for stage in recipe.stages:
        until += stage.samples
        if samples <= until:
            return stage.size
    return recipe.stages[-1].size


def load_matching(network: nn.Module, bundle_name: str, role: str) -> None:
    """Copy from a bundle's network all weights whose names and shapes fit (of other objects: all but their own)."""
    state = load_bundle(find_bundle(bundle_name)).weights(role)
    own = network.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    if not fitting:
        raise ValueError(f"initial bundle {bundle_name!r}: no weights fit this network")
    network.load_state_dict(fitting, strict=False)
