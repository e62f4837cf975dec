"""Images to play: a BOP folder, a folder of images or a video, each with its camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.calibration import Calibration
from pose_estimation_ros.geometry.camera import Camera

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


def image_paths(folder: Path) -> list[Path]:
    """Return the images of a folder in the order of their names.

    Raises:
        ValueError: if there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise ValueError(f"{folder}: no images; expected files ending in {', '.join(IMAGE_SUFFIXES)}")
    return paths


def read_as_taken(path: Path) -> np.ndarray:
    """Read an image (H, W, 3) uint8 as the camera that was calibrated took it, not turned as its file says.

    Raises:
        ValueError: if it cannot be read.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ValueError(f"{path}: not a readable image")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


class FolderSource:
    """The images of a folder in the order of their names.

    Raises:
        ValueError: if the folder holds no image.
    """

    def __init__(self, folder: Path, calibration: Calibration) -> None:
        try:
            self._paths = image_paths(folder)
        except ValueError as error:
            raise ValueError(f"--images {error}") from error
        self._calibration = calibration

    def __iter__(self) -> Iterator[PlayedImage]:
        for number, path in enumerate(self._paths):
            rgb = read_as_taken(path)
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
