"""What an object's box covers of an image: a silhouette that takes no mesh and next to no time."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.catalog import ObjectModel
from pose_estimation_ros.objects.control_points import box_corners

_NOTHING = np.zeros((0, 2), dtype=np.float32)
_NEAREST_DIAMETERS = 0.01  # what comes nearer to the camera's plane has no outline


def box_outline(model: ObjectModel, pose: np.ndarray, camera: Camera) -> np.ndarray:
    """Return the outline of an object's box in the image, as if nothing hid it.

    Args:
        model: the object.
        pose: camera_from_object (4, 4), metres.
        camera: without distortion.

    Returns:
        The corners (K, 2) of a convex polygon inside the image, pixels; none where the box is outside or reaches
        up to the camera.
    """
    corners = box_corners(model) @ pose[:3, :3].T + pose[:3, 3]
    if not corners[:, 2].min() > _NEAREST_DIAMETERS * model.diameter_m:
        return _NOTHING
    hull = cv2.convexHull(camera.project(corners).astype(np.float32))
    right, bottom = camera.width - 0.5, camera.height - 0.5
    image = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]], dtype=np.float32)
    area, inside = cv2.intersectConvexConvex(hull, image)
    return inside[:, 0] if area > 0.0 else _NOTHING


def common_areas(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> np.ndarray:
    """Return the areas (N, M) that convex polygons (K, 2) have in common, square pixels."""
    common = np.zeros((len(first), len(second)))
    for row, one in enumerate(first):
        for column, other in enumerate(second):
            if len(one) and len(other):
                common[row, column] = cv2.intersectConvexConvex(one, other)[0]
    return common


def areas(outlines: Sequence[np.ndarray]) -> np.ndarray:
    """Return the areas (N,) of polygons (K, 2), square pixels."""
    return np.array([cv2.contourArea(outline) if len(outline) else 0.0 for outline in outlines])
