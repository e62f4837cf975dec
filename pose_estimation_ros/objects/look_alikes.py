"""Objects that a camera cannot tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from pose_estimation_ros.geometry.symmetry import rotation_about
from pose_estimation_ros.objects.mesh_surface import Surface
from pose_estimation_ros.objects.outline import even_directions
from pose_estimation_ros.objects.symmetry_search import Difference, difference

_SAME_SIZE = 0.07  # difference of sizes that nobody sees
_COARSE, _FINE = 200, 900
_TRIED = 6
_DIRECTIONS, _ROLLS = 60, 12


class Alike(NamedTuple):
    """Two objects of one shape."""

    first: str
    second: str
    size_ratio: float  # of the second's diameter to the first's
    same_color: bool

    def __str__(self) -> str:
        pair = f"{self.first} and {self.second}"
        if not self.same_color:
            return f"{pair} have one shape, their colours tell them apart"
        if abs(np.log(self.size_ratio)) < _SAME_SIZE:
            return f"{pair} cannot be told apart by sight: same shape, colours and size; one name for both is enough"
        return (
            f"{pair} cannot be told apart by sight: they differ in size alone (by {self.size_ratio:.2f}), and without "
            "depth a larger one farther away looks the same; expect either name"
        )


def look_alikes(surfaces: Sequence[tuple[str, Surface]]) -> list[Alike]:
    """Compare all pairs of objects, scaled to one size."""
    found = []
    for number, (first, surface) in enumerate(surfaces):
        for second, other in surfaces[number + 1 :]:
            # Both ways: all of one may lie on another that has a spout more.
            changes = [_least_difference(surface, other)]
            if changes[0] is not None and changes[0].same_shape:
                changes.append(_least_difference(other, surface))
            if all(change is not None and change.same_shape for change in changes):
                same_color = all(change is not None and change.same_color for change in changes)
                found.append(Alike(first, second, other.diameter_m / surface.diameter_m, same_color))
    return found


def _least_difference(surface: Surface, other: Surface) -> Difference | None:
    """Return how two objects differ in the pose and size in which they differ least; None where that is a lot."""
    if not np.allclose(_spread(surface), _spread(other), atol=0.02):
        return None
    scale = other.diameter_m / surface.diameter_m
    points = (surface.points - surface.centre) * scale
    rotations = _rotations()
    few = points[:: max(1, len(points) // _COARSE)]
    moved = np.einsum("rij,pj->rpi", rotations, few) + other.centre
    score = other.closest(moved.reshape(-1, 3)).distance.reshape(len(rotations), -1).mean(axis=1)
    best: Difference | None = None
    for index in np.argsort(score)[:_TRIED]:
        transform = _fitted(points, other, rotations[index])
        full = np.eye(4)
        full[:3, :3] = transform[:3, :3] * scale
        full[:3, 3] = transform[:3, 3] - full[:3, :3] @ surface.centre
        change = difference(surface, full, other)
        if best is None or (not change.same_shape, not change.same_color, change.mean) < (
            not best.same_shape,
            not best.same_color,
            best.mean,
        ):
            best = change
    return best


def _spread(surface: Surface) -> np.ndarray:
    """Return the standard deviations (3,) of the surface along its principal axes, in diameters."""
    return np.sqrt(np.linalg.eigvalsh(np.cov(surface.points.T))) / surface.diameter_m


def _rotations() -> np.ndarray:
    """Return rotations (R, 3, 3) all over the sphere."""
    found = []
    for direction in even_directions(_DIRECTIONS):
        axis = np.cross([0.0, 0.0, 1.0], direction)
        length = np.linalg.norm(axis)
        tilt = Rotation.from_rotvec(axis / max(length, 1e-9) * np.arctan2(length, direction[2]))
        rolls = Rotation.from_rotvec(np.outer(2.0 * np.pi * np.arange(_ROLLS) / _ROLLS, [0.0, 0.0, 1.0]))
        found.append((tilt * rolls).as_matrix())
    return np.concatenate(found)


def _fitted(points: np.ndarray, other: Surface, rotation: np.ndarray) -> np.ndarray:
    """Move points (P, 3) about the origin onto a surface, from a rotation (3, 3) on; return the transform (4, 4)."""
    some = points[:: max(1, len(points) // _FINE)]
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = rotation, other.centre
    for _ in range(12):
        moved = some @ transform[:3, :3].T + transform[:3, 3]
        near = other.closest(moved)
        arm = moved - other.centre
        system = np.concatenate([np.cross(arm, near.normals), near.normals], axis=1)
        residual = ((near.points - moved) * near.normals).sum(axis=1)
        damping = 1e-4 * len(some) * np.diag([other.diameter_m**2] * 3 + [1.0] * 3)
        step = np.linalg.solve(system.T @ system + damping, system.T @ residual)
        angle = float(np.linalg.norm(step[:3]))
        turn = rotation_about(step[:3], other.centre, angle) if angle > 1e-9 else np.eye(4)
        turn[:3, 3] += step[3:]
        transform = turn @ transform
    return transform
