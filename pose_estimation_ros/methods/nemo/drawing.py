"""What fitted neural meshes explain of the image, and what covers them."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.nemo.estimator import Nemo, image_size

_EXPLAINED, _COVERED = (60, 220, 60), (230, 60, 50)


@torch.inference_mode()
def draw(backend: Nemo, frame: Frame, crops: Crops, detections: list[Detection]) -> np.ndarray:
    """Shade what is explained by the objects green and what covers them red, (H, W, 3) uint8."""
    drawing = frame.rgb.copy()
    if len(crops) == 0:
        return drawing
    features = backend.predict(crops)
    fits = backend.fit(features, crops, np.stack([item.box for item in detections]), image_size(frame))
    mask, explained = backend.explained(features, crops, fits)
    squares = crops.square.cpu().double().numpy()
    for shown, good, square in zip(mask.cpu().numpy(), explained.cpu().numpy(), squares, strict=True):
        for cells, color in ((shown & good, _EXPLAINED), (shown & ~good, _COVERED)):
            drawing = _shaded(drawing, cells, square, color)
    return drawing


def _shaded(rgb: np.ndarray, cells: np.ndarray, square: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Mix a colour into the part of an image that cells (h, w) of a square cover."""
    height, width = rgb.shape[:2]
    side = square[2] / cells.shape[1]
    start = square[:2] - square[2] / 2.0 + (side - 1.0) / 2.0
    image_from_cell = np.array([[side, 0.0, start[0]], [0.0, side, start[1]]])
    wide = cv2.warpAffine(cells.astype(np.float32), image_from_cell, (width, height))
    cover = 0.5 * (wide > 0.5)[..., None]
    return (rgb * (1.0 - cover) + np.array(color) * cover).astype(np.uint8)
