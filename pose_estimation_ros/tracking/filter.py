"""Smooth the pose of one instance over time."""

from __future__ import annotations

import cv2
import numpy as np

from pose_estimation_ros.tracking.gain import AdaptiveGain
from pose_estimation_ros.tracking.pose_step import pose_step
from pose_estimation_ros.tracking.settings import FilterSettings


class PoseFilter:
    """Exponential smoothing of position and rotation whose gain adapts itself.

    On a static scene noise is averaged away, most where it is known that the camera rests; as soon as the errors point
    the same way, the filter follows without lag; after a jump or a pause it takes the new pose as it is. There is no
    noise level to tune.

    `covariance` is that of `pose`: what the estimates' errors leave of them, see `blended`, and the square of what
    separates the pose from the newest estimate, by which it may lag behind. It is None from when an estimate without
    one comes in until the filter starts afresh.

    Args:
        first: the first pose, shape (4, 4), metres.
        stamp_ns: when that was, nanoseconds.
        diameter_m: of the object.
        settings: see `FilterSettings`.
        covariance: of the first pose, shape (6, 6); None where unknown.
    """

    def __init__(
        self,
        first: np.ndarray,
        stamp_ns: int,
        diameter_m: float,
        settings: FilterSettings | None = None,
        covariance: np.ndarray | None = None,
    ) -> None:
        self._settings = settings or FilterSettings()
        self._diameter_m = diameter_m
        self.restart(first, stamp_ns, covariance)
        self._shifts, self._turns = (AdaptiveGain(self._settings, is_new=True) for _ in range(2))

    def restart(self, pose: np.ndarray, stamp_ns: int, covariance: np.ndarray | None = None) -> None:
        """Take a pose (4, 4) and its covariance (6, 6) as they are and forget what was before."""
        self.pose = np.array(pose, dtype=np.float64)
        self.covariance = self._of_chance = covariance
        self._stamp_ns = stamp_ns
        self._shifts, self._turns = AdaptiveGain(self._settings), AdaptiveGain(self._settings)

    def update(
        self, estimate: np.ndarray, stamp_ns: int, covariance: np.ndarray | None = None, at_rest: bool = False
    ) -> np.ndarray:
        """Take in the estimate of a frame.

        Args:
            estimate: pose (4, 4).
            stamp_ns: when the image was taken, nanoseconds.
            covariance: of the estimate, (6, 6); None where unknown.
            at_rest: most of what is seen stands still: this may be averaged over many frames.

        Returns:
            The smoothed pose (4, 4).
        """
        settings = self._settings
        step = pose_step(self.pose, estimate)
        shift, turn = step[:3], step[3:]
        has_jumped = (
            np.linalg.norm(shift) > settings.jump_diameters * self._diameter_m
            or np.linalg.norm(turn) > settings.jump_rad
        )
        if has_jumped or abs(stamp_ns - self._stamp_ns) > settings.gap_s * 1e9:
            self.restart(estimate, stamp_ns, covariance)
            return self.pose
        smoothed = np.eye(4)
        of_turns = self._turns.take(turn, at_rest)
        smoothed[:3, :3] = cv2.Rodrigues(of_turns * turn)[0] @ self.pose[:3, :3]
        of_shifts = self._shifts.take(shift, at_rest)
        smoothed[:3, 3] = self.pose[:3, 3] + of_shifts * shift
        self.pose, self._stamp_ns = smoothed, stamp_ns
        gain = np.repeat(np.clip([of_shifts, of_turns], 0.0, 1.0), 3)
        self._take_in(covariance, gain, step)
        return self.pose

    def carry(self, pose: np.ndarray) -> None:
        """Go on from another pose (4, 4) that nothing was seen of, such as the old one after a motion of the camera."""
        self.pose = np.array(pose, dtype=np.float64)

    def _take_in(self, covariance: np.ndarray | None, gain: np.ndarray, step: np.ndarray) -> None:
        self._of_chance = blended(self._of_chance, covariance, gain)
        lag = (1.0 - gain) * step  # of an object that moves
        self.covariance = None if self._of_chance is None else self._of_chance + np.outer(lag, lag)


def blended(before: np.ndarray | None, new: np.ndarray | None, gain: np.ndarray) -> np.ndarray | None:
    """Return the covariance of a weighted mean of two poses whose errors may have much in common.

    With one gain g it is (1 - g) P + g R: the square of a weighted mean is at most the weighted mean of the squares. So
    this bounds what it may be whatever the correlation of both errors is, and is met where they are equal. Errors of
    one frame are much like those of the next; to count on their cancelling out would be bold.

    Args:
        before: covariance P of the one, shape (6, 6); None where unknown.
        new: covariance R of the other.
        gain: weight of the other, in [0, 1], of each axis (6,).
    """
    if before is None or new is None:
        return None
    kept = np.sqrt(1.0 - gain)
    return before * np.outer(kept, kept) + new * np.sqrt(np.outer(gain, gain))
