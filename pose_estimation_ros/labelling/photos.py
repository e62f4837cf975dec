"""The photographs that are labelled: a data set in BOP layout, or a folder of images with one calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pose_estimation_ros.data.bop import IMAGE_SUFFIXES, BopDataset, GroundTruth
from pose_estimation_ros.data.calibration import Calibration
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.data.image_sources import image_paths, read_as_taken

FOLDER_SCENE = 1  # number of the scene that images of a folder become


@dataclass(frozen=True)
class Photo:
    """One photograph; the pixels stay on the disk."""

    scene_id: int
    image_id: int
    path: Path
    read: Callable[[], Frame]  # with the lens's distortion, where it has any
    poses: tuple[GroundTruth, ...] = ()  # that are known already, more or less

    @property
    def key(self) -> str:
        """Scene and image as reports name them."""
        return f"{self.scene_id:06d}/{self.image_id:06d}"

    def frame(self) -> Frame:
        """Read the photograph as a camera without distortion would have taken it.

        Raises:
            ValueError: if it cannot be read, or is of another size than its camera.
        """
        frame = self.read()
        if not frame.camera.is_distorted:
            return frame
        return Frame(frame.camera.undistort_image(frame.rgb), frame.camera.undistorted())

    def exact_file(self, frame: Frame) -> Path | None:
        """Return the file where it holds the pixels of a frame as every reader of BOP's layout sees them."""
        if self.path.suffix.lower() not in IMAGE_SUFFIXES:
            return None
        pixels = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        same = pixels is not None and np.array_equal(pixels[..., ::-1], frame.rgb)
        return self.path if same else None


def open_photos(folder: Path, split: str, calibration: Calibration | None) -> list[Photo]:
    """List the photographs of a folder.

    Args:
        folder: a data set in BOP layout, or images.
        split: of the data set.
        calibration: of the images of a plain folder.

    Raises:
        ValueError: if images have no calibration, or a data set is given another one.
        FileNotFoundError: if there is nothing to read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"--photos {folder}: no such folder")
    if any(folder.glob("*/*/scene_camera.json")):
        if calibration is not None:
            raise ValueError(
                f"--photos {folder}: a data set in BOP layout has cameras of its own; "
                "expected neither --camera nor --intrinsics"
            )
        return _of_dataset(BopDataset(folder, split))
    paths = image_paths(folder)
    if calibration is None:
        raise ValueError(
            f"--photos {folder}: images without a camera; expected --camera FILE (as camera_calibration writes it) "
            "or --intrinsics FX FY CX CY, or a data set in BOP layout"
        )
    return [
        Photo(FOLDER_SCENE, number, path, partial(_calibrated, path, calibration)) for number, path in enumerate(paths)
    ]


def _of_dataset(dataset: BopDataset) -> list[Photo]:
    return [
        Photo(*image.key, image.rgb_path, partial(dataset.frame, image), image.ground_truth) for image in dataset.images
    ]


def _calibrated(path: Path, calibration: Calibration) -> Frame:
    rgb = read_as_taken(path)
    return Frame(rgb, calibration.camera(rgb))
