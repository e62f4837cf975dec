"""Several poses between which the estimates of one instance alternate: hold the better one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pose_estimation_ros.tracking.pose_step import pose_step
from pose_estimation_ros.tracking.settings import ModeSettings

_FORGOTTEN = 0.05  # evidence of a mode that counts no more
_WANDERED = 1.5  # radii from where a pose was first seen, from which on it is another one

Verdict = Literal["held", "kept", "switched"]


@dataclass(eq=False)
class _Mode:
    pose: np.ndarray  # (4, 4), metres; where it was last seen, carried along with the camera's motion
    first: np.ndarray  # (4, 4), where it was first seen, carried along as well
    evidence: float  # scores of its estimates, older ones counting less
    hits: int = 1
    was_held: bool = False
    alternates: bool = False  # the one that is held was seen again after it


class PoseModes:
    """Decide whether an estimate is of the pose that is held, of one that alternates with it, or of a motion.

    An instance that rests and whose estimate is suddenly elsewhere has either moved or is ambiguous. It has moved when
    the next estimate is not where it was, either. It is ambiguous when estimates return; from then on that pose is held
    for which there is clearly more evidence.

    Args:
        pose: the first pose (4, 4), metres.
        score: its score.
        diameter_m: of the object.
        settings: see `ModeSettings`.
    """

    def __init__(self, pose: np.ndarray, score: float, diameter_m: float, settings: ModeSettings) -> None:
        self._settings, self._diameter_m = settings, diameter_m
        self._held = _Mode(
            pose, pose, score, settings.settled_hits
        )  # it is doubted no less than one that was seen for long
        self._others: list[_Mode] = []
        self._away = 0  # frames in a row whose estimate was elsewhere

    @property
    def alternatives(self) -> int:
        """Number of other poses that alternate with the one that is held."""
        return sum(item.alternates for item in self._others)

    def carry(self, motion: np.ndarray) -> None:
        """Move everything (4, 4) as the camera's motion moves what it sees."""
        for item in self._others:
            item.pose, item.first = motion @ item.pose, motion @ item.first

    def take(self, estimate: np.ndarray, expected: np.ndarray, score: float) -> Verdict:
        """Take in the estimate of a frame.

        Args:
            estimate: pose (4, 4).
            expected: pose (4, 4) that is held, carried along with the camera's motion.
            score: of the estimate.

        Returns:
            held: it is of the pose that is held. kept: it is not, and that pose is to be kept. switched: it replaces
            what was held.
        """
        for item in (self._held, *self._others):
            item.evidence *= self._settings.memory
        self._others = [item for item in self._others if item.evidence > _FORGOTTEN]
        if self._is_near(estimate, expected):
            if self._away:
                for item in self._others:
                    item.alternates = True
            self._away = 0
            self._held.evidence += score
            self._held.hits += 1
            return "held"
        self._away += 1
        other = next((item for item in self._others if self._is_of(estimate, item)), None)
        if other is None:
            other = _Mode(estimate, estimate, 0.0, 0)
            self._others.append(other)
        other.pose, other.evidence, other.hits = estimate, other.evidence + score, other.hits + 1
        if not self._is_better(other):
            return "kept"
        self._others.remove(other)
        self._held.pose, self._held.first, self._held.was_held = expected, expected, True
        self._held.alternates = other.was_held  # back to that one
        self._others.append(self._held)
        self._held, self._away = other, 0
        return "switched"

    def spread(self, held: np.ndarray) -> np.ndarray:
        """Return what the alternatives add to the covariance (6, 6) of the held pose (4, 4): that of a mixture."""
        whole = self._held.evidence + sum(item.evidence for item in self._others if item.alternates)
        total = np.zeros((6, 6))
        for item in self._others:
            if item.alternates:
                step = pose_step(held, item.pose)
                total += item.evidence / max(whole, 1e-9) * np.outer(step, step)
        return total

    def _is_better(self, other: _Mode) -> bool:
        settings = self._settings
        if other.alternates:
            return other.evidence > settings.margin * self._held.evidence
        return self._held.hits < settings.settled_hits or self._away > 1

    def _is_of(self, estimate: np.ndarray, mode: _Mode) -> bool:
        """Tell whether an estimate is of a pose; one that wanders away frame by frame is a motion, and of none."""
        return self._is_near(estimate, mode.pose) and self._is_near(estimate, mode.first, _WANDERED)

    def _is_near(self, estimate: np.ndarray, pose: np.ndarray, radii: float = 1.0) -> bool:
        step = pose_step(pose, estimate)
        return bool(
            np.linalg.norm(step[:3]) <= radii * self._settings.radius_diameters * self._diameter_m
            and np.linalg.norm(step[3:]) <= radii * self._settings.radius_rad
        )
