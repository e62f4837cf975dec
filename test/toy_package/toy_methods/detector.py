"""The detector `toy_colours`."""

from __future__ import annotations

from collections.abc import Collection

import cv2
import numpy as np

from pose_estimation_ros.methods.base import Detection, Frame, LoadContext

from .settings import ToyColoursSettings


class ToyColours:
    """Find colourful regions."""

    def __init__(self, context: LoadContext) -> None:
        settings: ToyColoursSettings = context.settings
        self.min_saturation, self.objects = settings.min_saturation, len(context.bundle.catalog)

    def detect(self, frame: Frame, score_threshold: float, objects: Collection[int] | None = None) -> list[Detection]:
        """Detect as `Detector` says; the largest region scores 1."""
        saturated = np.ptp(frame.rgb.astype(np.int16), axis=2) >= self.min_saturation
        _, labels, regions, _ = cv2.connectedComponentsWithStats(saturated.astype(np.uint8))
        largest = sorted(range(1, len(regions)), key=lambda label: -regions[label, cv2.CC_STAT_AREA])[: self.objects]
        found = []
        for index, label in enumerate(largest):
            x, y, width, height, area = (float(value) for value in regions[label])
            score = area / float(regions[largest[0], cv2.CC_STAT_AREA])
            box = np.array([x, y, x + width, y + height]) - 0.5
            found.append(Detection(index, score, box, labels == label))
        wanted = [item for item in found if objects is None or item.object_index in objects]
        return [item for item in wanted if item.score >= score_threshold]


def load(context: LoadContext) -> ToyColours:
    """Make the detector; it needs nothing of the bundle but the number of objects."""
    return ToyColours(context)
