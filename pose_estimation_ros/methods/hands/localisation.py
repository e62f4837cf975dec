"""Where in a depth image hands may be: nearest parts of surfaces in range, each settled on the middle of its cube."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.hand_crops import NEAREST_PART_M, depth_points, nearest_part, settle_centre

_COARSE_WIDTH = 160  # pixels; localisation looks at every so-manieth pixel
_EDGE_M = 0.04  # neighbours whose depths differ by more belong to different surfaces
_APART = 0.75  # sides of the cube between two hands, at least


def find_centres(depth: Tensor, intrinsics: Tensor, side_m: float, area_m2: tuple[float, float], count: int) -> Tensor:
    """Find places where a hand may be.

    Args:
        depth: image in metres, infinity where nothing was measured in range, shape (H, W).
        intrinsics: camera matrix, shape (3, 3).
        side_m: of the cube about a hand.
        area_m2: least of a surface that is looked at, and most inside a cube.
        count: most places.

    Returns:
        Centres in camera axes, metres, those whose surface comes nearest first, shape (N, 3).
    """
    stride = max(1, round(depth.shape[1] / _COARSE_WIDTH))
    coarse = depth[::stride, ::stride]
    matrix = intrinsics * torch.tensor([[1.0 / stride], [1.0 / stride], [1.0]])
    every, measured = depth_points(coarse[None], matrix[None])
    points = every[measured][None]  # which are few, if there is no wall in range
    area = points[0, :, 2].square() / (matrix[0, 0] * matrix[1, 1])
    labels = torch.from_numpy(_surfaces(coarse.numpy())).flatten()[measured[0]]
    measured = torch.ones(points.shape[:2], dtype=torch.bool)
    areas = torch.bincount(labels, area, minlength=1)
    areas[0] = 0.0  # what is no surface
    found: list[tuple[float, Tensor]] = []
    for label in (areas >= max(area_m2[0], 1e-9)).nonzero()[:, 0].tolist():
        own = (labels == label)[None]
        start = nearest_part(points, own, NEAREST_PART_M)
        found.append((float(points[0, own[0], 2].min()), start))
    centres: list[Tensor] = []
    for _, start in sorted(found, key=lambda item: item[0]):
        centre = settle_centre(points, measured, start, torch.tensor([side_m]))[0]
        if any(float((centre - other).norm()) < _APART * side_m for other in centres):
            continue
        inside = ((points[0] - centre).abs() <= 0.5 * side_m).all(dim=1)
        if float(area[inside].sum()) > area_m2[1]:
            continue
        centres.append(centre)
    return torch.stack(centres[:count]) if centres else torch.zeros(0, 3)


def _surfaces(depth: np.ndarray) -> np.ndarray:
    """Number connected surfaces of a depth image (H, W) from 1 on; 0 is what was not measured, and edges."""
    measured = np.isfinite(depth)
    finite = np.where(measured, depth, 0.0)
    connected = measured.copy()
    connected[:, 1:] &= ~(measured[:, :-1] & (np.abs(np.diff(finite, axis=1)) > _EDGE_M))
    connected[1:] &= ~(measured[:-1] & (np.abs(np.diff(finite, axis=0)) > _EDGE_M))
    _, labels = cv2.connectedComponents(connected.astype(np.uint8), connectivity=4)
    return labels.astype(np.int64)
