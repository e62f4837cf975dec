"""Detections of a pose node as placed objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pose_estimation_ros.ros.view.content import transform_of


@dataclass(frozen=True)
class DetectedObject:
    """One instance in one image."""

    id: str  # its frame on TF
    name: str  # of the object
    camera_from_object: np.ndarray  # (4, 4), metres
    covariance: np.ndarray | None  # (6, 6) of x y z rx ry rz, metres and radians; None where it is not known


def detected_objects(detections: Any) -> list[DetectedObject]:
    """Read a vision_msgs/Detection3DArray; detections without a pose are left out.

    Raises:
        ValueError: if a pose or its covariance is none.
    """
    found = []
    for item in detections.detections:
        for result in item.results[:1]:
            covariance = np.asarray(result.pose.covariance, dtype=np.float64).reshape(6, 6)
            try:
                placed = transform_of(result.pose.pose.position, result.pose.pose.orientation)
            except ValueError as error:  # of a quaternion of zeros
                raise ValueError(f"{item.id}: orientation: {error}") from error
            if not (np.isfinite(placed).all() and np.isfinite(covariance).all()):
                raise ValueError(f"{item.id}: pose or covariance is not finite")
            known = covariance if covariance.any() else None
            found.append(DetectedObject(item.id, result.hypothesis.class_id, placed, known))
    return found
