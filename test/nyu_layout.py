"""Write depth images as the folders of the NYU hand pose data set hold them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_depth_images(folder: Path, depth_mm: np.ndarray) -> None:
    """Write images (N, 480, 640) uint16 of the first view, millimetres."""
    folder.mkdir(parents=True)
    for number, image in enumerate(depth_mm, start=1):
        bgr = np.stack([image & 255, image >> 8, np.full_like(image, 99)], axis=2).astype(np.uint8)
        cv2.imwrite(str(folder / f"depth_1_{number:07d}.png"), bgr)
