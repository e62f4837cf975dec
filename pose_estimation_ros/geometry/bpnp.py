"""PnP as a layer of a network, with the exact gradient of the solved pose.

Chen et al., "End-to-end learnable geometric vision by backpropagating PnP optimization" (BPnP), CVPR 2020. The pose y
minimises o(x, y, z, K) = sum w |x - pi(z | y, K)|^2, so f = do/dy is zero there, and the implicit function theorem
gives dy/dx = -[df/dy]^-1 df/dx, and likewise for the points, the intrinsics and the weights. docs/bpnp.md derives it.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.geometry.pnp import MIN_POINTS, solve_pnp
from pose_estimation_ros.geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle, skew_matrix
from pose_estimation_ros.geometry.transfer import to_device, to_host

# Samples without a gradient since the program began, by reason: "no pose", "behind the camera", "singular".
failures: Counter[str] = Counter()

_STEPS = 30  # of damped Newton, at most
_LARGEST_CONDITION = 1e10  # of df/dy with a unit diagonal
_logger = logging.getLogger(__name__)


def bpnp(
    pixels: Tensor,
    points: Tensor,
    intrinsics: Tensor,
    weights: Tensor | None = None,
    initial: Tensor | None = None,
    threshold_px: float = 10.0,
    gauss_newton: bool = False,
) -> Tensor:
    """Solve PnP for a batch, differentiably.

    Args:
        pixels: image points, shape (B, N, 2). Rows that are not finite are ignored.
        points: object points in metres, shape (B, N, 3).
        intrinsics: camera matrices in pixels, shape (B, 3, 3).
        weights: of the squared residuals, shape (B, N); ones where absent.
        initial: poses to start from, shape (B, 6), for instance those of the step before; all points then take part.
            Where absent a robust solver finds them, and its outliers take part in nothing.
        threshold_px: largest residual of the robust solver's inliers.
        gauss_newton: leave the second derivatives of the projections out of the gradient; exact where all residuals
            are zero.

    Returns:
        Axis-angle vectors in radians and translations in metres, shape (B, 6). Gradients reach pixels, points,
        intrinsics and weights. A sample without a pose gives the identity at one metre, and one that is singular or
        has points behind the camera gives its pose; the gradients of both are zero, and they are counted in
        `failures`.

    Raises:
        ValueError: if the shapes do not belong together.
    """
    _check(pixels, points, intrinsics, weights, initial)
    if weights is None:
        weights = torch.ones(pixels.shape[:2], dtype=pixels.dtype, device=pixels.device)
    return _Bpnp.apply(pixels, points, intrinsics, weights, initial, threshold_px, gauss_newton)


class _Bpnp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        pixels: Tensor,
        points: Tensor,
        intrinsics: Tensor,
        weights: Tensor,
        initial: Tensor | None,
        threshold_px: float,
        gauss_newton: bool,
    ) -> Tensor:
        x, z, camera, w = (item.detach().double() for item in (pixels, points, intrinsics, weights))
        finite = torch.isfinite(x).all(dim=2) & torch.isfinite(z).all(dim=2) & torch.isfinite(w)
        x, z = (torch.where(finite[..., None], item, torch.zeros_like(item)) for item in (x, z))
        w = torch.where(finite, w, torch.zeros_like(w))
        if initial is None:
            start, used, solved = _robust_start(x, z, camera, w, threshold_px)
            w = w * used
        else:
            start, solved = initial.detach().double(), (w > 0.0).sum(dim=1) >= MIN_POINTS
        rotation, translation = _minimise(x, z, camera, w, matrix_from_axis_angle(start[:, :3]), start[:, 3:])
        ctx.save_for_backward(x, z, camera, w, rotation, translation, solved)
        ctx.gauss_newton = gauss_newton
        ctx.kinds = [item.dtype for item in (pixels, points, intrinsics, weights)]
        return torch.cat([axis_angle_from_matrix(rotation), translation], dim=1).to(pixels.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, z, camera, w, rotation, translation, solved = ctx.saved_tensors
        upstream = gradients[0].double()
        # The rotation is perturbed from the left, R -> exp(v) R: its axis-angle vector changes by J^-1 v.
        by_turn = _inverse_left_jacobian(axis_angle_from_matrix(rotation)).transpose(1, 2) @ upstream[:, :3, None]
        local = torch.cat([by_turn[..., 0], upstream[:, 3:]], dim=1)
        residual, jacobian, in_camera, turned = _linearised(x, z, camera, rotation, translation)
        hessian = _hessian(residual, jacobian, in_camera, turned, camera, w, ctx.gauss_newton)
        solution, good = _solved(hessian, local, in_camera, w, solved)
        with torch.enable_grad():
            x_leaf, z_leaf, camera_leaf, w_leaf = leaves = [
                item.detach().requires_grad_() for item in (x, z, camera, w)
            ]
            residual, jacobian, _, _ = _linearised(x_leaf, z_leaf, camera_leaf, rotation, translation)
            if ctx.gauss_newton:
                jacobian = jacobian.detach()  # f changes with the residuals alone
            f = -2.0 * torch.einsum("bn,bnk,bnkj->bj", w_leaf, residual, jacobian)
            wanted = torch.autograd.grad((f * solution).sum(), leaves)
        usable = (w > 0.0) & good[:, None]
        masks = (usable[..., None], usable[..., None], good[:, None, None], usable)
        results = [
            torch.where(mask & torch.isfinite(item), item, torch.zeros_like(item)).to(kind)
            for item, mask, kind in zip(wanted, masks, ctx.kinds, strict=True)
        ]
        return (*results, None, None, None)


def project_pose(pose: Tensor, points: Tensor, intrinsics: Tensor) -> Tensor:
    """Project points with poses of `bpnp`, differentiably.

    Args:
        pose: axis-angle and translation, shape (B, 6).
        points: object points in metres, shape (B, N, 3).
        intrinsics: camera matrices in pixels, shape (B, 3, 3).

    Returns:
        Pixels, shape (B, N, 2).
    """
    in_camera = points @ matrix_from_axis_angle(pose[:, :3]).transpose(1, 2) + pose[:, None, 3:]
    homogeneous = in_camera @ intrinsics.transpose(1, 2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def _check(pixels: Tensor, points: Tensor, intrinsics: Tensor, weights: Tensor | None, initial: Tensor | None) -> None:
    if pixels.ndim != 3 or pixels.shape[2] != 2:
        raise ValueError(f"bpnp: pixels has shape {tuple(pixels.shape)}, expected (B, N, 2)")
    batch, count = pixels.shape[:2]
    expected: dict[str, tuple[Tensor, tuple[int, ...]]] = {
        "points": (points, (batch, count, 3)),
        "intrinsics": (intrinsics, (batch, 3, 3)),
    }
    if weights is not None:
        expected["weights"] = (weights, (batch, count))
    if initial is not None:
        expected["initial"] = (initial, (batch, 6))
    for name, (value, shape) in expected.items():
        if value.shape != shape:
            raise ValueError(f"bpnp: {name} has shape {tuple(value.shape)}, expected {shape}")


def _robust_start(
    x: Tensor, z: Tensor, camera: Tensor, w: Tensor, threshold_px: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return poses (B, 6), which points take part (B, N), and which samples have a pose (B,)."""
    pixels, points, cameras, trust = to_host(x, z, camera, torch.sqrt(w.clamp(min=0.0)))
    start = torch.zeros(len(pixels), 6, dtype=torch.float64)
    start[:, 5] = 1.0
    used, solved = torch.zeros(trust.shape, dtype=torch.float64), torch.zeros(len(pixels), dtype=torch.bool)
    for number in range(len(pixels)):
        result = solve_pnp(pixels[number], points[number], cameras[number], trust[number], threshold_px)
        if result is None:
            continue
        matrix = torch.from_numpy(np.ascontiguousarray(result.camera_from_object))
        start[number] = torch.cat([axis_angle_from_matrix(matrix[:3, :3]), matrix[:3, 3]])
        used[number] = torch.from_numpy(result.inliers)
        solved[number] = True
    return to_device(start, x.device), to_device(used, x.device), to_device(solved, x.device)


def _linearised(
    x: Tensor, z: Tensor, camera: Tensor, rotation: Tensor, translation: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return residuals x - pi (B, N, 2), d pi / dy (B, N, 2, 6), camera points and turned points (B, N, 3).

    y is the increment of the rotation, from the left, and of the translation.
    """
    turned = z @ rotation.transpose(1, 2)
    in_camera = turned + translation[:, None]
    homogeneous = in_camera @ camera.transpose(1, 2)
    depth = homogeneous[..., 2:]
    projected = homogeneous[..., :2] / depth
    by_point = (camera[:, None, :2] - projected[..., None] * camera[:, None, 2:]) / depth[..., None]
    jacobian = torch.cat([by_point @ -skew_matrix(turned), by_point], dim=3)
    return x - projected, jacobian, in_camera, turned


def _hessian(
    residual: Tensor,
    jacobian: Tensor,
    in_camera: Tensor,
    turned: Tensor,
    camera: Tensor,
    w: Tensor,
    gauss_newton: bool,
) -> Tensor:
    """Return df/dy (B, 6, 6), the second derivative of the weighted sum of squares."""
    first = 2.0 * torch.einsum("bn,bnki,bnkj->bij", w, jacobian, jacobian)
    if gauss_newton:
        return first
    depth = (in_camera @ camera[:, 2, :, None])[..., 0]
    by_depth = torch.cat(
        [torch.linalg.cross(turned, camera[:, None, 2].expand_as(turned)), camera[:, None, 2].expand_as(turned)], dim=2
    )
    # pi = a / d with a, d linear in the camera point: the second derivative is -(J' d' + d' J) / d, and what
    # the second derivative of exp(v) q adds: (e_i q_j + e_j q_i) / 2 - q (e_i . e_j) through d pi / dX.
    weighted = torch.einsum("bn,bnk,bnkj->bnj", w, residual, jacobian)
    outer = torch.einsum("bni,bnj,bn->bij", weighted, by_depth, 1.0 / depth)
    second = -(outer + outer.transpose(1, 2))
    pull = weighted[..., 3:]  # w r . d pi / dX
    turn = torch.einsum("bni,bnj->bij", pull, turned)
    inner = (pull * turned).sum(dim=(1, 2))
    bend = 0.5 * (turn + turn.transpose(1, 2)) - inner[:, None, None] * torch.eye(3, dtype=w.dtype, device=w.device)
    second[:, :3, :3] += bend
    return first - 2.0 * second


def _minimise(
    x: Tensor, z: Tensor, camera: Tensor, w: Tensor, rotation: Tensor, translation: Tensor
) -> tuple[Tensor, Tensor]:
    """Go from a start to a stationary point by damped Newton steps, all samples at once."""
    damping = torch.full((len(x),), 1e-4, dtype=x.dtype, device=x.device)
    parts = _linearised(x, z, camera, rotation, translation)
    cost = (w * parts[0].square().sum(dim=2)).sum(dim=1)
    for _ in range(_STEPS):
        gradient = -2.0 * torch.einsum("bn,bnk,bnkj->bj", w, parts[0], parts[1])
        exact = _hessian(*parts, camera, w, gauss_newton=False)
        safe = _hessian(*parts, camera, w, gauss_newton=True)
        positive = torch.linalg.cholesky_ex(exact).info == 0
        system = torch.where(positive[:, None, None], exact, safe)
        scale = safe.diagonal(dim1=1, dim2=2).clamp(min=1e-12)
        step, info = torch.linalg.solve_ex(system + torch.diag_embed(damping[:, None] * scale), -gradient)
        step = torch.where((info == 0)[:, None] & torch.isfinite(step), step, torch.zeros_like(step))
        candidate = matrix_from_axis_angle(step[:, :3]) @ rotation, translation + step[:, 3:]
        parts_next = _linearised(x, z, camera, *candidate)
        cost_next = (w * parts_next[0].square().sum(dim=2)).sum(dim=1)
        ahead = (((parts_next[2] @ camera[:, 2, :, None])[..., 0] > 0.0) | (w <= 0.0)).all(dim=1)
        better = (cost_next <= cost * (1.0 + 1e-12) + 1e-24) & ahead  # the last steps are lost in rounding
        rotation = torch.where(better[:, None, None], candidate[0], rotation)
        translation = torch.where(better[:, None], candidate[1], translation)
        residual, jacobian, in_camera, turned = (
            torch.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(parts_next, parts, strict=True)
        )
        parts = (residual, jacobian, in_camera, turned)
        cost = torch.where(better, cost_next, cost)
        damping = torch.where(better, damping * 0.1, damping * 10.0).clamp(1e-14, 1e6)
        if x.device.type == "cpu" and bool((step.abs().amax(dim=1) < 1e-11).all()):
            break  # a GPU has taken the remaining steps sooner than the host would know that none is needed
    return rotation, translation


def _solved(hessian: Tensor, local: Tensor, in_camera: Tensor, w: Tensor, solved: Tensor) -> tuple[Tensor, Tensor]:
    """Return -[df/dy]^-1 v (B, 6) and which samples have a gradient; count and log the others."""
    ahead = ((in_camera[..., 2] > 0.0) | (w <= 0.0)).all(dim=1)
    scale = 1.0 / hessian.diagonal(dim1=1, dim2=2).abs().clamp(min=1e-300).sqrt()
    unit = hessian * scale[:, :, None] * scale[:, None, :]
    unit = torch.where(torch.isfinite(unit), unit, torch.zeros_like(unit))
    values = torch.linalg.eigvalsh(unit)
    regular = (values[:, 0] > 0.0) & (values[:, -1] < _LARGEST_CONDITION * values[:, 0].clamp(min=1e-300))
    good = solved & ahead & regular
    lacking = {"no pose": ~solved, "behind the camera": solved & ~ahead, "singular": solved & ahead & ~regular}
    (counts,) = to_host(torch.stack([item.sum() for item in lacking.values()]))
    for reason, count in zip(lacking, counts.tolist(), strict=True):
        if count:
            level = logging.DEBUG if failures[reason] else logging.WARNING  # a training has some in every other batch
            failures[reason] += count
            _logger.log(level, "bpnp: %d of %d samples without a gradient: %s", count, len(solved), reason)
    safe = torch.where(good[:, None, None], unit, torch.eye(6, dtype=unit.dtype, device=unit.device))
    solution = -torch.linalg.solve_ex(safe, scale * local).result * scale
    return torch.where(good[:, None], solution, torch.zeros_like(solution)), good


def _inverse_left_jacobian(axis_angle: Tensor) -> Tensor:
    """Return what turns an increment from the left into one of the axis-angle vector, (B, 3, 3)."""
    squared = axis_angle.square().sum(dim=1)
    angle = squared.clamp(min=1e-20).sqrt()
    half = 0.5 * angle
    exact = (1.0 - half / torch.tan(half).clamp(min=1e-300)) / squared.clamp(min=1e-20)
    series = 1.0 / 12.0 + squared / 720.0
    factor = torch.where(squared < 1e-6, series, exact)
    skew = skew_matrix(axis_angle)
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return eye - 0.5 * skew + factor[:, None, None] * (skew @ skew)
