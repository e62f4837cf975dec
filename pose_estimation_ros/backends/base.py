"""What every pose estimator has in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame


@dataclass(frozen=True)
class PoseHypothesis:
    """One estimated pose of one detected object."""

    object_index: int  # into the catalog
    detection_index: int  # into the detections of the frame
    camera_from_object: np.ndarray  # (4, 4) float64, metres
    score: float  # higher is better, in [0, 1]
    inliers: int = 0
    covariance: np.ndarray = field(
        default_factory=lambda: np.zeros((6, 6))
    )  # x y z rx ry rz, camera axes; zeros = unknown


class Backend(Protocol):
    """Estimate the poses of all detected objects of one frame together."""

    crop_size: int  # side of the square crops the backend wants, pixels
    crop_padding: float  # crop side as a multiple of the longer side of the box

    def estimate(self, frame: Frame, crops: Crops, detections: list[Detection]) -> list[PoseHypothesis]:
        """Estimate at most one pose per crop; crops without a pose are left out.

        Args:
            frame: the image the crops were cut from.
            crops: N crops of `crop_size`.
            detections: the N detections behind them.
        """
        ...


@runtime_checkable
class Explains(Protocol):
    """A backend that can draw what it saw."""

    debug_name: str  # of the topic ~/debug/NAME and of the folder of pictures

    def explain(self, frame: Frame, crops: Crops, detections: list[Detection]) -> np.ndarray:
        """Draw into a copy of the image, (H, W, 3) uint8; computed anew, so only when somebody looks."""
        ...
