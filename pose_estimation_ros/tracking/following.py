"""Follow objects from frame to frame by refining their last poses, and say when they must be detected again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.control_points import box_corners
from pose_estimation_ros.tracking.settings import FollowingSettings

_MIN_BOX_PX = 4.0  # objects of which less is left in the image are given up


class Follower:
    """Remembers the last refined poses as the start of the next frame.

    Args:
        catalog: the known objects.
        settings: see `FollowingSettings`.
    """

    def __init__(self, catalog: Catalog, settings: FollowingSettings | None = None) -> None:
        self._catalog = catalog
        self.settings = settings or FollowingSettings()
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next frame needs the detector."""
        self._hypotheses: list[PoseHypothesis] = []
        self._detections: list[Detection] = []
        self._first_scores: list[float] = []
        self._probabilities: list[float] = []
        self._frames = 0  # since the last detection, that one included
        self._rest = 0  # frames to detect in before following is tried again
        self._stamp_ns = 0

    def start(self, camera: Camera, stamp_ns: int) -> tuple[list[Detection], list[PoseHypothesis]] | None:
        """Return boxes and poses to refine in a new frame; None where it needs the detector."""
        gap_s = (stamp_ns - self._stamp_ns) / 1e9
        tired = self._frames >= self.settings.detect_every or not 0.0 <= gap_s <= self.settings.max_gap_s
        if not self._hypotheses or tired or self._rest > 0:
            return None
        detections, hypotheses = [], []
        for number, item in enumerate(self._hypotheses):
            box = self._box(item, camera)
            if box is None:
                return None
            detections.append(Detection(item.object_index, self._detections[number].score, box))
            hypotheses.append(replace(item, detection_index=number))
        return detections, hypotheses

    def is_confident(self, given: Sequence[PoseHypothesis], refined: Sequence[PoseHypothesis]) -> bool:
        """Tell whether all poses of `start` were refined, and are about as sure as after the last detection."""
        if len(refined) != len(given):
            return False
        least = self.settings.min_score_ratio
        return all(
            not item.rejected and item.score > least * first
            for item, first in zip(refined, self._first_scores, strict=True)
        )

    def failed(self) -> None:
        """Take in that the poses of `start` were not sure.

        If that happens straight after a detection it would in the next frame, too: following rests for a while.
        """
        if self._frames <= 1:
            self._rest = self.settings.detect_every

    def followed(self, refined: Sequence[PoseHypothesis], stamp_ns: int) -> None:
        """Take in refined poses of the frame that `start` was asked for, in its order."""
        self._hypotheses, self._stamp_ns = list(refined), stamp_ns
        self._frames += 1

    def with_probabilities(self, refined: Sequence[PoseHypothesis]) -> list[PoseHypothesis]:
        """Return refined poses of `start` with their probabilities for scores.

        What was found out about an object when it was detected stays; it is less likely by as much as the refiner is
        less sure than it was then.
        """
        return [
            replace(item, score=probability * min(1.0, item.score / max(first, 1e-6)))
            for item, first, probability in zip(refined, self._first_scores, self._probabilities, strict=True)
        ]

    def detected(
        self,
        refined: Sequence[PoseHypothesis],
        detections: Sequence[Detection],
        stamp_ns: int,
        probabilities: Sequence[float] | None = None,
    ) -> None:
        """Take in the poses of a frame that was looked at anew.

        Args:
            refined: the poses, scored by the refiner.
            detections: what their `detection_index` counts in.
            stamp_ns: when the image was taken, nanoseconds.
            probabilities: that they are right; the refiner's scores where absent.
        """
        self._hypotheses, self._stamp_ns, self._frames = list(refined), stamp_ns, 1
        self._rest = max(0, self._rest - 1)
        self._detections = [detections[item.detection_index] for item in refined]
        self._first_scores = [item.score for item in refined]
        self._probabilities = list(self._first_scores if probabilities is None else probabilities)

    def _box(self, item: PoseHypothesis, camera: Camera) -> np.ndarray | None:
        """Return the box in the image, clipped; None where the object has left it."""
        pose = item.camera_from_object
        corners = box_corners(self._catalog[item.object_index]) @ pose[:3, :3].T + pose[:3, 3]
        if corners[:, 2].min() <= 0.0:
            return None
        pixels = camera.project(corners)
        limits = np.array([camera.width - 1.0, camera.height - 1.0])
        low, high = np.clip(pixels.min(axis=0), 0.0, limits), np.clip(pixels.max(axis=0), 0.0, limits)
        return np.concatenate([low, high]) if (high - low).min() >= _MIN_BOX_PX else None
