"""Recipe of the patch heatmaps: CAD meshes in, weights out, no real image and no need of occluders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from pose_estimation_ros.data.synthetic import CropBatch, CropConfig
from pose_estimation_ros.geometry.symmetry import symmetry_transforms
from pose_estimation_ros.networks.heatmap_net import CANVAS, PATCH, STRIDE, HeatmapNet, patch_centres
from pose_estimation_ros.networks.precision import runs_bfloat16
from pose_estimation_ros.objects.bundle import Bundle, save_weights
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.control_points import box_corners, farthest_points
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.training.crop_source import BankConfig, crop_batches, load_matching, object_weights, open_bank
from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer

ROLE = "heatmaps"
CORNERS = 8
_CELL = 4  # pixels per cell of the masks that come with the crops
_SYMMETRY_STEP_RAD = np.pi / 36.0


class HeatmapsRecipe(BaseModel):
    """Everything that decides what the training does."""

    model_config = ConfigDict(extra="forbid")

    seed: int = 0
    size: int = Field(default=128, ge=64)  # side of the crops, pixels
    samples: int = Field(default=500_000, ge=1)  # crops seen
    patches: int = Field(default=64, ge=1)  # patches of each crop that are trained on
    background: float = Field(default=0.25, ge=0.0)  # odds of a patch without the object, relative to one with it
    surface_points: int = Field(default=8, ge=0)  # control points on the surface, beside the corners of the box
    deviation_px: float = Field(default=8.0, gt=0.0)  # of the Gaussians in the targets
    least_visible: float = Field(default=0.1, gt=0.0)  # share of a patch that shows the object; less is background
    network: dict[str, Any] = {}  # keyword arguments of HeatmapNet
    initial: str | None = None  # bundle whose network gives the first weights
    optimiser: OptimiserConfig = OptimiserConfig(kind="muon", batch=32, learning_rate=1e-3)
    crops: CropConfig = CropConfig(masked_share=0.0)
    bank: BankConfig = BankConfig()
    object_weights: dict[str, float] = {}  # how often an object is drawn, relative to 1
    workers: int = 1


def control_points(bundle: Bundle, surface_points: int, mesh_dir: Path | None) -> Tensor:
    """Return the corners of every object's box and points on its surface, (O, 8 + surface_points, 3) in metres."""
    rows = []
    for index, model in enumerate(bundle.catalog):
        mesh = load_mesh(bundle.mesh_path(index, mesh_dir), model.mesh_unit, model.diameter_m)
        rows.append(np.concatenate([box_corners(model), farthest_points(mesh.vertices, surface_points)]))
    return torch.from_numpy(np.stack(rows)).float()


class CanonicalPoses:
    """Replaces the poses of symmetric objects by those that look the same and lie nearest to the camera's axes.

    The paper's family trains on one fundamental domain of rotations, so that the same picture never has two targets.
    """

    def __init__(self, catalog: Catalog, device: torch.device | str = "cpu") -> None:
        tables = []
        for model in catalog:
            continuous = [(item.axis, item.offset_m) for item in model.continuous_symmetries]
            tables.append(symmetry_transforms(model.discrete_symmetries, continuous, _SYMMETRY_STEP_RAD))
        most = max(len(table) for table in tables)
        padded = np.tile(np.eye(4), (len(tables), most, 1, 1))
        for index, table in enumerate(tables):
            padded[index, : len(table)] = table
        self.transforms = torch.from_numpy(padded).float().to(device)

    def __call__(self, poses: Tensor, object_index: Tensor) -> Tensor:
        """Return one of the equivalents of each pose (B, 4, 4)."""
        equivalent = poses[:, None] @ self.transforms[object_index]
        nearest = equivalent[:, :, :3, :3].diagonal(dim1=2, dim2=3).sum(dim=2).argmax(dim=1)
        return equivalent[torch.arange(len(poses), device=poses.device), nearest]


def target_profiles(pixels: Tensor, centres: Tensor, deviation_px: float) -> tuple[Tensor, Tensor]:
    """Return the rows and columns of Gaussians at the control points in the canvas of every patch.

    Args:
        pixels: projected control points in the crop, shape (B, K, 2).
        centres: centres of the patches in the crop, shape (B, N, 2).
        deviation_px: of the Gaussians.

    Returns:
        (B, N, K, CANVAS) down and across, whose products are the targets, peaks of 1. Zero where a point lies off the
        canvas, or so near to its rim that the part that is cut off would draw the sum of all patches inwards.
    """
    cells = (torch.arange(CANVAS, device=pixels.device) - (CANVAS - 1) / 2.0) * STRIDE
    offset = pixels[:, None, :, :] - centres[:, :, None, :]  # (B, N, K, 2)
    inside = offset.abs().amax(dim=-1) < CANVAS / 2.0 * STRIDE - 2.0 * deviation_px
    profiles = torch.exp(-0.5 * ((offset[..., None] - cells) / deviation_px) ** 2)
    return profiles[..., 1, :] * inside[..., None], profiles[..., 0, :]


def target_heatmaps(pixels: Tensor, centres: Tensor, deviation_px: float) -> Tensor:
    """Draw the targets of `target_profiles`, (B, N, K, CANVAS, CANVAS)."""
    down, across = target_profiles(pixels, centres, deviation_px)
    return down[..., :, None] * across[..., None, :]


class SquaredError(torch.autograd.Function):
    """Mean squared error against products of profiles, without a target in memory.

    The heatmaps of one batch are tens of millions of numbers; passing over them less often, in the precision of the
    network, makes a training step on a CPU three times as fast.
    """

    @staticmethod
    def forward(ctx: Any, predicted: Tensor, down: Tensor, across: Tensor) -> Tensor:
        """Compare (..., h, w) with down (..., h) times across (..., w)."""
        kind = predicted.dtype
        difference = torch.addcmul(predicted, down.to(kind)[..., :, None], across.to(kind)[..., None, :], value=-1.0)
        ctx.save_for_backward(difference)
        return torch.linalg.vector_norm(difference, dtype=torch.float32).square() / difference.numel()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the predictions alone."""
        (difference,) = ctx.saved_tensors
        return difference * (2.0 / difference.numel() * float(gradients[0])), None, None


def projected(points: Tensor, poses: Tensor, cameras: Tensor) -> Tensor:
    """Project points (B, K, 3) with poses (B, 4, 4) and intrinsics (B, 3, 3) to pixels (B, K, 2)."""
    in_camera = points @ poses[:, :3, :3].transpose(1, 2) + poses[:, None, :3, 3]
    homogeneous = in_camera @ cameras.transpose(1, 2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


class HeatmapsStep:
    """The loss of one batch: squared errors of single patches, see `HeatmapNet`."""

    def __init__(self, bundle: Bundle, recipe: HeatmapsRecipe, device: torch.device) -> None:
        self.recipe = recipe
        self.canonical = CanonicalPoses(bundle.catalog, device)
        self.bf16 = recipe.optimiser.bf16 and runs_bfloat16(device)
        self.device = device

    def __call__(self, network: nn.Module, batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts."""
        assert isinstance(network, HeatmapNet)
        images = batch.images.to(self.device, non_blocking=True).float().div_(255.0)
        index = batch.object_index.to(self.device)
        chosen, shows = self.choose(batch.mask_visible.to(self.device))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            predicted = network(images.to(memory_format=torch.channels_last), index, chosen)
        poses = self.canonical(batch.camera_from_object.to(self.device), index)
        pixels = projected(network.control_points[index], poses, batch.camera.to(self.device))
        line = patch_centres(images.shape[-1], self.device)
        centres = torch.stack([line[chosen % len(line)], line[chosen // len(line)]], dim=-1)
        down, across = target_profiles(pixels, centres, self.recipe.deviation_px)
        down = down * shows[:, :, None, None]
        loss = 100.0 * SquaredError.apply(predicted, down, across)
        return loss, self._figures(predicted[:2].detach().float(), down[:2], across[:2], shows[:2])

    @staticmethod
    def _figures(predicted: Tensor, down: Tensor, across: Tensor, shows: Tensor) -> dict[str, Tensor]:
        """Return the share of the targets that is explained, and the squared error of patches without the object."""
        target = down[..., :, None] * across[..., None, :]
        squared = (predicted - target).square().mean(dim=(2, 3, 4))
        power = target.square().mean(dim=(2, 3, 4))
        explained = 1.0 - (squared * shows).sum() / (power * shows).sum().clamp(min=1e-9)
        false = (squared * ~shows).sum() / (~shows).sum().clamp(min=1) * 100.0
        return {"explained": explained, "background": false}

    def choose(self, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Draw patches by what they show.

        Args:
            visible: masks (B, s, s), one cell per four pixels.

        Returns:
            Their numbers (B, N), and whether each shows the object (B, N).
        """
        share = F.avg_pool2d(visible[:, None].float(), PATCH // _CELL, STRIDE // _CELL).flatten(1)
        shows = share >= self.recipe.least_visible
        odds = torch.where(shows, 1.0, self.recipe.background + 1e-6)
        chosen = torch.multinomial(odds, min(self.recipe.patches, odds.shape[1]))
        return chosen, shows.gather(1, chosen)


def train_heatmaps(
    bundle: Bundle,
    recipe: HeatmapsRecipe,
    folder: Path,
    mesh_dir: Path | None = None,
    device: str = "cpu",
    resume: bool = False,
) -> Bundle:
    """Train the network and write its weights into the bundle.

    Args:
        bundle: objects and pose prior; the weights are added to it.
        recipe: what to do.
        folder: checkpoints and log; the bank of views is taken from `pix2pose` beside it where that has the same one.
        mesh_dir: where the meshes are that the bundle does not ship.
        device: cpu or cuda.
        resume: go on from the last checkpoint.

    Returns:
        The bundle with the weights of an interrupted or a finished training, whichever it was.
    """
    torch.manual_seed(recipe.seed)
    bank, backgrounds = open_bank(bundle, recipe.bank, recipe.seed, folder, mesh_dir, device)
    architecture = {"points": CORNERS + recipe.surface_points, **recipe.network}
    network = HeatmapNet(len(bundle.catalog), **architecture)
    if recipe.initial is not None:
        load_matching(network, recipe.initial, ROLE)
    network.control_points.copy_(control_points(bundle, recipe.surface_points, mesh_dir))
    network = network.to(device).to(memory_format=torch.channels_last).train()
    trainer = Trainer(network, recipe.optimiser, recipe.samples, folder, resume)
    crops = recipe.crops.model_copy(update={"roll_deg": bundle.pose_prior.roll_deg, "size": recipe.size})
    weights = object_weights(bundle, recipe.object_weights)
    seed = recipe.seed + trainer.samples  # a resumed run goes on with new crops
    batches = crop_batches(bank, backgrounds, crops, recipe.optimiser.batch, seed, weights, recipe.workers)
    step = HeatmapsStep(bundle, recipe, torch.device(device))
    finished = trainer.train(batches, step, recipe.samples, f"{ROLE} {recipe.size} px")
    training = trainer.record(recipe, finished)
    return save_weights(bundle, ROLE, trainer.averaged_state(), architecture, recipe.size, training)
