"""What lies between two poses."""

from __future__ import annotations

import cv2
import numpy as np


def pose_step(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return shift and rotation vector (6,) from one pose (4, 4) to another, in the camera's axes."""
    return np.concatenate([end[:3, 3] - start[:3, 3], cv2.Rodrigues(end[:3, :3] @ start[:3, :3].T)[0][:, 0]])
