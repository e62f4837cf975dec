"""Losses of the corner regression."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_estimation_ros.geometry.camera import project_points
from pose_estimation_ros.methods.corners.network import CornerPredictions
from pose_estimation_ros.training.shared_batch import shared_count


def corner_targets(camera_from_object: Tensor, camera: Tensor, corners: Tensor, size: int) -> Tensor:
    """Return where the corners of boxes are in crops, in sides of the crop from its centre.

    Args:
        camera_from_object: poses (B, 4, 4), metres.
        camera: intrinsics of the crops (B, 3, 3), pixels.
        corners: of the boxes in object frames (B, 8, 3), metres.
        size: side of the crops, pixels.

    Returns:
        (B, 8, 2); not a number for corners that are not ahead of the camera.
    """
    return (project_points(corners, camera_from_object, camera) - (size - 1) / 2.0) / size


def corner_losses(predictions: CornerPredictions, target: Tensor) -> dict[str, Tensor]:
    """Compare predicted corners with their places.

    Args:
        predictions: of B crops.
        target: from `corner_targets`, shape (B, 8, 2); corners that are not finite do not count.

    Returns:
        `corners`: mean negative logarithm of the likelihood of a coordinate under its Laplace distribution, up to a
        constant; `l1`: mean absolute error of a coordinate, sides of the crop.
    """
    known = torch.isfinite(target)
    absolute = (predictions.offsets - torch.where(known, target, predictions.offsets.detach())).abs()
    log_scale = predictions.log_scales[..., None].expand_as(absolute)
    count = shared_count(known.sum())
    likelihood = (absolute * torch.exp(-log_scale) + log_scale) * known
    return {"corners": likelihood.sum() / count, "l1": (absolute * known).sum() / count}
