"""Square views of detected objects, each with its own camera matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.frame import Detection, Frame


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
    # Images from messages are read-only or mirrored views; torch wants memory of its own.
    image = torch.from_numpy(np.array(frame.rgb, order="C")).to(device).permute(2, 0, 1).float() / 255.0
    intrinsics = torch.as_tensor(frame.camera.intrinsics, dtype=torch.float32, device=device)
    index = torch.tensor([item.object_index for item in detections], dtype=torch.int64, device=device)
    return cut_squares(image, intrinsics, torch.from_numpy(squares).to(device), index, size)


def cut_squares(image: Tensor, intrinsics: Tensor, squares: Tensor, object_index: Tensor, size: int) -> Crops:
    """Cut squares (N, 3) out of one image (3, H, W) and give each its own intrinsics.

    Enlargement is bilinear; reduction averages with a mip level so that nothing aliases.
    """
    scale = squares[:, 2:3] / size  # image pixels per crop pixel
    steps = torch.arange(size, device=image.device, dtype=torch.float32) - (size - 1) / 2.0
    x = squares[:, 0:1] + scale * steps
    y = squares[:, 1:2] + scale * steps
    pixels = torch.empty((len(squares), 3, size, size), device=image.device)
    levels = torch.floor(torch.log2(scale[:, 0].clamp(min=1.0))).long()
    for level in torch.unique(levels).tolist():
        chosen = levels == level
        factor = 2**level
        source = F.avg_pool2d(image[None], factor, ceil_mode=True)[0] if level else image
        # Pixel centres at integers: u' = (u + 0.5) / factor - 0.5, then grid_sample's normalised coordinates.
        grid_x = (2.0 * (x[chosen] + 0.5) / factor) / source.shape[2] - 1.0
        grid_y = (2.0 * (y[chosen] + 0.5) / factor) / source.shape[1] - 1.0
        count = int(chosen.sum())
        grid = torch.stack(
            [grid_x[:, None, :].expand(count, size, size), grid_y[:, :, None].expand(count, size, size)], dim=-1
        )
        # Grey outside the image: sample around zero.
        pixels[chosen] = (
            F.grid_sample((source - 0.5).expand(count, -1, -1, -1), grid, mode="bilinear", align_corners=False) + 0.5
        )
    matrix = intrinsics.expand(len(squares), 3, 3).clone()
    matrix[:, 0, 2] -= squares[:, 0]
    matrix[:, 1, 2] -= squares[:, 1]
    matrix[:, :2] = matrix[:, :2] / scale[:, :, None]
    matrix[:, :2, 2] += (size - 1) / 2.0
    return Crops(pixels.clamp(0.0, 1.0), matrix, object_index, squares)
