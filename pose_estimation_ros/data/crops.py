"""Square views of detected objects, each with its own camera matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.data.pyramid import Pyramid, picture_of, pyramid_of
from pose_estimation_ros.geometry.transfer import to_device


@dataclass(frozen=True)
class Crops:
    """Square views of the detected objects of one frame, ready for a network."""

    pixels: Tensor  # (N, 3, S, S) float in [0, 1]
    camera: Tensor  # (N, 3, 3) float32 intrinsics of each crop
    object_index: Tensor  # (N,) int64 into the catalog
    square: Tensor  # (N, 3) float32 centre x, centre y, side in pixels of the full image

    def __len__(self) -> int:
        return len(self.pixels)


def squares_around(boxes: np.ndarray, padding: float) -> np.ndarray:
    """Return squares (N, 3) = centre x, centre y, side around boxes (N, 4) x0 y0 x1 y1, padded by a factor."""
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    sides = padding * np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2.0
    return np.column_stack([centres, np.maximum(sides, 2.0)]).astype(np.float32)


def crop_frame(frame: Frame, detections: list[Detection], size: int, padding: float, device: torch.device) -> Crops:
    """Cut a square around every detection of a frame.

    Args:
        frame: the image and its camera (undistorted).
        detections: N detections.
        size: side S of the crops in pixels.
        padding: side of the square as a multiple of the longer side of the box.
        device: where the crops are wanted.

    Returns:
        N crops; what lies outside the image is grey (0.5).
    """
    squares = squares_around(np.array([item.box for item in detections]), padding)
    index = to_device(np.array([item.object_index for item in detections], dtype=np.int64), device)
    return cut_squares(*picture_of(frame, device), to_device(squares, device), index, size)


def cut_squares(image: Tensor | Pyramid, intrinsics: Tensor, squares: Tensor, object_index: Tensor, size: int) -> Crops:
    """Cut squares (N, 3) out of one image (3, H, W), or its pyramid, and give each its own intrinsics.

    Enlargement is bilinear; reduction averages with a mip level so that nothing aliases.
    """
    scale = squares[:, 2:3] / size  # image pixels per crop pixel
    steps = torch.arange(size, device=squares.device, dtype=torch.float32) - (size - 1) / 2.0
    x = squares[:, 0:1] + scale * steps
    y = squares[:, 1:2] + scale * steps
    place = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], dim=-1)
    pixels = pyramid_of(image).sample(place, scale[:, 0])
    matrix = intrinsics.expand(len(squares), 3, 3).clone()
    matrix[:, 0, 2] -= squares[:, 0]
    matrix[:, 1, 2] -= squares[:, 1]
    matrix[:, :2] = matrix[:, :2] / scale[:, :, None]
    matrix[:, :2, 2] += (size - 1) / 2.0
    return Crops(pixels.clamp(0.0, 1.0), matrix, object_index, squares)
