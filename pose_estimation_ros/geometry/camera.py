"""Pinhole cameras.

Pixel centres lie at integer coordinates: the centre of the top left pixel is (0, 0) and the image spans
[-0.5, width - 0.5] x [-0.5, height - 0.5]. Camera axes are OpenCV's: x right, y down, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with optional lens distortion, or one with a fisheye lens.

    Args:
        intrinsics: camera matrix in pixels, shape (3, 3).
        width: image width in pixels.
        height: image height in pixels.
        distortion: coefficients in OpenCV's order (plumb bob: k1 k2 p1 p2 k3, rational: 8; fisheye: k1 k2 k3 k4); empty
            for none.
        is_fisheye: rays meet the image at a distance that grows with their angle, not with its tangent: the equidistant
            model of Kannala and Brandt (PAMI 2006) as OpenCV and ROS have it.

    Raises:
        ValueError: if the matrix is not a camera matrix, a size is not positive, or a fisheye lens has not four
            coefficients.
    """

    intrinsics: np.ndarray
    width: int
    height: int
    distortion: tuple[float, ...] = ()
    is_fisheye: bool = False

    def __post_init__(self) -> None:
        matrix = np.asarray(self.intrinsics, dtype=np.float64)
        if matrix.shape != (3, 3):
            raise ValueError(f"Camera.intrinsics: shape {matrix.shape}, expected (3, 3)")
        if not np.isfinite(matrix).all():
            raise ValueError("Camera.intrinsics: contains NaN or infinity")
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
            raise ValueError(
                f"Camera.intrinsics: focal lengths {matrix[0, 0]:g}, {matrix[1, 1]:g}, expected positive pixels"
            )
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"Camera: size {self.width}x{self.height}, expected positive pixels")
        if not np.isfinite(self.distortion).all():
            raise ValueError("Camera.distortion: contains NaN or infinity")
        if self.is_fisheye and len(self.distortion) != 4:
            raise ValueError(f"Camera.distortion: {len(self.distortion)} coefficients, expected 4 of a fisheye lens")
        object.__setattr__(self, "intrinsics", matrix)
        object.__setattr__(self, "distortion", tuple(float(value) for value in self.distortion))

    @property
    def is_distorted(self) -> bool:
        """Tell whether straight lines are not straight in the image."""
        return self.is_fisheye or any(value != 0.0 for value in self.distortion)

    @property
    def _lens_model(self) -> Any:
        """OpenCV's functions for this lens; those of both models have the same names and arguments."""
        import cv2

        return cv2.fisheye if self.is_fisheye else cv2

    def crop(self, x0: float, y0: float, width: int, height: int) -> Camera:
        """Return the camera of the window whose top left pixel centre is (x0, y0)."""
        matrix = self.intrinsics.copy()
        matrix[0, 2] -= x0
        matrix[1, 2] -= y0
        return replace(self, intrinsics=matrix, width=width, height=height)

    def resize(self, width: int, height: int) -> Camera:
        """Return the camera of the image rescaled to width x height pixels.

        The image spans half a pixel beyond the outer pixel centres, hence the shift by one half.
        """
        matrix = resize_intrinsics(self.intrinsics, width / self.width, height / self.height)
        return replace(self, intrinsics=matrix, width=width, height=height)

    def undistorted(self) -> Camera:
        """Return the same camera without distortion."""
        return replace(self, distortion=(), is_fisheye=False)

    def undistort_image(self, image: np.ndarray) -> np.ndarray:
        """Resample an image (H, W, C) as the undistorted camera would have seen it."""
        if not self.is_distorted:
            return image
        undistort = self._lens_model.undistortImage if self.is_fisheye else self._lens_model.undistort
        return undistort(image, self.intrinsics, np.asarray(self.distortion), None, self.intrinsics)

    def undistort_depth(self, depth: np.ndarray) -> np.ndarray:
        """Resample a depth image (H, W) in the same way, by the nearest pixel; zero where the camera saw nothing.

        The mean of two depths at an edge would be a surface where there is none.
        """
        if not self.is_distorted:
            return depth
        import cv2

        size = self.width, self.height
        lens = self.intrinsics, np.asarray(self.distortion)
        columns, rows = self._lens_model.initUndistortRectifyMap(*lens, np.eye(3), self.intrinsics, size, cv2.CV_32FC1)
        return cv2.remap(depth, columns, rows, cv2.INTER_NEAREST)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project camera-frame points (N, 3) in metres to pixels (N, 2); at or behind the camera gives NaN."""
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        pixels = np.full((len(points), 2), np.nan)
        ahead = points[:, 2] > 0
        if self.is_distorted:
            if ahead.any():
                projected, _ = self._lens_model.projectPoints(
                    points[ahead][:, None], np.zeros(3), np.zeros(3), self.intrinsics, np.asarray(self.distortion)
                )
                pixels[ahead] = projected.reshape(-1, 2)
            return pixels
        homogeneous = points[ahead] @ self.intrinsics.T
        pixels[ahead] = homogeneous[:, :2] / homogeneous[:, 2:]
        return pixels

    def unproject(self, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Lift pixels (N, 2) at a depth along z (N,) in metres to camera-frame points (N, 3)."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        if self.is_distorted:
            pixels = self._lens_model.undistortPoints(
                pixels[:, None], self.intrinsics, np.asarray(self.distortion), P=self.intrinsics
            ).reshape(-1, 2)
        rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(self.intrinsics).T
        return rays * np.asarray(depth, dtype=np.float64).reshape(-1, 1)


def resize_intrinsics(intrinsics: np.ndarray, scale_x: float, scale_y: float) -> np.ndarray:
    """Rescale a camera matrix (3, 3) with pixel centres at integer coordinates."""
    to_resized = np.array([[scale_x, 0.0, 0.5 * scale_x - 0.5], [0.0, scale_y, 0.5 * scale_y - 0.5], [0.0, 0.0, 1.0]])
    return to_resized @ intrinsics


def project_points(points: Tensor, camera_from_object: Tensor, intrinsics: Tensor) -> Tensor:
    """Project object points into the image with a pinhole camera.

    Args:
        points: object points in metres, shape (B, N, 3).
        camera_from_object: rigid transforms, shape (B, 4, 4).
        intrinsics: camera matrices in pixels, shape (B, 3, 3).

    Returns:
        Pixel coordinates, shape (B, N, 2). Points at or behind the camera plane give NaN.

    Raises:
        ValueError: if the batch sizes differ.
    """
    if not len(points) == len(camera_from_object) == len(intrinsics):
        raise ValueError(
            f"project_points: batch sizes {len(points)}, {len(camera_from_object)}, {len(intrinsics)}, expected equal"
        )
    in_camera = transform_points(points, camera_from_object)
    with torch.autocast(points.device.type, enabled=False):
        homogeneous = in_camera @ intrinsics.transpose(1, 2)
    depth = homogeneous[..., 2:]
    safe = torch.where(depth > 0, depth, torch.ones_like(depth))
    return torch.where(depth > 0, homogeneous[..., :2] / safe, torch.full_like(depth, float("nan")))


def transform_points(points: Tensor, b_from_a: Tensor) -> Tensor:
    """Map points (B, N, 3) of frame a into frame b by rigid transforms (B, 4, 4)."""
    with torch.autocast(points.device.type, enabled=False):  # in bfloat16 a point would be a pixel away
        return points @ b_from_a[:, :3, :3].transpose(1, 2) + b_from_a[:, None, :3, 3]
