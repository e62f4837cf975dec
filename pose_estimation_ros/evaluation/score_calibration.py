"""Fit the published score of a bundle on scenes that are rendered for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.data.pose_scenes import PoseScene
from pose_estimation_ros.evaluation.published import is_right
from pose_estimation_ros.evaluation.reliability import expected_calibration_error, reliability
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.methods.registry import NONE
from pose_estimation_ros.objects.score_entry import ScoreEntry
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.verification.evidence import EVIDENCE, gather_evidence
from pose_estimation_ros.verification.fit import fit_terms
from pose_estimation_ros.verification.probability import probabilities
from pose_estimation_ros.verification.silhouettes import SilhouetteRenderer
from pose_estimation_ros.verification.verifier import candidates

HELD_OUT = 4  # every fourth scene tells what the score is worth


@dataclass(frozen=True)
class JudgedPoses:
    """Poses of rendered scenes with what speaks for them, and whether they are right."""

    evidence: dict[str, np.ndarray]  # (N,) each
    right: np.ndarray  # (N,) bool
    scene: np.ndarray  # (N,) which scene each is of

    def part(self, chosen: np.ndarray) -> JudgedPoses:
        """Return the poses chosen (N,) bool."""
        evidence = {name: values[chosen] for name, values in self.evidence.items()}
        return JudgedPoses(evidence, self.right[chosen], self.scene[chosen])


def calibrated(
    pipeline: Pipeline, renderer: SilhouetteRenderer, scenes: Iterable[PoseScene], about: dict[str, Any]
) -> ScoreEntry:
    """Fit the score of a pipeline's detector, backend and refiner on scenes.

    Args:
        pipeline: see `judge_scenes`.
        renderer: of the objects of its catalog.
        scenes: images with known poses.
        about: what is to be kept about how the poses came about.

    Raises:
        ValueError: if there are too few poses, or hardly any right or wrong ones.
    """
    methods = (pipeline.detector_method, pipeline.backend_method, pipeline.refiner_method)
    names = [NONE if method is None else method.name for method in methods]
    entry = fit_score(judge_scenes(pipeline, renderer, scenes), (names[0], names[1], names[2]), about)
    roles = sorted({role for method in methods if method is not None for role in method.roles})
    networks = pipeline.bundle.networks
    return entry.model_copy(update={"networks": {role: networks[role].sha256 for role in roles if role in networks}})


def judge_scenes(pipeline: Pipeline, renderer: SilhouetteRenderer, scenes: Iterable[PoseScene]) -> JudgedPoses:
    """Find the poses of scenes as the node does, and compare them with the true ones.

    Args:
        pipeline: with neither tracking nor a score of its own; its settings say which detections get a pose.
        renderer: of the objects of its catalog.
        scenes: images with known poses.

    Raises:
        ValueError: if no pose is found in any scene.
    """
    settings = pipeline.settings.pipeline.verification
    parts, right, numbers = [], [], []
    for number, scene in enumerate(scenes):
        least = min(settings.candidate_threshold, pipeline.score_threshold)
        found = candidates(pipeline.detect(scene.frame, least), pipeline.score_threshold, settings.max_poses)
        trace = pipeline.process(scene.frame, found).trace
        if trace is None or not trace.refined:
            continue
        parts.append(_evidence(renderer, trace.frame, trace.detections, trace.hypotheses, trace.refined))
        right += [_is_right(item, scene) for item in trace.refined]
        numbers += [number] * len(trace.refined)
    if not parts:
        raise ValueError("no poses in any scene: expected a detector and a backend that find something in renders")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in EVIDENCE}
    return JudgedPoses(joined, np.array(right, dtype=bool), np.array(numbers))


def _evidence(
    renderer: SilhouetteRenderer,
    frame: Frame,
    detections: list[Detection],
    estimated: list[PoseHypothesis],
    refined: list[PoseHypothesis],
) -> dict[str, np.ndarray]:
    kinds = [item.object_index for item in refined]
    silhouettes = renderer.render(kinds, [item.camera_from_object for item in refined], frame.camera)
    return gather_evidence(detections, estimated, refined, silhouettes)


def _is_right(item: PoseHypothesis, scene: PoseScene) -> bool:
    truths = scene.camera_from_object[scene.object_index == item.object_index]
    return any(is_right(item.camera_from_object, truth) for truth in truths)


def fit_score(poses: JudgedPoses, methods: tuple[str, str, str], fit: dict[str, Any]) -> ScoreEntry:
    """Fit the score of a detector, a backend and a refiner to all poses; held-out scenes tell what it is worth.

    Args:
        poses: see `judge_scenes`.
        methods: names of detector, backend and refiner.
        fit: what is to be kept about how the poses came about.

    Raises:
        ValueError: if there are too few poses, or hardly any right or wrong ones.
    """
    held_out = poses.scene % HELD_OUT == HELD_OUT - 1
    most = _fit(poses.part(~held_out), methods)
    rest = poses.part(held_out)
    scores = probabilities(most, rest.evidence)
    sure = scores >= 0.5
    figures = {
        "poses": len(poses.right),
        "right": float(poses.right.mean()),
        "held_out_calibration_error": expected_calibration_error(scores, rest.right),
        "held_out_ranking": reliability(scores, rest.right).ranking if len(scores) else np.nan,
        "held_out_right_from_0_5": float(rest.right[sure].mean()) if sure.any() else np.nan,
    }
    rounded = {key: float(f"{value:.4g}") for key, value in figures.items()} | {"poses": len(poses.right)}
    return _fit(poses, methods).model_copy(update={"fit": fit | rounded})


def _fit(poses: JudgedPoses, methods: tuple[str, str, str]) -> ScoreEntry:
    detector, backend, refiner = methods
    signs = {name: item.sign for name, item in EVIDENCE.items()}
    intercept, terms = fit_terms(poses.evidence, poses.right, signs)
    return ScoreEntry(backend=backend, refiner=refiner, detector=detector, intercept=intercept, terms=terms)
