"""The part of an image that an object can be seen in, so that no more than that is rendered."""

from __future__ import annotations

from itertools import product

import numpy as np

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.mesh import Mesh


def corners_of(mesh: Mesh) -> np.ndarray:
    """Return the corners (8, 3) of a mesh's box, metres."""
    return np.array(list(product(*zip(*mesh.bounds, strict=True))))


def visible_window(corners: np.ndarray, camera: Camera) -> tuple[int, int, int, int] | None:
    """Return x, y, width, height of the pixels that a box can be seen in, None out of view.

    Args:
        corners: of the box (8, 3), camera axes, metres.
        camera: without distortion.
    """
    if not np.isfinite(corners).all() or (corners[:, 2] <= 0).all():
        return None
    if (corners[:, 2] <= 1e-3).any():  # part of the box is behind the camera: its projection says nothing
        return 0, 0, camera.width, camera.height
    pixels = camera.project(corners)
    low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 2, (camera.width, camera.height))
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])
