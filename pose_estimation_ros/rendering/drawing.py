"""Draw poses into an image: contour, box, axes and a label that can be read."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel

Color = tuple[int, int, int]
_SHIFT = 4  # OpenCV draws with sub-pixel coordinates times 2**_SHIFT
_NEAR_M = 0.01  # lines are cut off this close to the camera
_FAR_PX = 20000.0  # OpenCV's drawing takes no larger coordinates
AXIS_COLORS: tuple[Color, Color, Color] = ((235, 50, 50), (50, 200, 50), (60, 110, 255))

# The corners are numbered by binary digits: an edge joins two whose numbers differ in one.
BOX_EDGES = tuple(pair for pair in combinations(range(8), 2) if (pair[0] ^ pair[1]).bit_count() == 1)


class PoseLike(Protocol):
    """What is drawn of a pose; `mask` (H, W) bool and `track_id` are used where they exist."""

    name: str
    camera_from_object: np.ndarray  # (4, 4), metres
    score: float


def color_of(index: int) -> Color:
    """Return a colour (r, g, b) for an object, far from those of its neighbours in the catalog."""
    red, green, blue = colorsys.hsv_to_rgb((0.08 + index * 0.618034) % 1.0, 0.75, 1.0)
    return int(255 * red), int(255 * green), int(255 * blue)


def save_picture(path: Path, rgb: np.ndarray) -> None:
    """Write an image (H, W, 3) uint8, and its folder where there is none.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1])):
        raise OSError(f"{path}: could not be written")


def draw_poses(rgb: np.ndarray, camera: Camera, poses: Sequence[PoseLike], catalog: Catalog) -> np.ndarray:
    """Draw poses into a copy of an image.

    Args:
        rgb: image (H, W, 3) uint8.
        camera: the camera that took it.
        poses: what to draw, the nearest last; names outside the catalog are left out.
        catalog: the objects.

    Returns:
        The drawing (H, W, 3) uint8.
    """
    image = np.array(rgb, order="C")
    labels = []
    for pose in sorted(poses, key=lambda item: -item.camera_from_object[2, 3]):
        index = catalog.index_of_name(pose.name)
        if index is None:
            continue
        model, color = catalog[index], color_of(index)
        thickness = max(1, round(min(image.shape[:2]) / 400))
        mask = getattr(pose, "mask", None)
        if mask is not None:
            _draw_contour(image, mask, color)
        anchor = _draw_box(image, camera, pose.camera_from_object, model, color, thickness)
        _draw_axes(image, camera, pose.camera_from_object, 0.5 * model.diameter_m, thickness + 1)
        draw_frames(image, camera, pose.camera_from_object, model, thickness + 1)
        track_id = getattr(pose, "track_id", None)
        number = "" if track_id is None else f" {track_id}"
        if anchor is not None:
            labels.append((f"{pose.name}{number}  {pose.score:.2f}", anchor, color))
    _draw_labels(image, labels)
    return image


def box_corners(model: ObjectModel) -> np.ndarray:
    """Return the corners of an object's box (8, 3) in metres, joined by BOX_EDGES."""
    return np.asarray(list(product(*np.asarray(model.bounds_m).T)))


def _draw_box(
    image: np.ndarray, camera: Camera, pose: np.ndarray, model: ObjectModel, color: Color, thickness: int
) -> np.ndarray | None:
    """Draw the box, hidden edges darker, and return its topmost pixel (2,), None when it is out of view."""
    corners = box_corners(model) @ pose[:3, :3].T + pose[:3, 3]
    farthest = int(np.argmax(np.linalg.norm(corners, axis=1)))
    for edge in sorted(BOX_EDGES, key=lambda pair: farthest not in pair):
        hidden = farthest in edge
        shade = tuple(value // 2 for value in color) if hidden else color
        _draw_segment(image, camera, corners[edge[0]], corners[edge[1]], shade, 1 if hidden else thickness)
    pixels = camera.project(corners)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    height, width = image.shape[:2]
    if not len(pixels) or (pixels.max(0) < 0).any() or (pixels.min(0) > (width, height)).any():
        return None
    return np.array([pixels[:, 0].mean(), pixels[:, 1].min()])


def draw_frames(image: np.ndarray, camera: Camera, pose: np.ndarray, model: ObjectModel, thickness: int = 2) -> None:
    """Draw the axes of the frames on an object into an image (H, W, 3) uint8, half as long as its own."""
    for item in model.frames:
        _draw_axes(image, camera, pose @ item.object_from_frame, 0.25 * model.diameter_m, thickness)


def _draw_axes(image: np.ndarray, camera: Camera, pose: np.ndarray, length_m: float, thickness: int) -> None:
    origin = pose[:3, 3]
    # The farthest tip first, so that the axis that points to the viewer lies on top.
    for axis in sorted(range(3), key=lambda column: -pose[2, column]):
        tip = origin + length_m * pose[:3, axis]
        _draw_segment(image, camera, origin, tip, AXIS_COLORS[axis], thickness)


def _draw_segment(
    image: np.ndarray, camera: Camera, start: np.ndarray, end: np.ndarray, color: tuple[int, ...], thickness: int
) -> None:
    """Draw the projection of a line between two camera-frame points, cut at the near plane."""
    if max(start[2], end[2]) <= _NEAR_M:
        return
    ends = [start, end]
    for here, there in ((0, 1), (1, 0)):
        if ends[here][2] < _NEAR_M:
            share = (_NEAR_M - ends[here][2]) / (ends[there][2] - ends[here][2])
            ends[here] = ends[here] + share * (ends[there] - ends[here])
    pixels = camera.project(np.stack(ends))
    if not np.isfinite(pixels).all() or np.abs(pixels).max() > _FAR_PX:
        return
    first, second = (tuple(int(value) for value in np.round(pixel * 2**_SHIFT)) for pixel in pixels)
    cv2.line(image, first, second, color, thickness, cv2.LINE_AA, _SHIFT)


def _draw_contour(image: np.ndarray, mask: np.ndarray, color: Color) -> None:
    if mask.shape != image.shape[:2]:
        return
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    image[mask] = (0.8 * image[mask] + 0.2 * np.asarray(color)).astype(np.uint8)
    cv2.drawContours(image, contours, -1, color, 1, cv2.LINE_AA)


def _draw_labels(image: np.ndarray, labels: list[tuple[str, np.ndarray, Color]]) -> None:
    """Write every label on a dark plate above its anchor, inside the image, moved up past labels already there."""
    height, width = image.shape[:2]
    scale = max(0.4, min(height, width) / 1200)
    taken: list[tuple[int, int, int, int]] = []
    for text, anchor, color in labels:
        (text_width, text_height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        plate_width, plate_height = text_width + 6, text_height + baseline + 4
        x = int(np.clip(anchor[0] - plate_width / 2, 0, max(width - plate_width, 0)))
        y = int(np.clip(anchor[1] - plate_height - 4, 0, max(height - plate_height, 0)))
        blocking = _overlapping((x, y, plate_width, plate_height), taken)
        while blocking is not None and blocking[1] - plate_height >= 0:
            y = blocking[1] - plate_height
            blocking = _overlapping((x, y, plate_width, plate_height), taken)
        taken.append((x, y, plate_width, plate_height))
        plate = image[y : y + plate_height, x : x + plate_width]
        plate[:] = plate // 4
        position = (x + 3, y + plate_height - baseline - 2)
        light = tuple((value + 255) // 2 for value in color)  # dark colours cannot be read on the plate
        cv2.putText(image, text, position, cv2.FONT_HERSHEY_SIMPLEX, scale, light, 1, cv2.LINE_AA)


def _overlapping(
    plate: tuple[int, int, int, int], taken: list[tuple[int, int, int, int]]
) -> tuple[int, int, int, int] | None:
    x, y, width, height = plate
    for other in taken:
        if x < other[0] + other[2] and other[0] < x + width and y < other[1] + other[3] and other[1] < y + height:
            return other
    return None
