"""Points of an object that stand for its pose: the corners of its box, or points spread over its surface."""

from __future__ import annotations

import numpy as np

from pose_estimation_ros.objects.catalog import ObjectModel

CORNERS = 8  # of a box
_CORNER_SIGNS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])


def box_corners(model: ObjectModel) -> np.ndarray:
    """Return the corners (8, 3) of an object's box in metres, counted in binary: z fastest, the minimum first."""
    return model.centre_m + _CORNER_SIGNS * model.half_size_m


def farthest_points(points: np.ndarray, count: int) -> np.ndarray:
    """Choose points that are far from each other and from the centre, one after the other.

    Args:
        points: candidates (N, 3).
        count: how many are wanted.

    Returns:
        (count, 3), the farthest from the centre of the candidates' box first.

    Raises:
        ValueError: if there are fewer candidates than wanted.

    Source: farthest point sampling, as PVNet (Peng et al., CVPR 2019) places its keypoints.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) < count:
        raise ValueError(f"farthest_points: {len(points)} candidates, expected at least {count}")
    centre = (points.min(axis=0) + points.max(axis=0)) / 2.0
    nearest = np.linalg.norm(points - centre, axis=1)
    chosen = []
    for _ in range(count):
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]
