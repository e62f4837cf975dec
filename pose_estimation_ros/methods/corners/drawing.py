"""The regressed boxes, with circles as wide as their corners are uncertain."""

from __future__ import annotations

import cv2
import numpy as np

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.corners.estimator import Corners
from pose_estimation_ros.rendering.drawing import BOX_EDGES, color_of


def draw(backend: Corners, frame: Frame, crops: Crops, detections: list[Detection]) -> np.ndarray:
    """Draw the corners as the network says them, before PnP, into a copy of the image (H, W, 3) uint8."""
    drawing = frame.rgb.copy(order="C")
    if len(crops) == 0:
        return drawing
    limit = 4.0 * max(drawing.shape)  # what is farther away overflows the drawing's integers, and nobody sees it
    pixels, deviations = backend.in_image(backend.predict(crops), crops)
    for corners, deviation, detection in zip(pixels.clip(-limit, limit), deviations, detections, strict=True):
        color = color_of(detection.object_index)
        places = [(round(x), round(y)) for x, y in corners]
        for first, second in BOX_EDGES:
            cv2.line(drawing, places[first], places[second], color, 1, cv2.LINE_AA)
        for place, radius in zip(places, deviation, strict=True):
            cv2.circle(drawing, place, max(1, round(min(radius, limit))), color, 1, cv2.LINE_AA)
            cv2.circle(drawing, place, 2, color, -1, cv2.LINE_AA)
    return drawing
