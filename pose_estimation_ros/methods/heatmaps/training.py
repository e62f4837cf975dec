"""Recipe of the patch heatmaps: CAD meshes in, weights out, no real image and no need of occluders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pose_estimation_ros.data.synthetic import CropBatch, CropConfig
from pose_estimation_ros.geometry.camera import project_points
from pose_estimation_ros.geometry.transfer import to_device
from pose_estimation_ros.networks.heatmap_net import (
    CANVAS,
    CELL,
    DEVIATION,
    PATCH,
    STRIDE,
    VOTE_MASS,
    HeatmapNet,
    patch_centres,
)
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.control_points import CORNERS, box_corners, farthest_points
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.outline import OUTLINE_POINTS, outlines
from pose_estimation_ros.training.adaptation import Adaptation
from pose_estimation_ros.training.canonical_poses import CanonicalPoses
from pose_estimation_ros.training.crop_source import build_network, refuse_arguments
from pose_estimation_ros.training.crop_training import CropRecipe, CropTraining
from pose_estimation_ros.training.shared_batch import draw_columns
from pose_estimation_ros.training.trainer import OptimiserConfig, TrainingRun
from pose_estimation_ros.training.trial import TINY, Trial

ROLE = "heatmaps"
_MASK_CELL = 4  # pixels per cell of the masks that come with the crops
_SEEN = PATCH - STRIDE  # pixels a side that a cell of the convolutions before the last one sees
_TAKEN = {
    "points": "follows from surface_points",
    "padding": "is crops.padding",
    "outline": "is always there",
}  # arguments of the network that are not the recipe's to give


class HeatmapsRecipe(CropRecipe):
    """Everything that decides what the training does."""

    size: int = Field(default=128, ge=64)  # side of the crops, pixels
    samples: int = Field(default=500_000, ge=1)  # crops seen
    patches: int = Field(default=64, ge=1)  # patches of each crop that are trained on
    background: float = Field(default=0.25, ge=0.0)  # odds of a patch without the object, relative to one with it
    surface_points: int = Field(default=8, ge=0)  # control points on the surface, beside the corners of the box
    # Share of the steps that train the points on the surface; all others train the corners, and steps are cheaper so.
    # Without a share every step trains all points.
    surface_share: float | None = Field(default=None, ge=0.0, le=1.0)
    entropy: float = Field(default=0.25, ge=0.0)  # weight of the cross-entropy of the votes
    squared: float = Field(default=1.0, ge=0.0)  # weight of the squared error of the heatmaps
    encoder_from: str | None = "pix2pose"  # network of the bundle whose encoder trunk `encoder` starts from
    min_visible: float = Field(default=0.1, gt=0.0)  # share of a patch's window with the object; less: background
    optimiser: OptimiserConfig = OptimiserConfig(kind="muon", batch=16, learning_rate=1e-3)
    crops: CropConfig = CropConfig(padding=2.0, image_side_px=(60, 270), masked_share=0.0)


def control_points(bundle: Bundle, meshes: Sequence[Mesh], surface_points: int) -> Tensor:
    """Return the corners of every object's box and points on its surface, (O, 8 + surface_points, 3) in metres."""
    rows = []
    for model, mesh in zip(bundle.catalog, meshes, strict=True):
        rows.append(np.concatenate([box_corners(model), farthest_points(mesh.vertices, surface_points)]))
    return torch.from_numpy(np.stack(rows)).float()


def target_heatmaps(pixels: Tensor, centres: Tensor, canvas: int = CANVAS) -> Tensor:
    """Draw Gaussians at the control points in the canvas of every patch.

    Args:
        pixels: projected control points in the crop, shape (B, K, 2).
        centres: centres of the patches in the crop, shape (B, N, 2).
        canvas: cells a side.

    Returns:
        (B, N, K, canvas, canvas), peaks of 1. Zero where a point lies off the canvas, or so near to its rim that the
        part that is cut off would draw the sum of all patches inwards.
    """
    cells = (torch.arange(canvas, device=pixels.device) - (canvas - 1) / 2.0) * CELL
    offset = pixels[:, None, :, :] - centres[:, :, None, :]  # (B, N, K, 2)
    inside = offset.abs().amax(dim=-1) < canvas / 2.0 * CELL - 2.0 * DEVIATION
    profiles = torch.exp(-0.5 * ((offset[..., None] - cells) / DEVIATION) ** 2)
    return profiles[..., 1, :, None] * (profiles[..., 0, None, :] * inside[..., None, None])


def target_votes(pixels: Tensor, centres: Tensor, shows: Tensor, canvas: int = CANVAS) -> Tensor:
    """Return what patches should say: shares of a vote for every cell, and one more for none of them.

    Args:
        pixels: projected control points in the crop, shape (B, K, 2).
        centres: centres of the patches in the crop, shape (B, N, 2).
        shows: whether the patches show the object, shape (B, N).
        canvas: cells a side.

    Returns:
        (B, N, K, canvas * canvas + 1), each of which sums to one: `target_heatmaps`, and the rest.
    """
    votes = target_heatmaps(pixels, centres, canvas).flatten(3) * shows[:, :, None, None]
    votes = votes / votes.sum(dim=-1, keepdim=True).clamp(min=0.5 * VOTE_MASS)
    return torch.cat([votes, 1.0 - votes.sum(dim=-1, keepdim=True)], dim=-1)


def vote_losses(log_votes: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of votes (..., C) and the squared error of the heatmaps they make.

    Both are least where a patch says the mean of what all patches that look like it should say. The squared error is
    a hundred times its mean over the cells, most of which are empty.
    """
    entropy = -(target * log_votes).sum(dim=-1).mean()
    squared = (log_votes.exp() - target)[..., :-1].square().mean() * (100.0 * VOTE_MASS**2)
    return entropy, squared


def drawn_points(points: int, surface_share: float | None) -> range:
    """Draw which control points one step trains: the corners or those on the surface, or all without a share."""
    if surface_share is None or points <= CORNERS:
        return range(points)
    return range(CORNERS, points) if float(torch.rand(())) < surface_share else range(CORNERS)


class HeatmapsStep:
    """The loss of one batch: squared errors of single patches, see `HeatmapNet`."""

    def __init__(self, bundle: Bundle, recipe: HeatmapsRecipe, device: torch.device) -> None:
        self.recipe = recipe
        self.canonical = CanonicalPoses(bundle.catalog, device)
        self.bf16 = recipe.optimiser.bf16
        self.device = device

    def __call__(self, network: nn.Module, batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts."""
        return self.loss(network, self.features(network, batch), batch)

    def features(self, network: nn.Module, batch: CropBatch) -> list[Tensor]:
        """Return what a mapping would map."""
        assert isinstance(network, HeatmapNet)
        images = to_device(batch.images, self.device).float().div_(255.0)
        with autocast(self.device, self.bf16):
            return network.trunk_features(images.to(memory_format=torch.channels_last))

    def loss(self, network: nn.Module, seen: Sequence[Tensor], batch: CropBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of what the trunk saw, and its parts."""
        assert isinstance(network, HeatmapNet)
        index = to_device(batch.object_index, self.device)
        chosen, shows = self.choose(to_device(batch.mask_visible, self.device), network.window)
        points = drawn_points(network.points, self.recipe.surface_share)
        with autocast(self.device, self.bf16):
            log_votes = network.read_trunk(seen, index, chosen, points)
        poses = self.canonical(to_device(batch.camera_from_object, self.device), index)
        control = network.control_points[index][:, points.start : points.stop]
        pixels = project_points(control, poses, to_device(batch.camera, self.device))
        line = patch_centres(batch.images.shape[-1], self.device, network.window)
        centres = torch.stack([line[chosen % len(line)], line[chosen // len(line)]], dim=-1)
        target = target_votes(pixels, centres, shows)
        entropy, squared = vote_losses(log_votes, target)
        figures = self._figures(log_votes[:4].detach(), target[:4], shows[:4])
        loss = self.recipe.entropy * entropy + self.recipe.squared * squared
        return loss, {"entropy": entropy.detach(), "squared": squared.detach(), **figures}

    @staticmethod
    def _figures(log_votes: Tensor, target: Tensor, shows: Tensor) -> dict[str, Tensor]:
        """Return the share of the targets that is explained, and the votes of patches without the object."""
        squared = (log_votes.exp() - target)[..., :-1].square().sum(dim=(2, 3))
        power = target[..., :-1].square().sum(dim=(2, 3))
        explained = 1.0 - (squared * shows).sum() / power.sum().clamp(min=1e-9)
        false = ((1.0 - log_votes[..., -1].exp()).mean(dim=2) * ~shows).sum() / (~shows).sum().clamp(min=1)
        return {"explained": explained, "background": false}

    def choose(self, visible: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """Draw patches by what they show.

        Args:
            visible: masks (B, s, s), one cell per four pixels.
            window: side of the patches' windows, pixels.

        Returns:
            Their numbers (B, N), and whether each shows the object (B, N).
        """
        share = F.avg_pool2d(visible[:, None].float(), window // _MASK_CELL, STRIDE // _MASK_CELL).flatten(1)
        shows = share >= self.recipe.min_visible
        odds = torch.where(shows, 1.0, self.recipe.background + 1e-6)
        chosen = draw_columns(odds, min(self.recipe.patches, odds.shape[1]))
        return chosen, shows.gather(1, chosen)


def train_heatmaps(run: TrainingRun, recipe: HeatmapsRecipe) -> Bundle:
    """Train the network and write its weights into the bundle."""
    bundle = run.bundle
    bundle.catalog.require_single_meshes("network heatmaps")
    refuse_arguments(recipe.network, _TAKEN)
    training = CropTraining(run, recipe, ROLE)
    meshes = bundle.load_meshes(run.mesh_dir)
    architecture = {
        **recipe.network,
        "points": CORNERS + recipe.surface_points,
        "padding": recipe.crops.padding,
        "outline": OUTLINE_POINTS,
    }
    network = build_network(HeatmapNet, len(bundle.catalog), **architecture)
    training.load_start(network, recipe.encoder_from if network.trunk == "encoder" else None)
    network.control_points.copy_(control_points(bundle, meshes, recipe.surface_points))
    network.outline.copy_(outlines(meshes))
    trainer = training.trainer(network, recipe.samples)
    step = HeatmapsStep(bundle, recipe, training.device)
    return training.finish(trainer, step, recipe.size, recipe.samples, architecture)


def shown_to_trunk(network: nn.Module, visible: Tensor) -> Tensor:
    """Return the share of what each cell of the trunk's maps sees that masks (B, s, s) show, (B, h, w)."""
    assert isinstance(network, HeatmapNet)
    if network.trunk == "encoder":
        return visible
    return F.avg_pool2d(visible[:, None].float(), _SEEN // _MASK_CELL, STRIDE // _MASK_CELL)[:, 0]


ADAPTATION = Adaptation(
    ROLE,
    HeatmapNet,
    lambda training, recipe, network: HeatmapsStep(training.run.bundle, recipe, training.device),
    shown_to_trunk,
)
TRIAL = Trial(
    {
        **TINY,
        "size": 64,
        "samples": 64,
        "surface_points": 2,
        "patches": 16,
        "network": {"widths": [8, 8, 8, 16, 16], "hidden": 16},
    }
)
