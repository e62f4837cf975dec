"""Losses of the dense coordinate network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.geometry.transfer import rows_to_visit
from pose_estimation_ros.methods.pix2pose.network import COORDINATE_LIMIT, CoordinateMaps
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.object_tensors import catalog_symmetries
from pose_estimation_ros.training.shared_batch import shared_count

SYMMETRY_STEP_RAD = np.pi / 4.0  # coarse: round objects show the camera the same side in all targets


@dataclass(frozen=True)
class SymmetryTable:
    """Symmetries of all objects as affine maps of their normalised coordinates, padded with the identity."""

    linear: Tensor  # (O, S, 3, 3)
    shift: Tensor  # (O, S, 3)


def symmetry_table(catalog: Catalog, device: torch.device | str = "cpu") -> SymmetryTable:
    """Collect the symmetries of a catalog; exact also where the box is not centred on the symmetry axis."""
    transforms = catalog_symmetries(catalog, SYMMETRY_STEP_RAD)
    centre = torch.from_numpy(np.stack([model.centre_m for model in catalog])).double()[:, None]
    half = torch.from_numpy(np.stack([model.half_size_m for model in catalog])).double().clamp(min=1e-6)[:, None]
    rotation, translation = transforms[..., :3, :3], transforms[..., :3, 3]
    linear = rotation * half[:, :, None, :] / half[:, :, :, None]
    shift = ((rotation @ centre[..., None])[..., 0] + translation - centre) / half
    return SymmetryTable(linear.float().to(device), shift.float().to(device))


@torch.no_grad()
def nearest_symmetric_target(
    predicted: Tensor, target: Tensor, mask: Tensor, object_index: Tensor, table: SymmetryTable
) -> Tensor:
    """Choose for every sample the symmetric equivalent of its target that is nearest to the prediction.

    This is the minimum of Pix2Pose's transformer loss (eq. 3): the gradient then flows through the winner alone.

    Args:
        predicted: normalised coordinates, shape (B, 3, S, S).
        target: true normalised coordinates, shape (B, 3, S, S).
        mask: cells that count, shape (B, S, S).
        object_index: shape (B,).
        table: the symmetries.
    """
    chosen = target.clone()
    best = ((predicted - target).abs().sum(dim=1) * mask).sum(dim=(1, 2))
    identity = torch.eye(3, device=target.device)
    for number in range(1, table.linear.shape[1]):
        linear, shift = table.linear[object_index, number], table.shift[object_index, number]
        rows = rows_to_visit((linear - identity).abs().amax(dim=(1, 2)) > 1e-6)
        if len(rows) == 0:
            continue
        moved = torch.einsum("bij,bjhw->bihw", linear[rows], target[rows]) + shift[rows][:, :, None, None]
        error = ((predicted[rows] - moved).abs().sum(dim=1) * mask[rows]).sum(dim=(1, 2))
        better = error < best[rows]
        chosen[rows] = torch.where(better[:, None, None, None], moved, chosen[rows])
        best[rows] = torch.where(better, error, best[rows])
    return chosen


def coordinate_losses(
    maps: CoordinateMaps, target: Tensor, mask_full: Tensor, mask_visible: Tensor, hidden_weight: float = 0.3
) -> dict[str, Tensor]:
    """Compare predicted maps with their targets.

    Args:
        maps: the network's output.
        target: normalised coordinates, shape (B, 3, S, S), symmetry already chosen.
        mask_full: the object as if unoccluded, shape (B, S, S).
        mask_visible: its visible part, shape (B, S, S).
        hidden_weight: weight of occluded cells; visible ones have 1.

    Returns:
        `bins`: cross-entropy against a narrow Gaussian around the true coordinate; `l1`: mean absolute error of the
        coordinates; `error`: squared error of the expected error (Pix2Pose eq. 4; 1 is expected off the object);
        `mask`: cross-entropy of both masks.
    """
    weight = mask_visible.float() + hidden_weight * (mask_full & ~mask_visible).float()
    total = shared_count(weight.sum())
    bins = maps.bin_logits.shape[2]
    width = 2.0 * COORDINATE_LIMIT / bins
    centres = ((torch.arange(bins, device=target.device) + 0.5) / bins * 2.0 - 1.0) * COORDINATE_LIMIT
    distance = (target[:, :, None] - centres[:, None, None]) / width
    soft = torch.softmax(-0.5 * (distance / 0.7) ** 2, dim=2)
    cross_entropy = -(soft * torch.log_softmax(maps.bin_logits, dim=2)).sum(dim=(1, 2)) / 3.0
    absolute = (maps.coordinates - target).abs().mean(dim=1)
    truth = torch.where(mask_full, absolute.detach().clamp(max=1.0), torch.ones_like(absolute))
    masks = torch.stack([mask_visible, mask_full], dim=1).float()
    return {
        "bins": (cross_entropy * weight).sum() / total,
        "l1": (absolute * weight).sum() / total,
        "error": F.mse_loss(maps.error, truth),
        "mask": F.binary_cross_entropy_with_logits(maps.mask_logits, masks),
    }


def placement_loss(placement: Tensor, target: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of targets (B, 3) under Laplace distributions (B, 6).

    The columns of `placement` are three medians and the logarithms of three scales.
    """
    centre, log_scale = placement[:, :3], placement[:, 3:]
    return ((centre - target).abs() * torch.exp(-log_scale) + log_scale).mean()
