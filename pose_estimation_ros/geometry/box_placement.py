"""Where an object is and how far away, from its box in the image and a rotation that is more or less known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_estimation_ros.geometry.pose_refinement import PlacedPoint

_STEPS = 4  # until the projection of the outline fills the box
_RIM_PX = 1.0  # a box that comes as near to the rim of the image may be cut off there


@dataclass(frozen=True)
class BoxTrust:
    """How exact boxes are."""

    pixel_share: float = 0.03  # standard deviation of their middles, in sides of the box
    log_size: float = 0.03  # standard deviation of the logarithm of their size
    redundancy: float = 4.0  # so many correspondences err together


def placed_by_box(
    camera_from_object: np.ndarray,
    outline: np.ndarray,
    box: np.ndarray,
    intrinsics: np.ndarray,
    image_size: tuple[int, int],
    trust: BoxTrust,
) -> PlacedPoint | None:
    """Return where the middle of an object is, and how far away, if a pose has the rotation right.

    It is moved until the projection of its outline has the middle and the size of the box.

    Args:
        camera_from_object: pose (4, 4) whose rotation is used.
        outline: points (N, 3) on the object that reach farthest in all directions, metres.
        box: of the whole object, x0 y0 x1 y1 in pixels.
        intrinsics: camera matrix (3, 3).
        image_size: width and height in pixels.
        trust: how exact the box is.

    Returns:
        The middle, or None where the box is empty, may be cut off by the image's rim, or has the camera in the object.
    """
    low, high = np.asarray(box[:2], dtype=np.float64), np.asarray(box[2:], dtype=np.float64)
    inside = (low > _RIM_PX - 0.5) & (high < np.asarray(image_size) - 0.5 - _RIM_PX)
    if not inside.all() or not (high - low > 0.0).all():
        return None
    focal, middle, side = np.diag(intrinsics)[:2], (low + high) / 2.0, high - low
    turned = outline @ camera_from_object[:3, :3].T
    point = (turned.min(axis=0) + turned.max(axis=0)) / 2.0
    turned = turned - point
    depth = float(np.exp(np.log(focal * np.ptp(turned, axis=0)[:2] / side).mean()))
    place = depth * np.append((middle - intrinsics[:2, 2]) / focal, 1.0)
    for _ in range(_STEPS):
        if place[2] + turned[:, 2].min() <= 0.0:
            return None
        seen = (turned + place) @ intrinsics.T
        pixels = seen[:, :2] / seen[:, 2:]
        least, most = pixels.min(axis=0), pixels.max(axis=0)
        place[:2] += (middle - (least + most) / 2.0) * place[2] / focal
        place *= float(np.exp(np.log((most - least) / side).mean()))
    pixel = (intrinsics @ place)[:2] / place[2]
    on_object = camera_from_object[:3, :3].T @ point
    return PlacedPoint(on_object, pixel, float(place[2]), trust.pixel_share * side, trust.log_size, trust.redundancy)
