"""How exact the poses are that the stages went through."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pose_estimation_ros.geometry.virtual_camera import update_jacobian
from pose_estimation_ros.methods.render_compare import Stage
from pose_estimation_ros.networks.attention_net import Comparison

# Stages remove a part of the error each. Where a comparison still asks for an update, those after it would, too: with
# four fifths of the error left by each, all of them together come to so many times the next.
_UPDATES_TO_COME = 5.0


def chosen_covariances(trace: Sequence[Stage], poses: Tensor, centre: Tensor, chosen: Tensor) -> Tensor:
    """Return the covariances of the poses that were taken, as the comparisons of just these with the image tell.

    Args:
        trace: N stages.
        poses: before and after them (N + 1, B, 4, 4), metres.
        centre: of the objects in their own frames (B, 3), metres.
        chosen: which of the poses were taken (B,).

    Returns:
        Covariances (B, 6, 6) of x y z rx ry rz in camera axes about the objects' origins; not a number where the pose
        was compared by no stage, or the network cannot tell.
    """
    unknown = torch.full((len(centre), 6, 6), math.nan, device=centre.device)
    known = []
    for stage, compared in zip(trace, poses, strict=False):
        of_update = remaining_covariance(stage.prediction)
        jacobian = update_jacobian(compared, centre, stage.cameras)
        known.append(unknown if of_update is None else jacobian @ of_update @ jacobian.transpose(1, 2))
    return torch.stack([*known, unknown])[chosen, torch.arange(len(centre), device=centre.device)]


def remaining_covariance(prediction: Comparison) -> Tensor | None:
    """Return the covariance (B, 6, 6) of the updates that lead from the poses compared to the true ones.

    It is that of the update that the comparison asks for, and the square of what it asks for itself, which will not be
    done; by stream, and in no direction of its own.
    """
    if prediction.update_covariance is None:
        return None
    shift, turn = (item.square().mean(dim=1, keepdim=True) for item in (prediction.shift, prediction.axis_angle))
    squares = [shift.expand(-1, 2), prediction.log_distance.square()[:, None], turn.expand(-1, 3)]
    return prediction.update_covariance + _UPDATES_TO_COME**2 * torch.diag_embed(torch.cat(squares, dim=1))
