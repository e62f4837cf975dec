"""Where the refiner looked, stage by stage, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pose_estimation_ros.methods.attention.refiner import Attention
from pose_estimation_ros.methods.base import Frame, PoseHypothesis
from pose_estimation_ros.methods.render_compare import Stage
from pose_estimation_ros.networks.attention_net import STREAMS

_TILE_PX = 112
_GAP_PX = 4
_HEADER_PX = 18
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(
    refiner: Attention, frame: Frame, hypotheses: Sequence[PoseHypothesis], stages: int | None = None
) -> np.ndarray:
    """Draw where every stage looked, one row per object; a picture (H, W, 3) uint8 of its own size."""
    if not hypotheses:
        return frame.rgb.copy()
    names = [refiner.names[item.object_index] for item in hypotheses]
    return draw_attention(names, refiner.trace(frame, hypotheses, stages))


def draw_attention(names: Sequence[str], trace: Sequence[Stage]) -> np.ndarray:
    """Draw one row per object: for every stage the image, and the attention of every stream laid over it.

    The image carries the outline of the rendering, as the stage found it.

    Args:
        names: of the B objects.
        trace: the stages.

    Returns:
        (H, W, 3) uint8.
    """
    columns = []
    for number, stage in enumerate(trace):
        observed = (stage.observed.permute(0, 2, 3, 1).cpu().numpy() * 255.0).round().astype(np.uint8)
        masks = stage.rendered[:, 6].float().cpu().numpy() > 0.5
        attention = stage.prediction.attention.float().cpu().numpy()
        plain = [_outlined(image, mask) for image, mask in zip(observed, masks, strict=True)]
        columns.append(_column(f"stage {number + 1}", plain))
        for stream, name in enumerate(STREAMS):
            tiles = [_heated(image, heat) for image, heat in zip(observed, attention[:, stream], strict=True)]
            columns.append(_column(name, tiles))
    sheet = np.concatenate(columns, axis=1)
    for row, name in enumerate(names):
        place = (3, _HEADER_PX + row * (_TILE_PX + _GAP_PX) + 12)
        cv2.putText(sheet, name, place, _FONT, 0.4, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(sheet, name, place, _FONT, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return sheet


def _column(title: str, tiles: Sequence[np.ndarray]) -> np.ndarray:
    column = np.zeros((_HEADER_PX + len(tiles) * (_TILE_PX + _GAP_PX), _TILE_PX + _GAP_PX, 3), np.uint8)
    cv2.putText(column, title, (2, _HEADER_PX - 5), _FONT, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    for row, tile in enumerate(tiles):
        top = _HEADER_PX + row * (_TILE_PX + _GAP_PX)
        column[top : top + _TILE_PX, :_TILE_PX] = tile
    return column


def _outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    large = cv2.resize(image, (_TILE_PX, _TILE_PX), interpolation=cv2.INTER_LINEAR)
    shape = cv2.resize(mask.astype(np.uint8), (_TILE_PX, _TILE_PX), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(large, contours, -1, (60, 255, 60), 1, cv2.LINE_AA)
    return large


def _heated(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a map (h, w) over an image (S, S, 3), warm where it is high; the highest cell of the map is red."""
    large = cv2.resize(image, (_TILE_PX, _TILE_PX), interpolation=cv2.INTER_LINEAR)
    share = cv2.resize(heat / max(float(heat.max()), 1e-12), (_TILE_PX, _TILE_PX), interpolation=cv2.INTER_LINEAR)
    colors = cv2.applyColorMap((share * 255.0).round().astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
    weight = 0.65 * np.sqrt(share)[..., None]
    return ((1.0 - weight) * large + weight * colors).round().astype(np.uint8)
