"""Rotations as matrices, quaternions (x, y, z, w) and axis-angle vectors: batched, stable at 0 and pi."""

from __future__ import annotations

import torch
from torch import Tensor

# Below this squared angle the Taylor series is exact to double precision.
_SMALL_SQUARED = 1e-4


def quaternion_from_matrix(rotation: Tensor) -> Tensor:
    """Convert rotation matrices to unit quaternions.

    Args:
        rotation: rotation matrices, shape (..., 3, 3).

    Returns:
        Quaternions x, y, z, w with w >= 0, shape (..., 4).

    Raises:
        ValueError: if the last two dimensions are not (3, 3).

    Source: Shepperd, Quaternion from rotation matrix, 1978; the largest component is the pivot.
    """
    _check_matrix("quaternion_from_matrix: rotation", rotation)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = rotation.flatten(-2).unbind(-1)
    # Row k is 4 q_k q; the row of the largest q_k is far from zero, so that its length can be divided out.
    rows = torch.stack(
        [
            torch.stack([1 + m00 - m11 - m22, m10 + m01, m20 + m02, m21 - m12], dim=-1),
            torch.stack([m10 + m01, 1 - m00 + m11 - m22, m21 + m12, m02 - m20], dim=-1),
            torch.stack([m20 + m02, m21 + m12, 1 - m00 - m11 + m22, m10 - m01], dim=-1),
            torch.stack([m21 - m12, m02 - m20, m10 - m01, 1 + m00 + m11 + m22], dim=-1),
        ],
        dim=-2,
    )
    pivot = rows.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    row = torch.gather(rows, -2, pivot[..., None, None].expand(*pivot.shape, 1, 4)).squeeze(-2)
    quaternion = row / torch.linalg.norm(row, dim=-1, keepdim=True)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


def matrix_from_quaternion(quaternion: Tensor) -> Tensor:
    """Convert quaternions to rotation matrices.

    Args:
        quaternion: x, y, z, w of any length but zero, shape (..., 4).

    Returns:
        Rotation matrices, shape (..., 3, 3).

    Raises:
        ValueError: if the last dimension is not 4.
    """
    if quaternion.shape[-1:] != (4,):
        raise ValueError(f"matrix_from_quaternion: quaternion has shape {tuple(quaternion.shape)}, expected (..., 4)")
    x, y, z, w = (quaternion / torch.linalg.norm(quaternion, dim=-1, keepdim=True)).unbind(-1)
    entries = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - z * w),
        2 * (x * z + y * w),
        2 * (x * y + z * w),
        1 - 2 * (x * x + z * z),
        2 * (y * z - x * w),
        2 * (x * z - y * w),
        2 * (y * z + x * w),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def matrix_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Convert axis-angle vectors to rotation matrices; differentiable at zero.

    Args:
        axis_angle: axes times angles in radians, shape (..., 3).

    Returns:
        Rotation matrices, shape (..., 3, 3).

    Raises:
        ValueError: if the last dimension is not 3.

    Source: Rodrigues' formula, R = I + sin(a)/a W + (1 - cos(a))/a^2 W^2 with W the skew matrix of the vector.
    """
    if axis_angle.shape[-1:] != (3,):
        raise ValueError(f"matrix_from_axis_angle: axis_angle has shape {tuple(axis_angle.shape)}, expected (..., 3)")
    squared = (axis_angle * axis_angle).sum(dim=-1)
    small = squared < _SMALL_SQUARED
    angle = torch.sqrt(torch.where(small, torch.ones_like(squared), squared))
    sine = torch.where(small, 1 - squared / 6 + squared * squared / 120, torch.sin(angle) / angle)
    half = torch.sin(angle / 2) / angle  # 1 - cos(a) = 2 sin(a/2)^2 does not cancel
    cosine = torch.where(small, 0.5 - squared / 24 + squared * squared / 720, 2 * half * half)
    skew = skew_matrix(axis_angle)
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    with torch.autocast(axis_angle.device.type, enabled=False):  # bfloat16 keeps a quarter of a degree
        twice = skew @ skew
    return identity + sine[..., None, None] * skew + cosine[..., None, None] * twice


def rotation_about_z(angle: Tensor) -> Tensor:
    """Return rotations (B, 3, 3) about the z axis by angles (B,), radians."""
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = [angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero, zero, zero, one]
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def axis_angle_from_matrix(rotation: Tensor) -> Tensor:
    """Convert rotation matrices to axis-angle vectors; differentiable everywhere but at pi.

    Args:
        rotation: rotation matrices, shape (..., 3, 3).

    Returns:
        Axes times angles in [0, pi], shape (..., 3). At pi either of the two axes.

    Raises:
        ValueError: if the last two dimensions are not (3, 3).
    """
    quaternion = quaternion_from_matrix(rotation)
    vector, real = quaternion[..., :3], quaternion[..., 3]
    squared = (vector * vector).sum(dim=-1)
    small = squared < _SMALL_SQUARED
    sine = torch.sqrt(torch.where(small, torch.ones_like(squared), squared))
    safe_real = torch.where(small, real, torch.ones_like(real))
    ratio = squared / (safe_real * safe_real)
    series = 2 / safe_real * (1 - ratio / 3 + ratio * ratio / 5)
    factor = torch.where(small, series, 2 * torch.atan2(sine, real) / sine)
    return vector * factor[..., None]


def geodesic_distance(rotation_a: Tensor, rotation_b: Tensor) -> Tensor:
    """Measure the angle between rotations.

    Args:
        rotation_a: rotation matrices, shape (..., 3, 3).
        rotation_b: rotation matrices, shape (..., 3, 3), broadcast against the first.

    Returns:
        Angles in [0, pi] radians, shape (...). The gradient at 0 and pi, where it is not defined, is zero.

    Raises:
        ValueError: if the last two dimensions of either are not (3, 3).

    Source: atan2 of sine and cosine, because arccos loses half of the digits at 0 and pi.
    """
    _check_matrix("geodesic_distance: rotation_a", rotation_a)
    _check_matrix("geodesic_distance: rotation_b", rotation_b)
    with torch.autocast(rotation_a.device.type, enabled=False):  # bfloat16 keeps a quarter of a degree
        relative = rotation_a.transpose(-1, -2) @ rotation_b
    twice_sine = torch.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        dim=-1,
    )
    squared = (twice_sine * twice_sine).sum(dim=-1)
    zero = squared == 0
    norm = torch.where(zero, squared, torch.sqrt(torch.where(zero, torch.ones_like(squared), squared)))
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return torch.atan2(norm, trace - 1)


def skew_matrix(vector: Tensor) -> Tensor:
    """Return the matrices (..., 3, 3) that take the cross product with vectors (..., 3)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def _check_matrix(name: str, matrix: Tensor) -> None:
    if matrix.shape[-2:] != (3, 3):
        raise ValueError(f"{name} has shape {tuple(matrix.shape)}, expected (..., 3, 3)")
