"""What every pose refiner has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from pose_estimation_ros.backends.base import PoseHypothesis
from pose_estimation_ros.data.frame import Detection, Frame


class Refiner(Protocol):
    """Improve the poses of all objects of one frame together."""

    comparisons: int  # of one object with an image, since the refiner was made

    def refine(
        self,
        frame: Frame,
        detections: list[Detection],
        hypotheses: Sequence[PoseHypothesis],
        stages: int | None = None,
    ) -> list[PoseHypothesis]:
        """Return the hypotheses, improved; those that turn out wrong may be left out.

        Args:
            frame: the image.
            detections: what the hypotheses' `detection_index` counts in.
            hypotheses: poses to start from.
            stages: iterations, for refiners that have them; their own number where absent.
        """
        ...


class NoRefiner:
    """Leave the poses as they are."""

    comparisons = 0

    def refine(
        self,
        frame: Frame,
        detections: list[Detection],
        hypotheses: Sequence[PoseHypothesis],
        stages: int | None = None,
    ) -> list[PoseHypothesis]:
        """Return the hypotheses unchanged."""
        return list(hypotheses)


@runtime_checkable
class ExplainsRefinement(Protocol):
    """A refiner that can draw what it did."""

    debug_name: str  # of the topic ~/debug/NAME and of the folder of pictures

    def explain(self, frame: Frame, hypotheses: Sequence[PoseHypothesis], stages: int | None = None) -> np.ndarray:
        """Draw how `refine` treats poses; (H, W, 3) uint8 of any size, computed anew, so only when somebody looks."""
        ...
