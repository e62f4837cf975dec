"""Recipe of neural mesh models: CAD meshes in, features of images and of vertices out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pose_estimation_ros.data.synthetic import STRIDE, CropBatch, CropConfig
from pose_estimation_ros.geometry.camera import project_points
from pose_estimation_ros.geometry.transfer import rows_to_visit, to_device
from pose_estimation_ros.methods.nemo.mesh_table import mesh_table
from pose_estimation_ros.methods.nemo.meshes import NeuralMesh, Shape, neural_meshes
from pose_estimation_ros.methods.nemo.network import MeshTable, NemoNet, sample_features
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.object_tensors import catalog_symmetries
from pose_estimation_ros.training.adaptation import Adaptation
from pose_estimation_ros.training.crop_source import build_network
from pose_estimation_ros.training.crop_training import CropRecipe, CropTraining
from pose_estimation_ros.training.shared_batch import draw_columns, gathered, shared_count, shared_sum
from pose_estimation_ros.training.trainer import OptimiserConfig, TrainingRun
from pose_estimation_ros.training.trial import TINY, Trial

ROLE = "nemo"
_SYMMETRY_STEP_RAD = torch.pi  # discrete symmetries alone: round objects show the camera the same side in all crops
_RIGHT = 0.1  # a match so near to the true vertex, in diameters, is logged as right


class NemoRecipe(CropRecipe):
    """Everything that decides what the training does."""

    size: int = Field(default=96, ge=64, multiple_of=32)  # side of the crops, pixels
    samples: int = Field(default=200_000, ge=1)  # crops seen
    shape: Shape = "detailed"  # of the meshes that carry features: cuboid, multi (one per instance), detailed
    vertices: int = Field(default=1000, ge=8)  # about so many on each mesh
    directions: int = Field(default=256, ge=16)  # of the table of what is seen from where
    contrastive: bool = True  # features of a vertex must differ from those of all others; else only keep to their own
    temperature: float = Field(default=0.07, gt=0.0)
    exclusion: float = Field(default=0.04, ge=0.0)  # vertices nearer than so many diameters need not differ
    chosen: int = Field(default=64, ge=1)  # vertices per crop that the loss looks at
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)  # of the vertices' features, per batch
    clutter_cells: int = Field(default=8, ge=1)  # cells per crop that show no object
    clutter_share: float = Field(default=0.005, gt=0.0)  # odds of a feature of the clutter, relative to a vertex
    clutter_weight: float = Field(default=0.3, ge=0.0)  # of the loss that keeps clutter unlike all vertices
    network: dict[str, Any] = Field(default={"stride": 4})  # keyword arguments of NemoNet
    encoder_from: str | None = "pix2pose"  # network of the bundle whose encoder and decoder start ours, if it has one
    optimiser: OptimiserConfig = OptimiserConfig(kind="muon", batch=32, learning_rate=1e-3, warmup_samples=4000)
    crops: CropConfig = CropConfig(masked_share=0.0)


class NemoStep:
    """The loss of one batch; it also moves the features of the vertices and of the clutter towards what was seen.

    Args:
        bundle: the objects.
        recipe: weights and thresholds.
        network: knows the meshes.
        device: where it runs.
    """

    def __init__(self, bundle: Bundle, recipe: NemoRecipe, network: NemoNet, device: torch.device) -> None:
        self.recipe = recipe
        self.device = device
        self.bf16 = recipe.optimiser.bf16
        vertices, owner = network.vertices.cpu().float(), network.owner.cpu()
        diameter = torch.tensor([model.diameter_m for model in bundle.catalog])[owner]
        self.diameter = diameter.to(device)
        distance = torch.cdist(vertices, vertices)
        self.near = (distance < recipe.exclusion * diameter[:, None, None]).to(device)
        self.partner = _partners(bundle, vertices, network.normals.cpu().float(), owner, diameter).to(device)
        shared = recipe.shape == "cuboid"
        counts = [1 + len(model.instances) for model in bundle.catalog]
        flat = [index for index, count in enumerate(counts) for _ in range(count)]
        # Which mesh the instances of the bundle are trained on.
        self.mesh_of_instance = torch.tensor(flat if shared else list(range(len(flat))), device=device)

    def __call__(self, network: nn.Module, batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts."""
        return self.loss(network, self.features(network, batch), batch)

    def features(self, network: nn.Module, batch: CropBatch) -> list[Tensor]:
        """Return what a mapping would map."""
        assert isinstance(network, NemoNet)
        images = to_device(batch.images, self.device).float().div_(255.0)
        with autocast(self.device, self.bf16):
            return network.encode(images.to(memory_format=torch.channels_last))

    def loss(self, network: nn.Module, seen: Sequence[Tensor], batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of what the encoder saw, and its parts."""
        assert isinstance(network, NemoNet)
        recipe = self.recipe
        index, pose = to_device(batch.object_index, self.device), to_device(batch.camera_from_object, self.device)
        mesh = self.mesh_of_instance[to_device(batch.mesh_index, self.device)]
        with autocast(self.device, self.bf16):
            features = network.decode(seen, index)
        pixels = project_points(network.vertices[mesh], pose, to_device(batch.camera, self.device))
        weights = network.view_weights(mesh, pose) * shown_at(to_device(batch.mask_visible, self.device), pixels)
        with torch.no_grad():
            found = F.normalize(sample_features(features, pixels, network.stride), dim=2)
        target = self.targets(network.bank, mesh, found, weights)
        clutter = self._clutter(features, batch)
        chosen = draw_columns(weights + 1e-9, min(recipe.chosen, weights.shape[1]))
        counts = (weights.gather(1, chosen) > 0.0).float()
        places = pixels.gather(1, chosen[..., None].expand(-1, -1, 2))
        rows = F.normalize(sample_features(features, places, network.stride), dim=2)
        labels = target.gather(1, chosen)
        loss, figures = self.compare(network, mesh, rows, labels, counts)
        unlike, told = self._tell_apart(network, mesh, clutter)
        remember(network, mesh, found, weights, target, recipe.momentum)
        network.clutter.copy_(
            torch.cat([gathered(clutter.detach()).flatten(0, 1), network.clutter])[: len(network.clutter)]
        )
        parts = {"match": loss.detach(), "unlike": unlike.detach(), "clutter": told}
        return loss + recipe.clutter_weight * unlike, {**parts, **figures}

    def _tell_apart(self, network: NemoNet, mesh: Tensor, clutter: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of clutter (B, K, C) among all vertices and the clutter, and the share told right.

        The paper only pushes it away from the vertices; being alike is what lets one feature stand for all clutter.
        """
        vertices = torch.einsum("bkc,bvc->bkv", clutter, network.bank[mesh])
        vertices = vertices.masked_fill(network.is_real[mesh][:, None] == 0, -1.0)
        own = clutter @ network.background
        told = (own > vertices.amax(dim=2)).float().mean()
        logits = torch.cat([vertices, own[..., None]], dim=2) / self.recipe.temperature
        return (torch.logsumexp(logits, dim=2) - logits[..., -1]).mean(), told.detach()

    def compare(
        self, network: NemoNet, mesh: Tensor, rows: Tensor, labels: Tensor, counts: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return how unlike their vertices features (B, K, C) with labels (B, K) are, those that count."""
        recipe, bank = self.recipe, network.bank[mesh]
        similarity = torch.einsum("bkc,bvc->bkv", rows, bank)
        own = similarity.gather(2, labels[..., None])[..., 0]
        total = shared_count(counts.sum())
        with torch.no_grad():
            best = similarity.masked_fill(network.is_real[mesh][:, None] == 0, -1.0).argmax(dim=2)
            apart = network.vertices[mesh[:, None], labels] - network.vertices[mesh[:, None], best]
            right = apart.norm(dim=2) < _RIGHT * self.diameter[mesh][:, None]
            beats = own > rows @ network.background
            figures = {
                "right": (right * counts).sum() / total,
                "object": (beats * counts).sum() / total,
            }
        if not recipe.contrastive:
            return ((1.0 - own) * counts).sum() / total, figures
        keep_out = self.near[mesh[:, None], labels] | (network.is_real[mesh][:, None] == 0)
        keep_out = keep_out.scatter(2, labels[..., None], False)
        vertices = (similarity / recipe.temperature).masked_fill(keep_out, -1e4)
        others = rows @ network.clutter.clone().T / recipe.temperature + torch.log(
            rows.new_tensor(recipe.clutter_share)
        )
        logits = torch.cat([vertices, others], dim=2)
        entropy = torch.logsumexp(logits, dim=2) - own / recipe.temperature
        return (entropy * counts).sum() / total, figures

    @torch.no_grad()
    def targets(self, bank: Tensor, mesh: Tensor, found: Tensor, weights: Tensor) -> Tensor:
        """Return whose features those at the vertices (B, V) should be.

        Their own, or those of the vertices that a symmetry of the object puts in the same places, whichever fits the
        picture as a whole better.
        """
        partners = self.partner[mesh]  # (B, S, V)
        if partners.shape[1] == 1:
            return partners[:, 0]
        fits = []
        for number in range(partners.shape[1]):
            moved = bank[mesh[:, None], partners[:, number]]
            fits.append(((found * moved).sum(dim=2) * weights).sum(dim=1))
        best = torch.stack(fits, dim=1).argmax(dim=1)
        return partners[torch.arange(len(mesh), device=mesh.device), best]

    def _clutter(self, features: Tensor, batch: CropBatch) -> Tensor:
        """Return features (B, K, C) of random cells that show no part of the object, occluders among them."""
        visible = to_device(batch.mask_visible, self.device)[:, None].float()
        cells = F.adaptive_max_pool2d(visible, features.shape[2:]).flatten(1)
        pick = draw_columns((cells == 0.0).float() + 1e-9, self.recipe.clutter_cells)
        return features.flatten(2).transpose(1, 2).gather(1, pick[..., None].expand(-1, -1, features.shape[1]))


def _partners(bundle: Bundle, vertices: Tensor, normals: Tensor, owner: Tensor, diameter: Tensor) -> Tensor:
    """Return for every symmetry of the owner where it takes each vertex, (M, S, V): the nearest one there.

    The faces of a cuboid have vertices of their own at the edges; of those in one place the normal tells which it is.
    """
    symmetries = catalog_symmetries(bundle.catalog, _SYMMETRY_STEP_RAD).float()[owner]
    tables = []
    for number, points in enumerate(vertices):
        turn, shift = symmetries[number, :, :3, :3].transpose(1, 2), symmetries[number, :, None, :3, 3]
        slant = 0.01 * diameter[number] * normals[number]
        moved = torch.cat([points @ turn + shift, slant @ turn], dim=2)
        there = torch.cat([points, slant], dim=1)
        tables.append(torch.stack([torch.cdist(item, there).argmin(dim=1) for item in moved]))
    return torch.stack(tables)


def shown_at(mask: Tensor, pixels: Tensor) -> Tensor:
    """Tell where a mask (B, s, s) of cells of STRIDE pixels is set, at pixels (B, N, 2); 0 or 1, shape (B, N)."""
    side = mask.shape[1]
    cell = torch.floor((pixels + 0.5) / STRIDE).nan_to_num(-1.0)
    inside = ((cell >= 0) & (cell < side)).all(dim=2)
    cell = cell.clamp(0, side - 1).long()
    return (mask.flatten(1).gather(1, cell[..., 1] * side + cell[..., 0]) & inside).float()


@torch.no_grad()
def remember(network: NemoNet, mesh: Tensor, found: Tensor, weights: Tensor, target: Tensor, momentum: float) -> None:
    """Move the features of vertices towards what was found in a batch, by all processes.

    Args:
        network: its `bank` (M, V, C) and `seen` change.
        mesh: shape (B,).
        found: features at the vertices (B, V, C).
        weights: how well each is seen (B, V).
        target: whose feature each is (B, V).
        momentum: share that stays.
    """
    vertices = network.bank.shape[1]
    place = (mesh[:, None] * vertices + target).flatten()
    bank, seen = network.bank.flatten(0, 1), network.seen.flatten()
    total = torch.zeros_like(bank).index_add_(0, place, (found * weights[..., None]).flatten(0, 1))
    weight = torch.zeros(len(bank), device=bank.device).index_add_(0, place, weights.flatten())
    total, weight = shared_sum(total), shared_sum(weight)
    rows = rows_to_visit(weight > 0.0)
    is_found = weight[rows] > 0.0
    mean = total[rows] / torch.where(is_found, weight[rows], 1.0)[:, None]
    keep = torch.where(seen[rows, None] > 0, momentum, 0.0)
    bank[rows] = torch.where(is_found[:, None], F.normalize(keep * bank[rows] + (1.0 - keep) * mean, dim=1), bank[rows])
    seen[rows] += is_found


def bundle_meshes(
    bundle: Bundle, shape: Shape, vertices: int, mesh_dir: Path | None
) -> tuple[list[NeuralMesh], list[int]]:
    """Return the neural meshes of a bundle and whose they are."""
    meshes, owner = [], []
    for index, instances in enumerate(bundle.load_instances(mesh_dir)):
        mine = neural_meshes(instances, shape, vertices)
        meshes += mine
        owner += [index] * len(mine)
    return meshes, owner


def train_nemo(run: TrainingRun, recipe: NemoRecipe) -> Bundle:
    """Train the network and write its weights into the bundle."""
    bundle = run.bundle
    training = CropTraining(run, recipe, ROLE)
    table = MeshTable(
        **mesh_table(*bundle_meshes(bundle, recipe.shape, recipe.vertices, run.mesh_dir), recipe.directions)
    )
    architecture = {
        "meshes": table.vertices.shape[0],
        "vertices": table.vertices.shape[1],
        "faces": table.faces.shape[1],
        "directions": recipe.directions,
        **recipe.network,
    }
    network = build_network(NemoNet, len(bundle.catalog), **architecture)
    training.load_start(network, recipe.encoder_from)
    network.set_meshes(table)
    trainer = training.trainer(network, recipe.samples)
    step = NemoStep(bundle, recipe, network, training.device)
    return training.finish(trainer, step, recipe.size, recipe.samples, architecture)


ADAPTATION = Adaptation(
    ROLE,
    NemoNet,
    lambda training, recipe, network: NemoStep(training.run.bundle, recipe, network, training.device),
)
TRIAL = Trial(
    {
        **TINY,
        "size": 64,
        "samples": 64,
        "vertices": 40,
        "directions": 16,
        "network": {"widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1]},
    },
    settings={"grid_directions": 40},
)
