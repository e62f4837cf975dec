"""What is known of one object instance over time."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.tracking.filter import PoseFilter
from pose_estimation_ros.tracking.modes import PoseModes, Verdict
from pose_estimation_ros.tracking.settings import FilterSettings, TrackerSettings
from pose_estimation_ros.tracking.track_state import TrackState

_STRONGER = 3.0
_REMEMBERED_HITS = 5  # what was seen less often may never have been there
_MOVED_FRAMES = 5  # what was unseen for so long may be elsewhere


class Track:
    """One instance of an object: its number, and its pose as far as estimates of it were believed.

    Args:
        track_id: its number.
        hypothesis: its first estimate.
        stamp_ns: of the image, nanoseconds.
        diameter_m: of the object.
        settings: see `TrackerSettings`.
    """

    def __init__(
        self, track_id: int, hypothesis: PoseHypothesis, stamp_ns: int, diameter_m: float, settings: TrackerSettings
    ) -> None:
        self.settings, self._diameter_m = settings, diameter_m
        self.track_id, self._began_ns, self._hits = track_id, stamp_ns, 0
        self.resume(hypothesis, stamp_ns)

    def resume(self, hypothesis: PoseHypothesis, stamp_ns: int) -> None:
        """Go on with an instance that may have moved while it was unseen: nothing of its pose is remembered."""
        pose, settings = hypothesis.camera_from_object, self.settings
        smoothing = filter_settings(settings)
        self._filter = PoseFilter(pose, stamp_ns, self._diameter_m, smoothing, hypothesis.covariance)
        self._modes = PoseModes(self._filter.pose, hypothesis.score, self._diameter_m, settings.modes)
        # Where it is in the newest frame, seen or not, if only the camera has moved; and the same of its newest
        # estimate, whether that was believed or not: both (4, 4).
        self.expected = self.estimate = self._filter.pose
        self._seen(stamp_ns)

    def _seen(self, stamp_ns: int) -> None:
        self._seen_ns, self._missed, self._hits = stamp_ns, 0, self._hits + 1
        self.is_lost = False  # given up; its number is kept for it

    def follow(self, hypothesis: PoseHypothesis, stamp_ns: int, is_at_rest: bool) -> None:
        """Take in an estimate.

        Args:
            hypothesis: the estimate.
            stamp_ns: of the image, nanoseconds.
            is_at_rest: whether the camera rests.
        """
        pose, covariance = hypothesis.camera_from_object, hypothesis.covariance
        verdict = self._verdict(hypothesis, stamp_ns)
        if verdict == "held":
            self._filter.update(pose, stamp_ns, covariance, is_at_rest)
        elif verdict == "switched":
            self._filter.restart(pose, stamp_ns, covariance)
        else:
            self._filter.carry(self.expected)
        self.expected, self.estimate = self._filter.pose, np.asarray(pose, dtype=np.float64)
        self._seen(stamp_ns)

    def _verdict(self, hypothesis: PoseHypothesis, stamp_ns: int) -> Verdict:
        """Decide what becomes of an estimate: it is smoothed, replaces what was, or is not taken."""
        if self.settings.smoothing == "none":
            return "switched"
        is_recent = stamp_ns - self._seen_ns <= self.settings.filter.gap_s * 1e9
        if not self.settings.modes.enabled or not is_recent:
            return "held"
        return self._modes.take(hypothesis.camera_from_object, self.expected, hypothesis.score)

    def carry(self, motion: np.ndarray) -> None:
        """Move everything (4, 4) as the camera's motion moves what it sees."""
        self.expected, self.estimate = motion @ self.expected, motion @ self.estimate
        self._modes.carry(motion)

    def miss(self, stamp_ns: int) -> None:
        """Count a frame in which it was not found; it may be given up then."""
        self._missed += 1
        unseen_s = (stamp_ns - self._seen_ns) / 1e9
        self.is_lost |= self._missed > self.settings.max_missed or unseen_s > self.settings.max_unseen_s

    def is_kept(self, stamp_ns: int) -> bool:
        """Tell whether its number is its own: it is not given up, or is remembered."""
        is_remembered = (stamp_ns - self._seen_ns) / 1e9 <= self.settings.number_memory_s
        return not self.is_lost or (self._hits >= _REMEMBERED_HITS and is_remembered)

    @property
    def may_have_moved(self) -> bool:
        """Whether it was unseen for so long that it may be elsewhere."""
        return self.is_lost or self._missed >= _MOVED_FRAMES

    @property
    def is_confirmed(self) -> bool:
        """Whether it was seen often enough to be published."""
        return self._hits >= self.settings.min_hits

    def state(self, name: str, stamp_ns: int) -> TrackState:
        """Return what is told of it.

        Args:
            name: of the object.
            stamp_ns: of the newest frame, nanoseconds.
        """
        seen: Literal["new", "seen"] = "seen" if self.is_confirmed else "new"
        return TrackState(
            name,
            self.track_id,
            "unseen" if self._missed else seen,
            (stamp_ns - self._began_ns) / 1e9,
            (stamp_ns - self._seen_ns) / 1e9,
            self._hits,
            self._modes.alternatives,
        )

    def smoothed(self, hypothesis: PoseHypothesis) -> PoseHypothesis:
        """Return its newest estimate with its smoothed pose and the covariance of that."""
        pose, covariance = self._filter.pose, self._filter.covariance
        if covariance is not None and self._modes.alternatives:
            covariance = covariance + self._modes.spread(pose)
        return replace(hypothesis, camera_from_object=pose, covariance=covariance)


def filter_settings(settings: TrackerSettings) -> FilterSettings:
    """Return how poses are smoothed: as the filter's settings say, or, strongly, over three times as many frames."""
    usual = settings.filter
    if settings.smoothing != "strong":
        return usual
    return usual.model_copy(
        update={
            "error_memory": usual.error_memory / _STRONGER,
            "min_gain": usual.min_gain / _STRONGER,
        }
    )
