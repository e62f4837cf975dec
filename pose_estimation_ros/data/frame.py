"""Values that travel from the camera to the pose estimators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pose_estimation_ros.geometry.camera import Camera


@dataclass(frozen=True)
class Frame:
    """One camera image with the camera that took it."""

    rgb: np.ndarray  # (H, W, 3) uint8
    camera: Camera
    stamp_ns: int = 0
    frame_id: str = ""
    on_devices: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)  # see `picture_of`

    def __post_init__(self) -> None:
        expected = (self.camera.height, self.camera.width, 3)
        if self.rgb.shape != expected or self.rgb.dtype != np.uint8:
            raise ValueError(
                f"Frame.rgb: shape {self.rgb.shape} {self.rgb.dtype}, expected {expected} uint8 "
                "from the camera's height and width"
            )


@dataclass(frozen=True)
class Detection:
    """One object found in an image."""

    object_index: int  # into the catalog
    score: float
    box: np.ndarray  # (4,) x0 y0 x1 y1 in pixels of the full image
    mask: np.ndarray | None = None  # (H, W) bool, visible pixels in the full image
    is_tight: bool = True  # the box ends where the object ends; otherwise it only says about where the object is
