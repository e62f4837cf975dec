"""The projection loss of BPnP: dense coordinates are trained through the pose that PnP solves from them.

Chen et al., "End-to-end learnable geometric vision by backpropagating PnP optimization", CVPR 2020. docs/bpnp.md.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from pose_estimation_ros.geometry.bpnp import bpnp, project_pose
from pose_estimation_ros.geometry.pnp import MIN_POINTS
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.methods.pix2pose.network import ERROR_FLOOR, STRIDE, CoordinateMaps
from pose_estimation_ros.training.shared_batch import draw_columns, shared_count


class ProjectionConfig(BaseModel):
    """The part of the loss that goes through the pose; off unless `weight` is positive."""

    model_config = ConfigDict(extra="forbid")

    weight: float = Field(default=0.0, ge=0.0)  # beta of the mixture with the coordinate losses
    regulariser: float = Field(default=1.0, ge=0.0)  # lambda: pulls the coordinates to the solved pose
    cells: int = Field(default=128, ge=MIN_POINTS)  # visible cells of each crop that PnP gets
    threshold: float = Field(default=0.04, gt=0.0)  # largest residual of its inliers, as a share of the crop's side
    min_inliers: float = Field(default=0.3, ge=0.0, le=1.0)  # share; a pose with fewer teaches nothing
    huber_px: float = Field(default=1.0, gt=0.0)  # residuals up to here count squared, longer ones by their length
    gradient_norm: float = Field(default=5.0, gt=0.0)  # of one crop's losses by its coordinates; longer is cut


def projection_loss(
    maps: CoordinateMaps,
    target: Tensor,
    mask_visible: Tensor,
    camera: Tensor,
    half_size: Tensor,
    centre: Tensor,
    config: ProjectionConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Solve the poses of a batch from predicted coordinates, and compare where they put the true points.

    The true point of a cell is, by definition, seen in the cell's centre, under the pose that belongs to the symmetry
    that `target` was chosen by. So the projection loss |pi(true points | solved pose) - cells|^2 needs neither the true
    pose nor another choice of symmetry. PnP weighs cells by their expected errors, as the backend does; gradients
    reach the coordinates and these errors.

    Args:
        maps: the network's output.
        target: true normalised coordinates, symmetry chosen, shape (B, 3, S, S).
        mask_visible: cells that show the object, shape (B, S, S).
        camera: intrinsics of the crops in pixels, shape (B, 3, 3).
        half_size: half the sides of the objects' boxes in metres, shape (B, 3).
        centre: the boxes' centres in metres, shape (B, 3).
        config: weights and thresholds.

    Returns:
        The loss, weighted as `config` says, and its parts: `projection`, and `regulariser`
        |cells - pi(predicted points | solved pose)|^2, both Huber, halved squares of pixels, means over the crops with
        a pose; `posed`, the share of these crops.
    """
    size = target.shape[-1] * STRIDE
    chosen, usable = _draw_cells(mask_visible, config.cells)
    pixels = _cell_centres(chosen, target.shape[-1]).double()
    half_size, centre, camera = half_size.double(), centre.double(), camera.double()
    limit = _Limit(config.gradient_norm * config.weight)
    predicted = _metric(limit.at(_at(maps.coordinates, chosen).double()), half_size, centre)
    truth = _metric(_at(target, chosen).double(), half_size, centre)
    error = _at(maps.error[:, None], chosen)[..., 0].double()
    weights = usable / (error + ERROR_FLOOR).square()
    weights = weights / weights.detach().sum(dim=1, keepdim=True).clamp(min=1e-9)
    threshold = config.threshold * size
    pose = bpnp(pixels, predicted, camera, weights, threshold_px=threshold)
    own = project_pose(pose, predicted, camera) - pixels
    true = project_pose(pose, truth, camera) - pixels
    with torch.no_grad():
        inlier = usable * (own.norm(dim=2) < threshold)
        count = usable.sum(dim=1)
        good = (count >= MIN_POINTS) & (inlier.sum(dim=1) >= config.min_inliers * count)
        good &= _ahead(pose, predicted, inlier) & _ahead(pose, truth, usable)
        limit.crops = float(shared_count(good.sum()))
    parts = {
        "projection": _mean(true, config.huber_px, usable * good[:, None]),
        "regulariser": _mean(own, config.huber_px, inlier * good[:, None]),
    }
    loss = config.weight * (parts["projection"] + config.regulariser * parts["regulariser"])
    return loss, parts | {"posed": good.float().mean()}


class _Limit:
    """Cuts the gradient of every crop's mean loss by its coordinates to a length."""

    def __init__(self, length: float) -> None:
        self.length = length
        self.crops = 1.0  # that the mean is over

    def at(self, coordinates: Tensor) -> Tensor:
        """Return the coordinates (B, N, 3)."""
        if not coordinates.requires_grad:
            return coordinates
        limited = coordinates * 1.0
        limited.register_hook(self._shorten)
        return limited

    def _shorten(self, gradient: Tensor) -> Tensor:
        gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
        norm = gradient.flatten(1).norm(dim=1) * self.crops
        return gradient * (self.length / norm.clamp(min=1e-12)).clamp(max=1.0)[:, None, None]


def _draw_cells(mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return numbers (B, N) of cells drawn from masks (B, S, S), and which of them the mask has, as 0 and 1."""
    odds = mask.flatten(1).float()
    chosen = draw_columns(odds + 1e-9, min(count, odds.shape[1]))
    return chosen, odds.gather(1, chosen)


def _cell_centres(chosen: Tensor, side: int) -> Tensor:
    """Return the pixels (B, N, 2) of the centres of cells."""
    cells = torch.stack([chosen % side, chosen // side], dim=2).float()
    return (cells + 0.5) * STRIDE - 0.5


def _at(maps: Tensor, chosen: Tensor) -> Tensor:
    """Return the values (B, N, C) of maps (B, C, S, S) at cells (B, N)."""
    return maps.flatten(2).gather(2, chosen[:, None].expand(-1, maps.shape[1], -1)).transpose(1, 2)


def _metric(coordinates: Tensor, half_size: Tensor, centre: Tensor) -> Tensor:
    return coordinates * half_size[:, None] + centre[:, None]


def _ahead(pose: Tensor, points: Tensor, weight: Tensor) -> Tensor:
    """Return whether all points (B, N, 3) with a weight lie before the camera, (B,)."""
    depth = (points @ matrix_from_axis_angle(pose[:, :3])[:, 2, :, None])[..., 0] + pose[:, 5:]
    return ((depth > 0.0) | (weight <= 0.0)).all(dim=1)


def _mean(residual: Tensor, width: float, weight: Tensor) -> Tensor:
    """Return the Huber loss of residuals (B, N, 2): the mean over points with a weight, then over samples with any."""
    residual = torch.where(weight[..., None] > 0.0, residual, torch.zeros_like(residual))  # the others may be anything
    length = (residual.square().sum(dim=2) + 1e-12).sqrt()
    values = F.huber_loss(length, torch.zeros_like(length), reduction="none", delta=width) * weight
    count = weight.sum(dim=1)
    return ((values.sum(dim=1) / count.clamp(min=1.0)).sum() / shared_count((count > 0.0).sum())).float()
