"""What every detector has in common."""

from __future__ import annotations

from typing import Protocol

from pose_estimation_ros.data.frame import Detection, Frame


class Detector(Protocol):
    """Find the known objects in one image."""

    def detect(self, frame: Frame, score_threshold: float) -> list[Detection]:
        """Return the objects scored at least `score_threshold`, best first.

        Boxes span the whole object, hidden parts included, as far as it lies inside the image; masks hold
        what is visible.
        """
        ...
