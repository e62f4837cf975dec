"""Symmetric objects: the poses that look the same, and distances that do not tell them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_SAME = 1e-6  # transforms that agree to this many units in every entry are one


def symmetry_transforms(
    discrete: Sequence[np.ndarray] = (),
    continuous: Sequence[tuple[Sequence[float], Sequence[float]]] = (),
    step_rad: float = 0.01,
) -> np.ndarray:
    """List the transforms of the object frame that leave the object's look unchanged.

    Args:
        discrete: rigid transforms, shape (4, 4) each, metres, without the identity.
        continuous: pairs of axis (3,) and a point on it (3,) in metres; any angle about the axis is a symmetry.
        step_rad: half the angle between two samples of a continuous symmetry, so that a point of the rim moves
            by at most this fraction of the diameter from one to the next.

    Returns:
        Transforms (S, 4, 4), the identity first, every continuous one combined with every discrete one, none twice.

    Raises:
        ValueError: if the step is not positive, a transform is not (4, 4) or an axis has no length.

    Source: bop_toolkit, misc.get_symmetry_transformations: ceil(pi / step) rotations for a continuous symmetry.
    """
    if not step_rad > 0.0:
        raise ValueError(f"symmetry_transforms: step_rad = {step_rad!r}, expected a positive angle")
    turns = [np.eye(4)]
    for axis, offset_m in continuous:
        count = math.ceil(math.pi / step_rad)
        turns += [rotation_about(axis, offset_m, 2.0 * math.pi * index / count) for index in range(1, count)]
    flips = [np.eye(4)]
    for matrix in discrete:
        if np.shape(matrix) != (4, 4):
            raise ValueError(f"symmetry_transforms: discrete symmetry of shape {np.shape(matrix)}, expected (4, 4)")
        flips.append(np.asarray(matrix, dtype=np.float64))
    combined = np.einsum("cij,djk->dcik", np.stack(turns), np.stack(flips)).reshape(-1, 4, 4)
    rounded = np.round(combined.reshape(-1, 16) / _SAME).astype(np.int64)
    _, first = np.unique(rounded, axis=0, return_index=True)
    return combined[np.sort(first)]


def rotation_about(
    axis: Sequence[float] | np.ndarray, point_m: Sequence[float] | np.ndarray, angle_rad: float
) -> np.ndarray:
    """Return the rigid transform (4, 4) that turns by an angle about an axis (3,) through a point (3,) in metres.

    Raises:
        ValueError: if the axis has no length.
    """
    direction = np.asarray(axis, dtype=np.float64)
    length = np.linalg.norm(direction)
    if not length > 0.0:
        raise ValueError(f"rotation_about: axis {tuple(axis)!r}, expected a vector with a length")
    x, y, z = direction / length
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    transform = np.eye(4)
    transform[:3, :3] += math.sin(angle_rad) * skew + (1.0 - math.cos(angle_rad)) * (skew @ skew)
    point = np.asarray(point_m, dtype=np.float64)
    transform[:3, 3] = point - transform[:3, :3] @ point
    return transform


def canonicalise(
    camera_from_object: np.ndarray, transforms: np.ndarray, reference: np.ndarray | None = None
) -> np.ndarray:
    """Replace a pose by the one that looks the same and whose rotation lies nearest to a reference.

    Args:
        camera_from_object: pose, shape (4, 4).
        transforms: symmetries from `symmetry_transforms`, shape (S, 4, 4).
        reference: pose (4, 4), for instance of the frame before; the camera's axes where absent.

    Returns:
        One of the S equivalent poses, shape (4, 4).
    """
    rotation = np.eye(3) if reference is None else np.asarray(reference)[:3, :3]
    return camera_from_object @ transforms[_nearest(rotation, camera_from_object, transforms)]


def symmetric_distance(pose_a: np.ndarray, pose_b: np.ndarray, transforms: np.ndarray) -> tuple[float, float]:
    """Measure how far apart two poses are, not counting differences that nobody can see.

    Args:
        pose_a: pose, shape (4, 4), metres.
        pose_b: pose, shape (4, 4), metres.
        transforms: symmetries from `symmetry_transforms`, shape (S, 4, 4).

    Returns:
        Angle in radians and distance of the origins in metres, for the equivalent of b with the least angle to a.
    """
    angles, metres = symmetric_distances(np.asarray(pose_a)[None], np.asarray(pose_b)[None], transforms)
    return float(angles[0, 0]), float(metres[0, 0])


def symmetric_distances(
    poses_a: np.ndarray, poses_b: np.ndarray, transforms: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return angles and distances (N, M) as `symmetric_distance` between poses (N, 4, 4) and poses (M, 4, 4)."""
    relative = np.einsum("nji,mjk->nmik", poses_a[:, :3, :3], poses_b[:, :3, :3])
    nearest = transforms[np.einsum("nmij,sji->nms", relative, transforms[:, :3, :3]).argmax(axis=2)]
    relative = relative @ nearest[..., :3, :3]
    skew = (relative - np.swapaxes(relative, 2, 3))[..., [2, 0, 1], [1, 2, 0]]
    angles = np.arctan2(np.linalg.norm(skew, axis=2), np.trace(relative, axis1=2, axis2=3) - 1.0)
    origins = np.einsum("mij,nmj->nmi", poses_b[:, :3, :3], nearest[..., :3, 3]) + poses_b[:, :3, 3]
    return angles, np.linalg.norm(poses_a[:, None, :3, 3] - origins, axis=2)


def _nearest(rotation: np.ndarray, pose: np.ndarray, transforms: np.ndarray) -> int:
    # trace(Rref^T R S) = 1 + 2 cos(angle): the largest trace is the least angle.
    traces = np.einsum("ij,sji->s", rotation.T @ pose[:3, :3], transforms[:, :3, :3])
    return int(np.argmax(traces))
