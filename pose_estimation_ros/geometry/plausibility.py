"""Calibrations that no camera has: far too narrow or wide, or with a distortion that folds the image."""

from __future__ import annotations

import numpy as np

from pose_estimation_ros.geometry.camera import Camera

FIELD_OF_VIEW_DEG = (1.0, 170.0)  # of the undistorted image, along each side
MIN_SEEN_SHARE = 0.25  # of the undistorted image has to come out of the distorted one
_CELLS = 64  # along each side, where the distortion is looked at


def field_of_view_deg(camera: Camera) -> tuple[float, float]:
    """Return the angles between the outer edges of the undistorted image, horizontally and vertically, in degrees."""
    matrix = camera.intrinsics
    horizontal = _angle_deg(matrix[0, 0], matrix[0, 2], camera.width)
    return horizontal, _angle_deg(matrix[1, 1], matrix[1, 2], camera.height)


def _angle_deg(focal_px: float, centre_px: float, side_px: int) -> float:
    edges = np.arctan((np.array([-0.5, side_px - 0.5]) - centre_px) / focal_px)
    return float(np.degrees(edges[1] - edges[0]))


def refuse_implausible_field_of_view(camera: Camera) -> None:
    """Check that the camera sees neither nearly nothing nor nearly everything before it.

    Raises:
        ValueError: if a field of view lies outside FIELD_OF_VIEW_DEG.
    """
    low, high = FIELD_OF_VIEW_DEG
    matrix = camera.intrinsics
    for side, name, axis, angle in zip("xy", ("width", "height"), (0, 1), field_of_view_deg(camera), strict=True):
        if not low <= angle <= high:
            raise ValueError(
                f"field of view {angle:.3g} degrees along the {name} of {getattr(camera, name)} pixels with "
                f"f{side} = {matrix[axis, axis]:g}, c{side} = {matrix[axis, 2]:g}: expected {low:g} to {high:g} degrees"
            )


def refuse_implausible_distortion(camera: Camera) -> None:
    """Check that the distortion can be undone: every point of the image is seen at one place of the undistorted one.

    Raises:
        ValueError: if the distortion turns parts of the image over, or leaves too little of it.
    """
    if not camera.is_distorted:
        return
    columns = np.linspace(-0.5, camera.width - 0.5, _CELLS + 1)
    rows = np.linspace(-0.5, camera.height - 0.5, _CELLS + 1)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1)  # (65, 65, 2) pixels of the undistorted image
    rays = camera.undistorted().unproject(grid.reshape(-1, 2), np.ones(grid.size // 2))
    with np.errstate(all="ignore"):
        seen = camera.project(rays).reshape(grid.shape)  # pixels of the distorted image
        is_upright = _is_upright(grid - camera.intrinsics[:2, 2], seen - camera.intrinsics[:2, 2])
    corners = np.stack([seen[:-1, :-1], seen[:-1, 1:], seen[1:, :-1], seen[1:, 1:]])
    is_inside = ((corners >= -0.5) & (corners <= np.array([camera.width, camera.height]) - 0.5)).all(axis=(0, 3))
    listed = ", ".join(f"{value:g}" for value in camera.distortion)
    if is_inside.mean() < MIN_SEEN_SHARE:
        raise ValueError(
            f"distortion [{listed}] leaves {100.0 * is_inside.mean():.0f} % of the undistorted image: expected "
            f"{100.0 * MIN_SEEN_SHARE:.0f} % or more"
        )
    if not is_upright[is_inside].all():
        raise ValueError(
            f"distortion [{listed}] folds the image of {camera.width}x{camera.height} pixels: expected one that can be "
            "undone over all of it"
        )


def _is_upright(points: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Tell which cells of a grid (N, N, 2) about the origin are neither turned over nor on the origin's other side."""
    falling, rising = images[1:, 1:] - images[:-1, :-1], images[1:, :-1] - images[:-1, 1:]  # diagonals
    area = falling[..., 0] * rising[..., 1] - falling[..., 1] * rising[..., 0]
    middle, middle_image = points[:-1, :-1] + points[1:, 1:], images[:-1, :-1] + images[1:, 1:]
    is_central = np.linalg.norm(middle, axis=-1) <= 2.0 * np.linalg.norm(points[1, 1] - points[0, 0])
    return (area > 0.0) & (is_central | ((middle * middle_image).sum(axis=-1) > 0.0))
