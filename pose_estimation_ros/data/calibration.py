"""Calibrations of cameras, as numbers and as the files that ROS tools write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pose_estimation_ros.geometry.camera import Camera

# What ROS calls the models of lenses, in sensor_msgs/CameraInfo and in calibration files.
PINHOLE_MODELS = ("", "plumb_bob", "rational_polynomial", "thin_prism")
FISHEYE_MODEL = "equidistant"


@dataclass(frozen=True)
class Calibration:
    """Intrinsics for images that come without; the size is checked against every image where it is known."""

    intrinsics: np.ndarray  # (3, 3)
    distortion: tuple[float, ...] = ()
    size: tuple[int, int] | None = None  # width, height
    origin: str = "--intrinsics"
    is_fisheye: bool = False

    def camera(self, rgb: np.ndarray) -> Camera:
        """Return the camera of an image.

        Raises:
            ValueError: if the calibration is for another size.
        """
        height, width = rgb.shape[:2]
        if self.size is not None and self.size != (width, height):
            given = f"{self.size[0]}x{self.size[1]}"
            raise ValueError(f"{self.origin}: is for {given} pixels, the image has {width}x{height}")
        return Camera(self.intrinsics, width, height, self.distortion, self.is_fisheye)


def calibration_from_numbers(fx: float, fy: float, cx: float, cy: float) -> Calibration:
    """Return a calibration without distortion from focal lengths and principal point in pixels."""
    return Calibration(np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]))


def calibration_from_file(path: Path) -> Calibration:
    """Read the YAML file that camera_calibration and camera_info_manager write.

    Raises:
        ValueError: if a field is missing or wrong, or the lens is of another model; the message names file and field.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    try:
        model = content.get("distortion_model", "plumb_bob")
        if model not in (*PINHOLE_MODELS, FISHEYE_MODEL):
            expected = f"plumb_bob, rational_polynomial or {FISHEYE_MODEL}"
            raise ValueError(f"{path}: distortion_model = {model!r}, expected {expected}")
        intrinsics = _numbers(path, "camera_matrix", content["camera_matrix"]["data"])
        if len(intrinsics) != 9:
            raise ValueError(f"{path}: camera_matrix.data has {len(intrinsics)} numbers, expected 9")
        coefficients = content.get("distortion_coefficients", {}).get("data", ())
        distortion = tuple(_numbers(path, "distortion_coefficients", coefficients).tolist())
        size = content["image_width"], content["image_height"]
        return Calibration(intrinsics.reshape(3, 3), distortion, size, str(path), model == FISHEYE_MODEL)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: {error} missing; expected image_width, image_height, camera_matrix and distortion_coefficients"
        ) from error


def _numbers(path: Path, name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float64).ravel()
    except ValueError as error:
        raise ValueError(f"{path}: {name}.data: {error}; expected numbers") from error
