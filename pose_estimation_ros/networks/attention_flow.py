"""Pose updates from flow: where rendered points went in the image, and the movement of the object that says so."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pose_estimation_ros.geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from pose_estimation_ros.geometry.transfer import constant

TYPICAL_ERRORS = (0.05, 0.05, 0.06, 0.2, 0.2, 0.2)  # errors of shift (2), logarithm of the distance, axis and angle (3)
_NEWTON_STEPS = 3
# The weights of a stream sum to one, as if all of its cells erred together. They are worth so many that do not.
_INDEPENDENT_CELLS = 3.0


@dataclass(frozen=True)
class Updates:
    """Least-squares updates as every stream sees them."""

    all: Tensor  # (B, 3, 6): shift, logarithm of the distance, axis and angle; by stream
    covariance: Tensor  # (B, 6, 6), each part from the stream that is there for it

    @property
    def combined(self) -> Tensor:
        """Return the updates (B, 6), each part from the stream that is there for it."""
        return torch.cat([self.all[:, 0, :2], self.all[:, 1, 2:3], self.all[:, 2, 3:]], dim=1)


def solve_updates(
    points: Tensor, flow: Tensor, share: Tensor, stiffness: Tensor, distance: Tensor, extent: Tensor
) -> Updates:
    """Find the updates that move rendered points as a flow says, by weighted least squares (Gauss and Newton).

    One linear step is not enough: a rotation by fifteen degrees also narrows what is seen by three per cent, and would
    be taken for as much of distance.

    Args:
        points: about the objects' centres in camera axes, over the radius, shape (B, 3, h, w).
        flow: (B, 2, h, w) cells.
        share: weights (B, 3, h * w) of the cells in every stream.
        stiffness: logarithms (6,) of the weight of no update.
        distance: of the centres (B,), diameters.
        extent: diameters that the side of the image spans at that distance (B,).
    """
    streams, cells = share.shape[1], points.shape[-1]
    before = _repeated(points.flatten(2), streams) / 2.0  # (B * streams, 3, n) diameters
    wanted = _repeated(flow.flatten(2), streams)
    weights = share.flatten(0, 1)[:, None, :]
    far, wide = _repeated(distance, streams), _repeated(extent, streams)
    usual = constant(TYPICAL_ERRORS, before)
    hold = stiffness.exp()
    held = hold * torch.eye(6, dtype=hold.dtype, device=hold.device)
    update = before.new_zeros(before.shape[0], 6)  # in units of `usual`
    for _ in range(_NEWTON_STEPS):
        prediction = update * usual
        after = matrix_from_axis_angle(prediction[:, 3:]) @ before
        moved = point_flow(before, after, prediction[:, :2], prediction[:, 2], far, wide, cells)
        missed = wanted - moved.transpose(1, 2)
        ratio = prediction[:, 2].exp()
        jacobian = flow_jacobian(after, far * ratio, wide * ratio, cells) * usual[:, None, None]
        weighted = (jacobian * weights[:, None]).flatten(2)  # (B * streams, 6, 2 n)
        normal = weighted @ jacobian.flatten(2).transpose(1, 2) + held
        right = (weighted @ missed.flatten(1)[:, :, None])[:, :, 0] - hold * update
        change = _solved(normal, right)
        turned = matrix_from_axis_angle(change[:, 3:] * usual[3:]) @ matrix_from_axis_angle(prediction[:, 3:])
        turn = axis_angle_from_matrix(turned) / usual[3:]
        update = torch.cat([update[:, :3] + change[:, :3], turn], dim=1)
    rest = missed - (change[:, None] @ jacobian.flatten(2)).unflatten(2, (2, -1))[:, 0]
    covariance = _covariance(normal.detach(), (weights * rest.square()).sum(dim=(1, 2)).detach())
    return Updates((update * usual).unflatten(0, (-1, streams)), covariance * torch.outer(usual, usual))


def _repeated(values: Tensor, times: int) -> Tensor:
    """Return every row of (B, ...) so many times, one after the other."""
    return values[:, None].expand(-1, times, *values.shape[1:]).flatten(0, 1)


def _solved(normal: Tensor, right: Tensor) -> Tensor:
    """Solve positive definite systems (B, 6, 6), (B, 6); raises nothing where one is not a number."""
    if not torch.onnx.is_in_onnx_export():
        return torch.linalg.solve_ex(normal, right).result
    # ONNX knows no solver: Gauss and Jordan's elimination, which needs no pivots here.
    rows = list(torch.cat([normal, right[:, :, None]], dim=2).unbind(1))
    for place in range(len(rows)):
        pivot = rows[place] / rows[place][:, place : place + 1]
        rows = [
            pivot if number == place else row - row[:, place : place + 1] * pivot for number, row in enumerate(rows)
        ]
    return torch.stack([row[:, -1] for row in rows], dim=1)


def _covariance(normal: Tensor, residual: Tensor) -> Tensor:
    """Return what weighted least squares expects of its errors, streams apart: they read the same flow differently.

    Args:
        normal: matrices of the normal equations (B * 3, 6, 6).
        residual: weighted means of the squared residuals (B * 3,), both directions together.
    """
    if torch.onnx.is_in_onnx_export():  # which knows no inverse; no output is made of this
        return torch.zeros_like(normal).unflatten(0, (-1, 3))[:, 0]
    inverse = torch.linalg.inv_ex(normal).inverse * (residual / 2.0 / _INDEPENDENT_CELLS)[:, None, None]
    shift, distance, rotation = inverse.unflatten(0, (-1, 3)).unbind(1)
    joined = torch.zeros_like(shift)
    joined[:, :2, :2], joined[:, 2, 2], joined[:, 3:, 3:] = shift[:, :2, :2], distance[:, 2, 2], rotation[:, 3:, 3:]
    return joined


def point_flow(
    before: Tensor,
    after: Tensor,
    shift: Tensor,
    log_distance: Tensor,
    distance: Tensor,
    extent: Tensor,
    cells: int,
    seen_from: Tensor | None = None,
) -> Tensor:
    """Return how far points move in the image (B, n, 2), in cells.

    Args:
        before: points about the object's centre in camera axes, shape (B, 3, n), diameters.
        after: the same points after the rotation.
        shift: of the centre in the image (B, 2), share of its side.
        log_distance: logarithm of the new distance over the old (B,).
        distance: of the centre before (B,), diameters.
        extent: diameters that the side of the image spans at that distance (B,).
        cells: along the side of the image.
        seen_from: distance from which the moved points really are seen, zoomed to the same size (B,), diameters.
    """
    far = distance * log_distance.exp()
    seen_from = far if seen_from is None else seen_from
    zoom = (seen_from / far)[:, None, None]
    focal = (cells * distance / extent)[:, None, None]
    start = before[:, :2] / (distance[:, None] + before[:, 2]).clamp(min=0.1)[:, None]
    end = zoom * after[:, :2] / (seen_from[:, None] + after[:, 2]).clamp(min=0.1)[:, None]
    return (focal * (end - start) + cells * shift[:, :, None]).transpose(1, 2)


def flow_jacobian(points: Tensor, distance: Tensor, extent: Tensor, cells: int) -> Tensor:
    """Return how points (B, 3, n), in diameters, move by shift, distance and rotation: (B, 6, 2, n), in cells."""
    x, y, z = points.unbind(1)
    depth = (distance[:, None] + z).clamp(min=0.1)
    near = (cells * distance / extent)[:, None] / depth
    right, below, behind = x / depth, y / depth, -near * (distance[:, None] / depth)
    zero, one = torch.zeros_like(x), torch.full_like(x, cells)
    mixed = near * x * below
    rows = (
        one, zero,
        zero, one,
        behind * x, behind * y,
        -mixed, -near * (z + y * below),
        near * (z + x * right), mixed,
        -near * y, near * x,
    )  # fmt: skip
    return torch.stack(rows, dim=1).unflatten(1, (6, 2))
