"""Smooth the pose of one instance over time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from pose_estimation_ros.tracking.settings import FilterSettings


@dataclass
class _TrackingSignal:
    """Gain from the direction of the errors: errors of chance cancel, errors of motion add up.

    Source: Trigg and Leach, Exponential smoothing with an adaptive response rate, 1967; here for vectors.
    """

    memory: float
    mean: np.ndarray = field(default_factory=lambda: np.zeros(3))
    size: float = 0.0

    def gain(self, error: np.ndarray) -> float:
        self.mean = (1.0 - self.memory) * self.mean + self.memory * error
        self.size = (1.0 - self.memory) * self.size + self.memory * float(np.linalg.norm(error))
        return float(np.linalg.norm(self.mean)) / self.size if self.size > 0.0 else 1.0


class PoseFilter:
    """Exponential smoothing of position and rotation whose gain adapts itself.

    On a static scene noise is averaged away; as soon as the errors point the same way, the filter follows without
    lag; after a jump or a pause it takes the new pose as it is. There is no noise level to tune.

    Args:
        first: the first pose, shape (4, 4), metres.
        stamp_ns: when that was, nanoseconds.
        diameter_m: of the object.
        settings: see `FilterSettings`.
    """

    def __init__(
        self, first: np.ndarray, stamp_ns: int, diameter_m: float, settings: FilterSettings | None = None
    ) -> None:
        self._settings = settings or FilterSettings()
        self._diameter_m = diameter_m
        self._start(first, stamp_ns)

    def _start(self, pose: np.ndarray, stamp_ns: int) -> None:
        self.pose = np.array(pose, dtype=np.float64)
        self._stamp_ns = stamp_ns
        self._shifts = _TrackingSignal(self._settings.error_memory)
        self._turns = _TrackingSignal(self._settings.error_memory)

    def update(self, estimate: np.ndarray, stamp_ns: int) -> np.ndarray:
        """Take in the estimate (4, 4) of a frame and return the smoothed pose (4, 4)."""
        settings = self._settings
        shift = estimate[:3, 3] - self.pose[:3, 3]
        turn = Rotation.from_matrix(estimate[:3, :3] @ self.pose[:3, :3].T).as_rotvec()
        has_jumped = (
            np.linalg.norm(shift) > settings.jump_diameters * self._diameter_m
            or np.linalg.norm(turn) > settings.jump_rad
        )
        if has_jumped or abs(stamp_ns - self._stamp_ns) > settings.gap_s * 1e9:
            self._start(estimate, stamp_ns)
            return self.pose
        smoothed = np.eye(4)
        gain = max(self._turns.gain(turn), settings.min_gain)
        smoothed[:3, :3] = Rotation.from_rotvec(gain * turn).as_matrix() @ self.pose[:3, :3]
        gain = max(self._shifts.gain(shift), settings.min_gain)
        smoothed[:3, 3] = self.pose[:3, 3] + gain * shift
        self.pose, self._stamp_ns = smoothed, stamp_ns
        return self.pose
