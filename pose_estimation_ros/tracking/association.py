"""Decide which estimate of a frame belongs to which known instance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.symmetry import symmetric_distances
from pose_estimation_ros.objects.box_outline import areas, box_outline, common_areas
from pose_estimation_ros.objects.catalog import ObjectModel

_FORBIDDEN = 1e6
_ALIKE_RAD = np.radians(75.0)  # estimates of what was hidden, and still is in part, are off by less


def pose_costs(
    known: Sequence[np.ndarray], estimated: Sequence[np.ndarray], transforms: np.ndarray, reach_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compare known and estimated poses of one kind of object.

    Args:
        known: poses (4, 4) of N instances, metres.
        estimated: poses (4, 4) of M estimates, metres.
        transforms: symmetries of the object from `symmetry_transforms`, shape (S, 4, 4).
        reach_m: distance of the origins that counts 1.

    Returns:
        Distances of the origins in units of the reach, at most 1, plus symmetry-aware angles in units of pi (N, M), so
        that an estimate that is as near to two instances goes to the one that is turned alike; and whether the origins
        are within reach (N, M).
    """
    angles, metres = symmetric_distances(np.reshape(known, (-1, 4, 4)), np.reshape(estimated, (-1, 4, 4)), transforms)
    return np.minimum(metres / reach_m, 1.0) + angles / np.pi, metres <= reach_m


def turned_alike(known: Sequence[np.ndarray], estimated: Sequence[np.ndarray], transforms: np.ndarray) -> np.ndarray:
    """Return which known poses (4, 4) and estimates are turned alike, symmetries taken into account: (N, M) bool."""
    angles, _ = symmetric_distances(np.reshape(known, (-1, 4, 4)), np.reshape(estimated, (-1, 4, 4)), transforms)
    return angles <= _ALIKE_RAD


def gated_costs(
    model: ObjectModel,
    known: Sequence[np.ndarray],
    estimated: Sequence[np.ndarray],
    transforms: np.ndarray,
    gate_diameters: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return costs as `pose_costs`, and which pairs (N, M) are within a gate in diameters, in space and in the image.

    In the image a diameter is what it appears to be at the depth of the known instance.
    """
    costs, near = pose_costs(known, estimated, transforms, gate_diameters * model.diameter_m)
    before, now = (
        np.array([pose[:3, :3] @ model.centre_m + pose[:3, 3] for pose in poses]) for poses in (known, estimated)
    )
    rays, others = (centres[:, :2] / np.maximum(centres[:, 2:], 1e-9) for centres in (before, now))
    across_m = np.linalg.norm(rays[:, None] - others[None], axis=2) * before[:, 2:]
    return costs, near & (across_m <= gate_diameters * model.diameter_m)


def shared_pixels(
    model: ObjectModel, known: Sequence[np.ndarray], estimated: Sequence[np.ndarray], camera: Camera
) -> tuple[np.ndarray, np.ndarray]:
    """Compare what instances and estimates of one object cover of the image, by the outlines of their boxes.

    Args:
        model: the object.
        known: poses (4, 4) of N instances where they are expected, metres.
        estimated: poses (4, 4) of M estimates, metres.
        camera: without distortion.

    Returns:
        Intersection over union (N, M), and the share of every instance (N,) that a nearer one hides: what is hidden is
        hardly what an estimate is of.
    """
    before = [box_outline(model, pose, camera) for pose in known]
    now = [box_outline(model, pose, camera) for pose in estimated]
    common, size = common_areas(before, now), areas(before)
    overlaps = common / np.maximum(size[:, None] + areas(now)[None] - common, 1e-9)
    depth = np.array([pose[2, 3] for pose in known])
    covered = np.where(depth[None] < depth[:, None], common_areas(before, before), 0.0)
    return overlaps, covered.max(axis=1) / np.maximum(size, 1e-9)


def assign(costs: np.ndarray, allowed: np.ndarray) -> list[tuple[int, int]]:
    """Pair rows and columns so that as many as may be are paired, and the sum of their costs (N, M) is least.

    Args:
        costs: of every pair.
        allowed: pairs that may be (N, M).

    Returns:
        Pairs of row and column; each at most once.
    """
    if not costs.size:
        return []
    from scipy.optimize import linear_sum_assignment  # the first pose, which matches nothing, does not wait for it

    rows, columns = linear_sum_assignment(np.where(allowed, costs, _FORBIDDEN))
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if allowed[row, column]]
