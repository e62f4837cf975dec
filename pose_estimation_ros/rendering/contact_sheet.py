"""A picture of an object from all sides, with its axes and its symmetries."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from pose_estimation_ros.geometry.virtual_camera import look_at
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.drawing import AXIS_COLORS
from pose_estimation_ros.rendering.raycaster import RayCaster
from pose_estimation_ros.rendering.shading import headlight

TILE = 220  # side of a view, pixels
_FOCAL = 4.0  # over the side of a view: nearly parallel
_DISTANCE = 4.6  # diameters, so that the object fills the view
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BACK = 0.93
_LINE = 19  # height of a line of text, pixels
_SIDES = {
    "from +x": (1.0, 0.0, 0.0),
    "from +y": (0.0, 1.0, 0.0),
    "from +z": (0.0, 0.0, 1.0),
    "from above": (1.0, 0.8, 0.9),
    "from -x": (-1.0, 0.0, 0.0),
    "from -y": (0.0, -1.0, 0.0),
    "from -z": (0.0, 0.0, -1.0),
    "from below": (-1.0, -0.8, -0.9),
}
_COLUMNS = 4

Line = tuple[np.ndarray, np.ndarray]  # ends (3,), (3,) of a symmetry axis, object frame, metres


def contact_sheet(
    mesh: Mesh,
    diameter_m: float,
    lines: Sequence[Line],
    turned: Sequence[tuple[str, np.ndarray]],
    text: Sequence[str],
) -> np.ndarray:
    """Draw an object from six sides and two corners, and under these as it looks turned by its symmetries.

    Args:
        mesh: the object.
        diameter_m: its diameter.
        lines: symmetry axes.
        turned: captions, and transforms (4, 4) of the object frame, of further views from above.
        text: lines to write below.

    Returns:
        The picture (H, W, 3) uint8.
    """
    caster = RayCaster([mesh])
    views = [(name, np.asarray(side), np.eye(4)) for name, side in _SIDES.items()]
    corner = np.asarray(_SIDES["from above"])
    views += [(name, corner, transform) for name, transform in turned]
    tiles = [
        _labelled(_view(caster, mesh, diameter_m, side, transform, lines if number < len(_SIDES) else ()), name)
        for number, (name, side, transform) in enumerate(views)
    ]
    tiles += [np.full_like(tiles[0], int(255 * _BACK))] * (-len(tiles) % _COLUMNS)
    rows = [np.concatenate(tiles[start : start + _COLUMNS], axis=1) for start in range(0, len(tiles), _COLUMNS)]
    return np.concatenate([*rows, _written(text, TILE * _COLUMNS, diameter_m)])


def looking_from(side: np.ndarray, distance_m: float, target: np.ndarray) -> np.ndarray:
    """Return camera_from_object (4, 4) of a camera on a side (3,) of a point (3,); z is up where it can be."""
    toward = side / np.linalg.norm(side)
    pose = np.eye(4)
    pose[:3, :3] = look_at(toward[None])[0]
    pose[:3, 3] = -pose[:3, :3] @ (target + toward * distance_m)
    return pose


def _view(
    caster: RayCaster, mesh: Mesh, diameter_m: float, side: np.ndarray, transform: np.ndarray, lines: Sequence[Line]
) -> np.ndarray:
    low, high = mesh.bounds
    pose = looking_from(side, _DISTANCE * diameter_m, (low + high) / 2.0)
    focal, middle = _FOCAL * TILE, (TILE - 1) / 2.0
    intrinsics = np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]])
    renders = caster.render(
        torch.zeros(1, dtype=torch.long),
        torch.from_numpy(pose @ transform).float()[None],
        torch.from_numpy(intrinsics).float()[None],
        TILE,
        TILE,
    )
    mask = renders.mask[:, None].float()
    pixels = headlight(renders.colors, renders.normals[:, 2:]) * mask + _BACK * (1.0 - mask)
    image = np.ascontiguousarray((pixels[0].permute(1, 2, 0).numpy() * 255.0).round().clip(0, 255).astype(np.uint8))
    for start, end in lines:
        _segment(image, pose, intrinsics, start, end, (220, 60, 200), 1)
    for axis, color in enumerate(AXIS_COLORS):
        _segment(image, pose, intrinsics, np.zeros(3), np.eye(3)[axis] * diameter_m * 0.3, color, 2)
    return image


def _segment(
    image: np.ndarray,
    pose: np.ndarray,
    intrinsics: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    color: tuple[int, int, int],
    thickness: int,
) -> None:
    ends = np.stack([start, end]) @ pose[:3, :3].T + pose[:3, 3]
    pixels = ends @ intrinsics.T
    if pixels[:, 2].min() > 0.0 and np.isfinite(pixels).all():
        flat = np.clip(pixels[:, :2] / pixels[:, 2:], -4.0 * TILE, 5.0 * TILE).round().astype(int)
        cv2.line(image, flat[0].tolist(), flat[1].tolist(), color, thickness, cv2.LINE_AA)


def _labelled(tile: np.ndarray, text: str) -> np.ndarray:
    cv2.putText(tile, text, (5, 14), _FONT, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
    return tile


def _written(text: Sequence[str], width: int, diameter_m: float) -> np.ndarray:
    """Return lines of text below a bar that says how large things are."""
    wrapped = [part for line in text for part in _wrapped(line, width // 7)]
    plate = np.full((_LINE * (len(wrapped) + 2), width, 3), 255, dtype=np.uint8)
    length_m = 10.0 ** np.floor(np.log10(diameter_m * 0.5))
    bar = round(length_m * _FOCAL * TILE / (_DISTANCE * diameter_m))
    cv2.line(plate, (8, 12), (8 + bar, 12), (0, 0, 0), 2)
    cv2.putText(plate, f"{length_m * 1000:g} mm", (16 + bar, 17), _FONT, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    for row, line in enumerate(wrapped):
        cv2.putText(plate, line, (8, _LINE * (row + 2)), _FONT, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return plate


def _wrapped(line: str, letters: int) -> list[str]:
    lines = [""]
    for word in line.split():
        if lines[-1] and len(lines[-1]) + len(word) >= letters:
            lines.append("  ")
        lines[-1] += (" " if lines[-1].strip() else "") + word
    return lines
