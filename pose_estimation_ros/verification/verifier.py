"""From the poses of a frame to those worth publishing, each with the probability that it is right."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, BundleError
from pose_estimation_ros.objects.score_entry import ScoreEntry
from pose_estimation_ros.verification.duplicates import without_duplicates
from pose_estimation_ros.verification.evidence import gather_evidence
from pose_estimation_ros.verification.probability import probabilities
from pose_estimation_ros.verification.settings import VerificationSettings
from pose_estimation_ros.verification.silhouettes import SilhouetteRenderer, Silhouettes

DEFAULT_THRESHOLD = 0.5  # of probabilities
_log = logging.getLogger(__name__)


class Verifier:
    """Give every pose its probability, and keep of those that explain the same pixels the most probable.

    Args:
        entry: the calibrated score.
        renderer: of the objects of the catalog.
        settings: which poses are the same thing twice.
    """

    def __init__(
        self, entry: ScoreEntry, renderer: SilhouetteRenderer, settings: VerificationSettings | None = None
    ) -> None:
        self.entry = entry
        self.settings = settings or VerificationSettings()
        self._renderer = renderer

    def verify(
        self,
        frame: Frame,
        detections: Sequence[Detection],
        estimated: Sequence[PoseHypothesis],
        hypotheses: Sequence[PoseHypothesis],
    ) -> list[PoseHypothesis]:
        """Return the poses that are not the same thing twice, with probabilities for scores.

        Args:
            frame: the image; its camera is not distorted.
            detections: what the hypotheses' `detection_index` counts in.
            estimated: poses as the backend left them, at most one per detection.
            hypotheses: poses as they stand; those of the backend where there is no refiner.
        """
        if not hypotheses:
            return []
        kinds = [item.object_index for item in hypotheses]
        silhouettes, chances = self._judged(frame, detections, estimated, hypotheses)
        kept = without_duplicates(silhouettes.common(), kinds, chances.tolist(), self.settings)
        return [replace(hypotheses[number], score=float(chances[number])) for number in kept]

    def probabilities(
        self,
        frame: Frame,
        detections: Sequence[Detection],
        estimated: Sequence[PoseHypothesis],
        hypotheses: Sequence[PoseHypothesis],
    ) -> np.ndarray:
        """Return the probabilities (N,) of all poses, the same thing twice included; arguments as of `verify`."""
        if not hypotheses:
            return np.zeros(0)
        return self._judged(frame, detections, estimated, hypotheses)[1]

    def _judged(
        self,
        frame: Frame,
        detections: Sequence[Detection],
        estimated: Sequence[PoseHypothesis],
        hypotheses: Sequence[PoseHypothesis],
    ) -> tuple[Silhouettes, np.ndarray]:
        kinds = [item.object_index for item in hypotheses]
        silhouettes = self._renderer.render(kinds, [item.camera_from_object for item in hypotheses], frame.camera)
        return silhouettes, probabilities(self.entry, gather_evidence(detections, estimated, hypotheses, silhouettes))


def candidates(found: Sequence[Detection], score_threshold: float, max_poses: int) -> list[Detection]:
    """Return the detections that get a pose: the sure ones, the best of every object that is missing, and others.

    Args:
        found: all detections.
        score_threshold: those from here on are sure.
        max_poses: as many of missing objects get a pose; others only until there are so many poses. Those come first
            of whose kind fewer surer ones were found.
    """
    sure = [item for item in found if item.score >= score_threshold]
    seen = Counter(item.object_index for item in sure)
    ranked = []
    for item in sorted((item for item in found if item.score < score_threshold), key=lambda item: -item.score):
        ranked.append((seen[item.object_index], -item.score, item))
        seen[item.object_index] += 1
    ranked.sort(key=lambda entry: entry[:2])
    missing = sum(surer == 0 for surer, _, _ in ranked)
    count = max(min(missing, max_poses), max_poses - len(sure))
    return sure + [item for _, _, item in ranked[:count]]


def find_entry(bundle: Bundle, detector: str | None, backend: str | None, refiner: str | None) -> ScoreEntry | None:
    """Return the calibrated score of a bundle for these methods; a detector without a name fits every score."""
    for entry in bundle.scores:
        if (entry.backend, entry.refiner) == (backend, refiner) and detector in (None, entry.detector):
            return entry
    return None


def load_verifier(
    bundle: Bundle,
    methods: tuple[str | None, str | None, str | None],
    settings: VerificationSettings,
    mesh_dir: Path | None,
    device: torch.device,
) -> Verifier | None:
    """Load what checks poses; None, with a word in the log, where the bundle or its meshes lack what that takes.

    Args:
        bundle: the objects.
        methods: names of detector, backend and refiner, "none" for no refiner; None where one has no name.
        settings: of the check.
        mesh_dir: folder of the meshes where the bundle does not ship them.
        device: where silhouettes are rendered.
    """
    if not settings.enabled:
        return None
    detector, backend, refiner = methods
    entry = find_entry(bundle, detector, backend, refiner)
    if entry is None:
        if backend is not None:
            _log.info(
                "%s has no calibrated score for %s with refiner %s and detector %s: poses are scored by detector and "
                "methods alone; pose_calibrate fits one",
                bundle.path / BUNDLE_FILE, backend, refiner, detector or "of its own",
            )  # fmt: skip
        return None
    try:
        meshes = bundle.load_meshes(mesh_dir)
    except BundleError as error:
        _log.warning("poses are not checked against the image, detector and methods alone score them: %s", error)
        return None
    for role, digest in entry.networks.items():
        if role in bundle.networks and bundle.networks[role].sha256 != digest:
            _log.warning(
                "%s: the score of %s with refiner %s was fitted to other weights of %s; fit it again with "
                "pose_calibrate --bundle %s --backend %s --refiner %s",
                bundle.path / BUNDLE_FILE, backend, refiner, role, bundle.path, backend, refiner,
            )  # fmt: skip
    return Verifier(entry, SilhouetteRenderer(meshes, device), settings)
