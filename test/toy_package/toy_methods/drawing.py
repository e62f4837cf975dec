"""What `toy` saw."""

from __future__ import annotations

import cv2
import numpy as np

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.methods.base import Detection, Frame

from .estimator import Toy


def draw(backend: Toy, frame: Frame, crops: Crops, detections: list[Detection]) -> np.ndarray:
    """Draw every crop, and a cross where the network sees the object's centre, over a copy of the image (H, W, 3)."""
    picture = frame.rgb.copy()
    for (x, y), (centre_x, centre_y, side) in zip(backend.predict(crops)[0], crops.square.tolist(), strict=True):
        left, top, size = round(centre_x - side / 2), round(centre_y - side / 2), round(side)
        cv2.rectangle(picture, (left, top, size, size), (255, 255, 0))
        cv2.drawMarker(picture, (round(x), round(y)), (255, 0, 255), markerSize=7)
    return picture
