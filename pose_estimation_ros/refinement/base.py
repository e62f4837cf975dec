"""What every pose refiner has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pose_estimation_ros.backends.base import PoseHypothesis
from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame


class Refiner(Protocol):
    """Improve the poses of all objects of one frame together."""

    def refine(
        self, frame: Frame, crops: Crops, detections: list[Detection], hypotheses: Sequence[PoseHypothesis]
    ) -> list[PoseHypothesis]:
        """Return the hypotheses, improved; those that turn out wrong may be left out."""
        ...


class NoRefiner:
    """Leave the poses as they are."""

    def refine(
        self, frame: Frame, crops: Crops, detections: list[Detection], hypotheses: Sequence[PoseHypothesis]
    ) -> list[PoseHypothesis]:
        """Return the hypotheses unchanged."""
        return list(hypotheses)
