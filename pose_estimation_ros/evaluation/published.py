"""What somebody gets who believes the node: how many of its poses are right, and how much of what is there it finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose_estimation_ros.data.bop import BopImage, GroundTruth
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.evaluation.bop_results import Estimate
from pose_estimation_ros.evaluation.reliability import expected_calibration_error, reliability, write_reliability
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_result import PipelineResult
from pose_estimation_ros.pipeline_settings import RunSettings
from pose_estimation_ros.verification.probability import RIGHT_SHARE

FOUND_VISIBILITY = 0.3  # objects less visible than this may be missed


@dataclass(frozen=True)
class Published:
    """The poses of all images, and whether they are right."""

    scores: np.ndarray  # (N,)
    right: np.ndarray  # (N,) bool
    threshold: float  # poses below are held back
    visible: int  # true objects of the catalog that are at least 30 % visible
    found: int  # of which a published pose is right

    @property
    def is_published(self) -> np.ndarray:
        """Which poses the node publishes (N,)."""
        return self.scores >= self.threshold


class AsNode:
    """Runs a pipeline as the node does, with its thresholds, but returns also the poses that it would hold back.

    Args:
        pipeline: without tracking.
        settings: those of the node.
    """

    def __init__(self, pipeline: Pipeline, settings: RunSettings) -> None:
        self._pipeline = pipeline
        self._score_threshold = settings.pipeline.detector.score_threshold
        self.threshold = pipeline.least_score_of(settings.pipeline.pose.score_threshold)

    def __call__(self, frame: Frame) -> PipelineResult:
        """Find the objects of one frame."""
        pipeline = self._pipeline
        before = pipeline.score_threshold, pipeline.min_pose_score
        pipeline.score_threshold, pipeline.min_pose_score = self._score_threshold, 0.0
        try:
            return pipeline.process(frame)
        finally:
            pipeline.score_threshold, pipeline.min_pose_score = before


def is_right(pose: np.ndarray, truth: np.ndarray) -> bool:
    """Tell whether the translation of a pose (4, 4) is within 5 % of its distance of that of a true one (4, 4)."""
    distance = float(np.linalg.norm(truth[:3, 3]))
    return float(np.linalg.norm(pose[:3, 3] - truth[:3, 3])) < RIGHT_SHARE * distance


def judge_published(
    images: Iterable[BopImage], estimates: Sequence[Estimate], object_ids: Iterable[int], threshold: float
) -> Published:
    """Compare the poses that the node finds with the ground truth.

    Args:
        images: with their ground truth.
        estimates: all poses of these images; what is below the threshold counts for the calibration only.
        object_ids: of the objects that the node knows.
        threshold: from which score on poses are published.
    """
    known = set(object_ids)
    offered: dict[tuple[int, int], list[Estimate]] = defaultdict(list)
    for item in estimates:
        offered[item.scene_id, item.image_id].append(item)
    scores, right, visible, found = [], [], 0, 0
    for image in images:
        own = offered[image.key]
        truths = [item for item in image.ground_truth if item.object_id in known]
        for item in own:
            scores.append(item.score)
            right.append(_fits(item, truths))
        for truth in truths:
            if truth.visibility >= FOUND_VISIBILITY:
                visible += 1
                found += any(item.score >= threshold and _fits(item, [truth]) for item in own)
    return Published(np.array(scores, dtype=np.float64), np.array(right, dtype=bool), threshold, visible, found)


def _fits(item: Estimate, truths: Sequence[GroundTruth]) -> bool:
    return any(
        item.object_id == truth.object_id and is_right(item.camera_from_object, truth.camera_from_object)
        for truth in truths
    )


def published_figures(result: Published) -> dict[str, float]:
    """Return the figures for tables: counts, shares and calibration errors; NaN where there is nothing to judge."""
    chosen = result.is_published
    ranking = reliability(result.scores, result.right).ranking if len(result.scores) else np.nan
    return {
        "threshold": result.threshold,
        "poses": int(chosen.sum()),
        "right": float(result.right[chosen].mean()) if chosen.any() else np.nan,
        "visible_objects": result.visible,
        "found": result.found / result.visible if result.visible else np.nan,
        "calibration_error": expected_calibration_error(result.scores[chosen], result.right[chosen]),
        "candidates": len(result.scores),
        "calibration_error_of_candidates": expected_calibration_error(result.scores, result.right),
        "ranking": float(ranking),
    }


def describe_published(figures: dict[str, float]) -> str:
    """Return the figures as two lines to read."""
    return (
        f"published from score {figures['threshold']:g} on: {figures['poses']} poses, {figures['right']:.0%} within "
        f"5 % of their distance of a true object; {figures['found']:.0%} of {figures['visible_objects']} objects at "
        f"least 30 % visible found so\ncalibration error of the score: {figures['calibration_error']:.3f} (of all "
        f"{figures['candidates']} candidates {figures['calibration_error_of_candidates']:.3f})"
    )


def write_published(path: Path, result: Published) -> None:
    """Draw the share of right poses over the score, of all candidates."""
    if len(result.scores):
        groups = reliability(result.scores, result.right, groups=10)
        write_reliability(path, groups, f"share within {RIGHT_SHARE:.0%} of the distance")
