"""Rough poses made accurate: a refiner started from several poses about each, and the edges of the photograph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.labelling.settings import RefinementSettings
from pose_estimation_ros.methods.base import PoseHypothesis, Refiner
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.rendering.drawing import box_corners

_SCORE_WEIGHT = 0.5  # of the refiner's score beside the similarity, where results are compared


class PoseRefinement:
    """Refines rough poses.

    Args:
        refiner: a refiner.
        catalog: the objects.
        settings: from where it starts.
    """

    def __init__(self, refiner: Refiner, catalog: Catalog, settings: RefinementSettings) -> None:
        self._refiner, self._catalog, self._settings = refiner, catalog, settings

    def refined(self, frame: Frame, index: int, pose: np.ndarray) -> np.ndarray:
        """Return the best pose (4, 4) that the refiner finds about a rough one of an object; same pose, same result."""
        box = self._box(frame, index, pose)
        if box is None:
            return pose
        settings = self._settings
        first = self._run(frame, box, poses_about(pose, self._catalog[index], settings))
        if len(first) == 1:
            return first[0].camera_from_object
        best = [item.camera_from_object for item in sorted(first, key=_quality)[-settings.kept :]]
        return max(self._run(frame, box, best), key=_quality).camera_from_object

    def similarities(self, frame: Frame, objects: Sequence[tuple[int, np.ndarray]]) -> list[float | None]:
        """Return how like the photograph objects, each a place in the catalog and a pose, look to the refiner."""
        boxes = [self._box(frame, index, pose) for index, pose in objects]
        seen = [number for number, box in enumerate(boxes) if box is not None]
        hypotheses = [
            PoseHypothesis(objects[number][0], row, objects[number][1], 1.0) for row, number in enumerate(seen)
        ]
        detections = [box for box in boxes if box is not None]
        # One stage compares nothing but the poses as they come.
        compared = self._refiner.refine(frame, detections, hypotheses, stages=1) if seen else []
        found: list[float | None] = [None] * len(objects)
        for item in compared:
            found[seen[item.detection_index]] = item.similarity
        return found

    def _run(self, frame: Frame, box: Detection, poses: Sequence[np.ndarray]) -> list[PoseHypothesis]:
        hypotheses = [PoseHypothesis(box.object_index, 0, pose, 1.0) for pose in poses]
        return self._refiner.refine(frame, [box], hypotheses, thorough=False) or hypotheses[:1]

    def _box(self, frame: Frame, index: int, pose: np.ndarray) -> Detection | None:
        """Return where in the image an object is, None where it is not."""
        pixels = frame.camera.project(box_corners(self._catalog[index]) @ pose[:3, :3].T + pose[:3, 3])
        if not np.isfinite(pixels).all():
            return None
        limits = np.array([frame.camera.width - 1.0, frame.camera.height - 1.0])
        low, high = pixels.min(axis=0).clip(0.0, limits), pixels.max(axis=0).clip(0.0, limits)
        return None if (high - low < 1.0).any() else Detection(index, 1.0, np.concatenate([low, high]))


def poses_about(pose: np.ndarray, model: ObjectModel, settings: RefinementSettings) -> list[np.ndarray]:
    """Return a pose (4, 4) and others about it: shifted all around, a little turned, nearer and farther."""
    random = np.random.default_rng(0)
    found = [pose]
    centre = pose[:3, :3] @ model.centre_m + pose[:3, 3]
    for number in range(settings.starts - 1):
        angle = 2.0 * np.pi * number / (settings.starts - 1)
        shift = settings.shift_diameters * model.diameter_m * np.array([np.cos(angle), np.sin(angle), 0.0])
        turn = Rotation.from_rotvec(np.radians(settings.rotation_deg) * random.normal(size=3)).as_matrix()
        other = pose.copy()
        other[:3, :3] = turn @ pose[:3, :3]
        place = centre * np.exp(settings.distance_share * random.normal()) + shift
        other[:3, 3] = place - other[:3, :3] @ model.centre_m
        found.append(other)
    return found


def _quality(item: PoseHypothesis) -> float:
    similarity = -1.0 if item.similarity is None or item.rejected else item.similarity
    return similarity + _SCORE_WEIGHT * item.score
