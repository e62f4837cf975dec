"""Images to play: a BOP folder, a folder of images or a video, each with its camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import yaml

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.ros.camera_info import FISHEYE_MODEL, PINHOLE_MODELS

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class PlayedImage:
    """One image with its camera and where it came from."""

    rgb: np.ndarray  # (H, W, 3) uint8
    camera: Camera
    path: str
    image_id: int
    scene_id: int | None = None


class ImageSource(Protocol):
    """A sequence of images that can be gone through several times."""

    def __iter__(self) -> Iterator[PlayedImage]: ...


class BopSource:
    """The images of a BOP split, every one with its own camera matrix.

    Raises:
        ValueError: if the scene is not there.
    """

    def __init__(self, root: Path, split: str = "test", scene_id: int | None = None) -> None:
        self._dataset = BopDataset(root, split)
        self._images = [item for item in self._dataset.images if scene_id in (None, item.scene_id)]
        if not self._images:
            scenes = sorted({item.scene_id for item in self._dataset.images})
            raise ValueError(f"--scene {scene_id}: not in {root}/{split} (scenes: {', '.join(map(str, scenes))})")

    def __iter__(self) -> Iterator[PlayedImage]:
        for item in self._images:
            rgb = self._dataset.read_rgb(item)
            yield PlayedImage(rgb, item.camera, str(item.rgb_path), item.image_id, item.scene_id)


class FolderSource:
    """The images of a folder in the order of their names.

    Raises:
        ValueError: if the folder holds no image.
    """

    def __init__(self, folder: Path, calibration: Calibration) -> None:
        if not folder.is_dir():
            raise ValueError(f"--images {folder}: no such folder")
        self._paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        self._calibration = calibration
        if not self._paths:
            raise ValueError(f"--images {folder}: no images; expected files ending in {', '.join(IMAGE_SUFFIXES)}")

    def __iter__(self) -> Iterator[PlayedImage]:
        for number, path in enumerate(self._paths):
            pixels = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            if pixels is None:
                raise ValueError(f"{path}: not a readable image")
            rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
            yield PlayedImage(rgb, self._calibration.camera(rgb), str(path), number)


class VideoSource:
    """The frames of a video file.

    Raises:
        ValueError: if OpenCV cannot open it.
    """

    def __init__(self, path: Path, calibration: Calibration) -> None:
        self._path = path
        self._calibration = calibration
        self._open().release()

    def _open(self) -> cv2.VideoCapture:
        video = cv2.VideoCapture(str(self._path))
        if not video.isOpened():
            raise ValueError(f"--video {self._path}: cannot be opened as a video")
        return video

    def __iter__(self) -> Iterator[PlayedImage]:
        video = self._open()
        try:
            number = 0
            while True:
                readable, pixels = video.read()
                if not readable:
                    return
                rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
                yield PlayedImage(rgb, self._calibration.camera(rgb), str(self._path), number)
                number += 1
        finally:
            video.release()


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
        ValueError: if a field is missing or the lens is of another model; the message names it.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    try:
        model = content.get("distortion_model", "plumb_bob")
        if model not in (*PINHOLE_MODELS, FISHEYE_MODEL):
            expected = f"plumb_bob, rational_polynomial or {FISHEYE_MODEL}"
            raise ValueError(f"{path}: distortion_model = {model!r}, expected {expected}")
        intrinsics = np.asarray(content["camera_matrix"]["data"], dtype=np.float64).reshape(3, 3)
        distortion = tuple(content.get("distortion_coefficients", {}).get("data", ()))
        size = content["image_width"], content["image_height"]
        return Calibration(intrinsics, distortion, size, str(path), model == FISHEYE_MODEL)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: {error} missing; expected image_width, image_height, camera_matrix and distortion_coefficients"
        ) from error
