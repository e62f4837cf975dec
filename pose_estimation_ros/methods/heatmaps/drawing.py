"""Accumulated heatmaps and their peaks, drawn over the image."""

from __future__ import annotations

import cv2
import numpy as np

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.heatmaps.estimator import Heatmaps, find_peaks
from pose_estimation_ros.networks.heatmap_net import STRIDE


def draw(backend: Heatmaps, frame: Frame, crops: Crops, detections: list[Detection]) -> np.ndarray:
    """Draw the accumulated heatmaps of all crops over a copy of the image (H, W, 3), warm where they are high."""
    if len(crops) == 0:
        return frame.rgb.copy()
    maps = backend.predict(crops)[:, backend.points]
    peaks = find_peaks(maps, 1, backend.first_cell).pixels[:, :, 0].cpu().double().numpy()
    strongest = maps / maps.amax(dim=(2, 3), keepdim=True).clamp(min=1e-6)
    squares = crops.square.cpu().double().numpy()
    highest = strongest.amax(dim=1).cpu().numpy()
    return draw_heatmaps(frame.rgb, highest, peaks, squares, backend.crop_size, backend.first_cell)


def draw_heatmaps(
    rgb: np.ndarray, maps: np.ndarray, peaks: np.ndarray, squares: np.ndarray, crop_size: int, first: float
) -> np.ndarray:
    """Lay heatmaps over an image.

    Args:
        rgb: image (H, W, 3) uint8.
        maps: accumulated heatmaps (N, h, w) in [0, 1].
        peaks: pixels in the crops, shape (N, K, 2).
        squares: centre and side of the crops in the image, shape (N, 3).
        crop_size: side of the crops.
        first: pixel column, or row, of the first cell in the crops.
    """
    height, width = rgb.shape[:2]
    heat = np.zeros((height, width), np.float32)
    for values, square in zip(maps, squares, strict=True):
        scale = square[2] / crop_size
        start = square[:2] + (first - (crop_size - 1) / 2.0) * scale
        image_from_cell = np.array([[STRIDE * scale, 0.0, start[0]], [0.0, STRIDE * scale, start[1]]])
        heat = np.maximum(
            heat, cv2.warpAffine(np.ascontiguousarray(values, np.float32), image_from_cell, (width, height))
        )
    warm = cv2.cvtColor(
        cv2.applyColorMap((255.0 * heat.clip(0.0, 1.0)).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB
    )
    cover = np.minimum(1.5 * heat, 0.85)[..., None]
    drawing = (rgb * (1.0 - cover) + warm * cover).astype(np.uint8)
    for dots, square in zip(peaks, squares, strict=True):
        for x, y in square[:2] + (dots - (crop_size - 1) / 2.0) * (square[2] / crop_size):
            cv2.circle(drawing, (round(x), round(y)), 2, (255, 255, 255), -1, cv2.LINE_AA)
    return drawing
