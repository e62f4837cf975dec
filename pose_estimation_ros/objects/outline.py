"""Points of a shape that reach farthest, from which its box in an image follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.objects.mesh import Mesh

OUTLINE_POINTS = 96


def outline_points(points: np.ndarray) -> np.ndarray:
    """Return the points (OUTLINE_POINTS, 3) of a shape (N, 3) that reach farthest in directions all around."""
    directions = even_directions(OUTLINE_POINTS)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2.0
    return points[np.argmax((points - centre) @ directions.T, axis=0)].astype(np.float32)


def outlines(meshes: Sequence[Mesh]) -> Tensor:
    """Return the outline points of meshes (O, OUTLINE_POINTS, 3), metres."""
    return torch.from_numpy(np.stack([outline_points(mesh.vertices) for mesh in meshes]))


def even_directions(count: int) -> np.ndarray:
    """Return unit vectors (count, 3) spread evenly over the sphere (Fibonacci's spiral)."""
    number = np.arange(count) + 0.5
    height = 1.0 - 2.0 * number / count
    azimuth = number * np.pi * (3.0 - np.sqrt(5.0))
    flat = np.sqrt(1.0 - height**2)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), height], axis=1).astype(np.float32)
