"""Where an object is and how far away, from its box in the image and a rotation that is more or less known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose_estimation_ros.geometry.pose_refinement import TranslationPrior

_STEPS = 4  # until the projection of the outline fills the box
_RIM_PX = 1.0  # a box that comes as near to the rim of the image may be cut off there


@dataclass(frozen=True)
class BoxUncertainty:
    """How exact boxes are."""

    centre_sigma: float  # standard deviation of their centres, in sides of the box
    log_size_sigma: float  # standard deviation of the logarithm of their size
    redundancy: float  # so many correspondences err together


def translation_prior_from_box(
    camera_from_object: np.ndarray,
    outline: np.ndarray,
    box: np.ndarray,
    intrinsics: np.ndarray,
    image_size: tuple[int, int],
    uncertainty: BoxUncertainty,
) -> TranslationPrior | None:
    """Return where the centre of an object is, and how far away, if a pose has the rotation right.

    It is moved until the projection of its outline has the centre and the size of the box.

    Args:
        camera_from_object: pose (4, 4) whose rotation is used.
        outline: points (N, 3) on the object that reach farthest in all directions, metres.
        box: of the whole object, x0 y0 x1 y1 in pixels.
        intrinsics: camera matrix (3, 3).
        image_size: width and height in pixels.
        uncertainty: how exact the box is.

    Returns:
        The centre, or None where the box is empty, may be cut off by the image's rim, or has the camera in the object.
    """
    low, high = np.asarray(box[:2], dtype=np.float64), np.asarray(box[2:], dtype=np.float64)
    inside = (low > _RIM_PX - 0.5) & (high < np.asarray(image_size) - 0.5 - _RIM_PX)
    if not inside.all() or not (high - low > 0.0).all():
        return None
    turned = outline @ camera_from_object[:3, :3].T
    point = (turned.min(axis=0) + turned.max(axis=0)) / 2.0
    place = places_in_box(camera_from_object[None, :3, :3], outline, box, intrinsics)[0]
    if not np.isfinite(place).all():
        return None
    pixel = (intrinsics @ place)[:2] / place[2]
    on_object = camera_from_object[:3, :3].T @ point
    return TranslationPrior(
        on_object,
        pixel,
        float(place[2]),
        uncertainty.centre_sigma * (high - low),
        uncertainty.log_size_sigma,
        uncertainty.redundancy,
    )


def places_in_box(rotation: np.ndarray, outline: np.ndarray, box: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Return where an object is in each of several rotations, if the projection of its outline fills a box.

    Args:
        rotation: camera from object (N, 3, 3).
        outline: points (P, 3) on the object that reach farthest in all directions, metres.
        box: of the whole object, x0 y0 x1 y1 in pixels, not empty.
        intrinsics: camera matrix (3, 3).

    Returns:
        Middles of the turned outlines' extents in camera axes (N, 3), metres; not a number where the camera would be in
        the object.
    """
    low, high = np.asarray(box[:2], dtype=np.float64), np.asarray(box[2:], dtype=np.float64)
    focal, centre, side = np.diag(intrinsics)[:2], (low + high) / 2.0, high - low
    turned = outline @ np.swapaxes(rotation, 1, 2)
    turned = turned - ((turned.min(axis=1) + turned.max(axis=1)) / 2.0)[:, None]
    depth = np.exp(np.log(focal * np.ptp(turned, axis=1)[:, :2] / side).mean(axis=1))
    place = depth[:, None] * np.append((centre - intrinsics[:2, 2]) / focal, 1.0)
    for _ in range(_STEPS):
        place[place[:, 2] + turned[..., 2].min(axis=1) <= 0.0] = np.nan
        seen = (turned + place[:, None]) @ intrinsics.T
        pixels = seen[..., :2] / seen[..., 2:]
        least, most = pixels.min(axis=1), pixels.max(axis=1)
        place[:, :2] += (centre - (least + most) / 2.0) * place[:, 2:] / focal
        place *= np.exp(np.log((most - least) / side).mean(axis=1))[:, None]
    return place
