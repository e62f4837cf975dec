"""Frames and boxes as the pipeline takes them."""

from __future__ import annotations

import numpy as np

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.geometry.camera import Camera

_MIN_VISIBLE_PX = 2.0  # boxes with less than this inside the image cannot be cropped


def prepared(frame: Frame) -> Frame:
    """Return the frame as the camera without distortion would have taken it, its pixels in writable memory.

    Images from messages are read-only, and mirrored views have negative strides; tensors can share neither.
    """
    image = frame.camera.undistort_image(frame.rgb)
    if not (image.flags.c_contiguous and image.flags.writeable):
        image = np.array(image, order="C")
    return Frame(image, frame.camera.undistorted(), frame.stamp_ns, frame.frame_id)


def is_inside(box: np.ndarray, camera: Camera) -> bool:
    """Tell whether enough of a box (4,) is inside the image to be cropped."""
    x0, y0, x1, y1 = (float(value) for value in box)
    if not np.isfinite([x0, y0, x1, y1]).all():
        return False
    visible = min(x1, camera.width - 0.5) - max(x0, -0.5), min(y1, camera.height - 0.5) - max(y0, -0.5)
    return min(visible) >= _MIN_VISIBLE_PX


def ahead(centre_m: np.ndarray, distance_m: float) -> np.ndarray:
    """Return a pose (4, 4) with a point of the object in the middle of the image."""
    pose = np.eye(4)
    pose[:3, 3] = np.array([0.0, 0.0, distance_m]) - centre_m
    return pose
