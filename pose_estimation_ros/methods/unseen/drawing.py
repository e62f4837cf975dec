"""What a box looks like, and the views in the table that are most like it."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.unseen.estimator import Unseen
from pose_estimation_ros.methods.view_table import look_at_boxes

_VIEWS = 5  # shown of every object
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@torch.inference_mode()
def draw(backend: Unseen, frame: Frame, crops: Crops, detections: list[Detection]) -> np.ndarray:
    """Draw one row per box: the image in it, and the likeliest views with their similarity; (H, W, 3) uint8."""
    if not detections:
        return frame.rgb.copy()
    comparison = backend.comparison
    picture = comparison.picture(frame)
    seen = _tiles(look_at_boxes(*picture, np.stack([item.box for item in detections])).images)
    rows = []
    for tile, detection, likely in zip(seen, detections, backend.search.candidates(picture, detections), strict=True):
        shown = likely.poses[:_VIEWS]
        tiles = [_labelled(tile, comparison.names[detection.object_index])]
        if len(shown):
            index = torch.full((len(shown),), detection.object_index, device=shown.device)
            _, _, rendered = comparison.pair(picture, index, shown, tile.shape[0])
            tiles += [
                _labelled(view, f"{float(value):.2f}")
                for view, value in zip(_tiles(rendered[:, :3]), likely.similarity, strict=False)
            ]
        tiles += [np.zeros_like(tile)] * (_VIEWS + 1 - len(tiles))
        rows.append(np.concatenate(tiles, axis=1))
    return np.concatenate(rows)


def _tiles(images: Tensor) -> np.ndarray:
    """Return images (B, 3, S, S) in [0, 1] as (B, S, S, 3) uint8."""
    return np.ascontiguousarray((images.float().permute(0, 2, 3, 1).cpu().numpy() * 255.0).round().astype(np.uint8))


def _labelled(tile: np.ndarray, text: str) -> np.ndarray:
    labelled = tile.copy()
    cv2.putText(labelled, text, (3, 11), _FONT, 0.35, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(labelled, text, (3, 11), _FONT, 0.35, (255, 255, 255), 1, cv2.LINE_AA)
    return labelled
