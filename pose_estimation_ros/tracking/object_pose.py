"""What leaves the pipeline: the pose of one object instance that is known over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ObjectPose:
    """One object instance of a frame."""

    name: str
    object_index: int  # into the catalog
    track_id: int  # name and track id together name an instance
    camera_from_object: np.ndarray  # (4, 4) float64, metres
    score: float  # in [0, 1], the probability that it is right where the bundle has a calibrated score
    covariance: np.ndarray | None  # (6, 6) of x y z rx ry rz, camera axes, metres and radians; None = unknown
    box: np.ndarray  # (4,) x0 y0 x1 y1 of the detection, pixels of the full image
    mask: np.ndarray | None = None  # (H, W) bool, visible pixels of the detection
    inliers: int = 0  # correspondences behind the pose
    comparisons: int = 0  # of renderings with the image that the refiner made for it
