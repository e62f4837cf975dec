"""sensor_msgs/CameraInfo to Camera and back (REP 104)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from pose_estimation_ros.data.calibration import FISHEYE_MODEL, PINHOLE_MODELS
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.plausibility import refuse_implausible_distortion, refuse_implausible_field_of_view
from pose_estimation_ros.ros.input_error import CameraInfoError

_Lens = tuple[tuple[float, ...], bool]  # Camera's distortion and is_fisheye
_PLAIN: _Lens = (), False
_DISTORTION_COUNTS = (4, 5, 8, 12, 14)  # what OpenCV's pinhole model takes


def camera_from_info(message: Any, width: int, height: int, rectified: bool) -> Camera:
    """Read the camera of one image out of a sensor_msgs/CameraInfo.

    K, P, width and height of the message describe the full sensor; region of interest and binning lead to the image.

    Args:
        message: anything with the fields of sensor_msgs/CameraInfo.
        width: width of the image in pixels.
        height: height of the image in pixels.
        rectified: use P without distortion; else K with D.

    Returns:
        The camera of the image.

    Raises:
        CameraInfoError: if the camera is uncalibrated, not finite, not plausible, of another size or of an unknown
            model.
    """
    if rectified:
        matrix, lens = _rectified_matrix(message), _PLAIN
    else:
        matrix, lens = _calibrated("k", np.reshape(message.k, (3, 3))), _lens(message)
    left, top, window_width, window_height = _window(message, width, height)
    binned = (window_width // max(message.binning_x, 1), window_height // max(message.binning_y, 1))
    if binned != (width, height):
        raise CameraInfoError(
            "size",
            f"camera_info: describes an image of {binned[0]}x{binned[1]} pixels, the image has {width}x{height}; "
            "expected the camera_info of the same image (resized images need a resized camera_info)",
        )
    size = max(message.width, window_width), max(message.height, window_height)
    window = left, top, window_width, window_height
    reason = _implausibility(tuple(matrix.reshape(-1).tolist()), lens, size, window)
    if reason is not None:
        raise CameraInfoError("plausibility", f"camera_info: {reason}")
    return Camera(matrix, *size, *lens).crop(*window).resize(width, height)


@lru_cache(maxsize=32)
def _implausibility(
    matrix: tuple[float, ...], lens: _Lens, size: tuple[int, int], window: tuple[int, int, int, int]
) -> str | None:
    """Say why no camera is like this; remembered, since drivers repeat their calibration with every image."""
    try:
        full = Camera(np.reshape(matrix, (3, 3)), *size, *lens)
        refuse_implausible_field_of_view(full)
        refuse_implausible_distortion(full.crop(*window))
    except ValueError as error:
        return str(error)
    return None


def _window(message: Any, width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the region of interest in pixels of the full sensor."""
    roi = message.roi
    if roi.width and roi.height:
        return roi.x_offset, roi.y_offset, roi.width, roi.height
    if message.width and message.height:
        return 0, 0, message.width, message.height
    return 0, 0, width * max(message.binning_x, 1), height * max(message.binning_y, 1)


def _lens(message: Any) -> _Lens:
    values = tuple(float(value) for value in message.d)
    if not np.isfinite(values).all():
        raise CameraInfoError("d", f"camera_info: d = {list(values)}: expected finite numbers")
    if values and message.distortion_model == FISHEYE_MODEL:  # fisheye with all zeros, too
        if len(values) == 4:
            return values, True
    elif not any(values):
        return _PLAIN
    elif message.distortion_model in PINHOLE_MODELS and len(values) in _DISTORTION_COUNTS:
        return values, False
    raise CameraInfoError(
        "distortion_model",
        f"camera_info: distortion_model = {message.distortion_model!r} with {len(values)} coefficients: expected "
        "plumb_bob, rational_polynomial or equidistant with as many as they have; rectify the image and set "
        "image_is_rectified: true",
    )


def _rectified_matrix(message: Any) -> np.ndarray:
    projection = np.reshape(message.p, (3, 4))
    # Some drivers leave P empty; without distortion K says the same.
    if not projection.any() and _lens(message) == _PLAIN:
        return _calibrated("k", np.reshape(message.k, (3, 3)))
    return _calibrated("p", projection[:, :3])


def _calibrated(name: str, matrix: np.ndarray) -> np.ndarray:
    if not np.isfinite(matrix).all():
        raise CameraInfoError(name, f"camera_info: {name} = {matrix.reshape(-1).tolist()}: expected finite numbers")
    if matrix[0, 0] == 0.0:
        raise CameraInfoError(
            name, f"camera_info: {name}[0] = 0: the camera is uncalibrated; expected its focal length"
        )
    if matrix[0, 0] < 0.0 or matrix[1, 1] <= 0.0:
        raise CameraInfoError(
            name, f"camera_info: focal lengths {matrix[0, 0]:g}, {matrix[1, 1]:g} in {name}: expected positive pixels"
        )
    rows = matrix.tolist()
    if rows[1][0] != 0.0 or rows[2] != [0.0, 0.0, 1.0]:
        raise CameraInfoError(name, f"camera_info: {name} = {rows}: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
    return matrix


def info_from_camera(camera: Camera, header: Any) -> Any:
    """Build the sensor_msgs/CameraInfo of a camera; P is K, as for an image rectified with the same matrix."""
    from sensor_msgs.msg import CameraInfo

    count = len(camera.distortion)
    pinhole_model = "rational_polynomial" if count > 5 else "plumb_bob"
    projection = np.column_stack([camera.intrinsics, np.zeros(3)])
    return CameraInfo(
        header=header,
        width=camera.width,
        height=camera.height,
        distortion_model=FISHEYE_MODEL if camera.is_fisheye else pinhole_model,
        d=list(camera.distortion) if count else [0.0] * 5,
        k=camera.intrinsics.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=projection.reshape(-1),
    )
