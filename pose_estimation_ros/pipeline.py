"""Camera image in, poses of the known objects out: the whole run time without ROS."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pose_estimation_ros.data.crops import crop_frame
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.base import (
    Backend,
    Detector,
    Kind,
    LoadContext,
    LoadedMethod,
    PoseHypothesis,
    Refiner,
)
from pose_estimation_ros.methods.registry import NONE
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.networks.precision import use_precision
from pose_estimation_ros.networks.stopwatch import Stopwatch
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.bundle_differences import same_objects
from pose_estimation_ros.pipeline_frames import is_inside, prepared
from pose_estimation_ros.pipeline_methods import loaded, method_of, refuse_lacking_bundle, refuse_loose_boxes
from pose_estimation_ros.pipeline_result import STAGES, PipelineResult, Trace
from pose_estimation_ros.pipeline_settings import RunSettings, resolve_run
from pose_estimation_ros.pipeline_tracking import Tracking
from pose_estimation_ros.settings import Layer
from pose_estimation_ros.tracking.following import Follower
from pose_estimation_ros.verification.duplicates import distinct
from pose_estimation_ros.verification.second_looks import look_again
from pose_estimation_ros.verification.verifier import DEFAULT_THRESHOLD, candidates, load_verifier


class Pipeline:
    """Detect, crop, estimate, refine, verify and track.

    What is named in an argument wins over the settings; a method may also be given ready made, as an instance or, so
    that it can be drawn and checked, as a `LoadedMethod`.

    Args:
        bundle: the objects and their networks.
        backend: a pose estimator.
        refiner: a refiner; "none" for none.
        device: "auto", "cpu", "cuda" or "cuda:N".
        mesh_dir: folder of the meshes where the bundle does not ship them; for refiners that render.
        detector: a detector.
        settings: values by full name, such as {"tracking.enabled": False}, or all of them.

    Raises:
        ValueError: if a name (of `objects`, too), a value or the device is unknown, if
            `tracking.mode` is refine without a refiner, or if
            the backend needs tighter boxes than the detector gives.
        BundleError: if the bundle lacks what the choice needs.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: str | LoadedMethod | Backend | None = None,
        refiner: str | LoadedMethod | Refiner | None = None,
        device: str | None = None,
        mesh_dir: Path | None = None,
        detector: str | LoadedMethod | Detector | None = None,
        settings: RunSettings | Mapping[str, Any] | None = None,
    ) -> None:
        run = (
            settings if isinstance(settings, RunSettings) else resolve_run(bundle, [Layer("settings", settings or {})])
        )
        wanted = run.pipeline
        self.bundle, self.settings = bundle, run
        self.device = resolve_device(device or wanted.device)
        self.score_threshold = wanted.detector.score_threshold  # may change between frames
        self.min_pose_score = wanted.pose.score_threshold  # poses below are held back; may change between frames
        self._mesh_dir = mesh_dir or (Path(wanted.mesh_dir).expanduser() if wanted.mesh_dir else None)
        follows = wanted.tracking.mode == "refine"
        refiner = wanted.refiner if refiner is None else refiner
        if follows and refiner == NONE:
            raise ValueError("tracking.mode = 'refine' needs a refiner: refiner = 'none', expected attention")
        backend = wanted.backend if backend is None else backend
        detector = wanted.detector.method if detector is None else detector
        choices: tuple[tuple[Kind, Any], ...] = (("detector", detector), ("backend", backend), ("refiner", refiner))
        self.detector_method, self.backend_method, self.refiner_method = (method_of(*choice) for choice in choices)
        refuse_loose_boxes(self.detector_method, self.backend_method)
        refuse_lacking_bundle(bundle, choices, self._mesh_dir)
        context = LoadContext(bundle, self.device, None, self._mesh_dir, refines=refiner != NONE)
        load = partial(loaded, context=context, settings=run)
        self.detector: Detector = load("detector", detector)
        self.backend: Backend = load("backend", backend)
        self.refiner: Refiner | None = None if refiner == NONE else load("refiner", refiner)
        names = [None if method is None else method.name for method in (self.detector_method, self.backend_method)]
        own = None if self.refiner_method is None else self.refiner_method.name
        self.verifier = load_verifier(
            bundle,
            (names[0], names[1], NONE if self.refiner is None else own),
            wanted.verification,
            self._mesh_dir,
            self.device,
        )
        self._objects: tuple[str, ...] = ()
        self._asked: frozenset[int] | None = None
        self._tracking = Tracking(bundle.catalog, wanted.tracking)
        self._follower = Follower(bundle.catalog, wanted.tracking) if follows else None
        self.objects = wanted.objects

    def reset_tracks(self) -> None:
        """Forget all instances and begin to count anew."""
        self._tracking.reset()
        if self._follower is not None:
            self._follower.reset()

    def detect_anew(self) -> None:
        """Run the detector on the next frame, whatever is followed; what is tracked stays tracked."""
        if self._follower is not None:
            self._follower.reset()

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the objects that are looked for, empty for all; may change between frames.

        Raises:
            ValueError: if a name is unknown.
        """
        return self._objects

    @objects.setter
    def objects(self, names: Collection[str]) -> None:
        if tuple(names) == self._objects:
            return
        self._asked = self.bundle.catalog.indices_of(names)
        self._objects = tuple(names)
        if self._follower is not None:
            self._follower.reset()  # what is followed may be unasked now, and what is asked has to be detected

    def continue_tracks(self, previous: Pipeline) -> None:
        """Go on with the instances that another pipeline knew, of objects that are the same in both bundles."""
        index_there = same_objects(self.bundle.catalog, previous.bundle.catalog)
        self._tracking.take_over(previous._tracking, index_there)

    @property
    def least_score(self) -> float:
        """From what score on poses are published."""
        return self.least_score_of(self.min_pose_score)

    @property
    def lowest_score(self) -> float:
        """Below what score no pose is published, also none that was published before."""
        return self._tracking.lowest_score(self.least_score)

    def least_score_of(self, min_pose_score: float) -> float:
        """Return from what score on poses are published: what is asked for, or, if negative, what suits the score."""
        if min_pose_score >= 0.0:
            return min_pose_score
        return 0.0 if self.verifier is None else DEFAULT_THRESHOLD

    def detect(self, frame: Frame, score_threshold: float, objects: Collection[int] | None = None) -> list[Detection]:
        """Run the detector alone, on the undistorted image and in the precision of the settings; see `Detector`."""
        with torch.inference_mode(), use_precision(self.settings.pipeline.precision):
            found = self._detect(prepared(frame), score_threshold)
        return [item for item in found if objects is None or item.object_index in objects]

    def process(self, frame: Frame, detections: list[Detection] | None = None) -> PipelineResult:
        """Find the objects of one frame.

        Args:
            frame: the image; one of a distorted camera is undistorted first, and poses and boxes are those of the
                undistorted camera.
            detections: replace the detector's; boxes in pixels of the undistorted image.

        Returns:
            The poses, or the reason why there are none.

        Raises:
            ValueError: if a given detection is of an object that the bundle does not have.
        """
        with torch.inference_mode(), use_precision(self.settings.pipeline.precision):
            return self._process(frame, detections)

    def _process(self, frame: Frame, detections: list[Detection] | None) -> PipelineResult:
        watch = Stopwatch(self.device, STAGES)
        frame = prepared(frame)
        with watch.stage("tracking"):
            self._tracking.look(frame)
        followed = self._follow(frame, watch) if detections is None else None
        if followed is None:
            trace, hypotheses, kept, reason = self._look(frame, detections, watch)
        else:
            trace, hypotheses = followed
            kept, reason = self._tracking.still_publishable(hypotheses, self.least_score, frame.stamp_ns), None
        if hypotheses and not kept:
            reason = self._why_held_back(hypotheses)
        with watch.stage("tracking"):
            poses = self._tracking.track(kept, trace.detections, frame)
        if kept and not poses:
            reason = f"{len(kept)} poses, not seen often enough yet"
        best_first = sorted(poses, key=lambda pose: -pose.score)
        return PipelineResult(best_first, trace.detections, watch.finish(), reason, trace, self._tracking.states)

    def _follow(self, frame: Frame, watch: Stopwatch) -> tuple[Trace, list[PoseHypothesis]] | None:
        """Refine the poses of the frame before; None where the objects have to be detected."""
        if self._follower is None or self.refiner is None:
            return None
        start = self._follower.start(frame.camera, frame.stamp_ns)
        if start is None:
            return None
        detections, hypotheses = start
        stages = self._follower.settings.stages
        with watch.stage("refinement"):
            refined = self.refiner.refine(frame, detections, hypotheses, stages)
        if not self._follower.is_confident(hypotheses, refined):
            self._follower.failed()
            return None
        self._follower.followed(refined, frame.stamp_ns)
        published = refined if self.verifier is None else self._follower.with_probabilities(refined)
        return Trace(frame, detections, hypotheses, stages, refined), self._distinct(published, frame)

    def _look(
        self, frame: Frame, detections: list[Detection] | None, watch: Stopwatch
    ) -> tuple[Trace, list[PoseHypothesis], list[PoseHypothesis], str | None]:
        """Detect, estimate and refine; return what was found, the poses, those to publish, or why there are none."""
        with watch.stage("detection"):
            found = self._find(frame) if detections is None else detections
            wanted = self._wanted(found)
            usable = self._usable(wanted, frame)
        estimated = self._estimate(frame, usable, watch) if usable else []
        refined = self._refine(frame, usable, estimated, watch)
        estimated, refined = self._look_again(frame, usable, estimated, refined, watch)
        trace = Trace(frame, usable, estimated, refined=refined)
        hypotheses = self._verify(trace, watch)
        with watch.stage("tracking"):
            kept = self._tracking.publishable(hypotheses, self.least_score, frame.stamp_ns)
        if self._follower is not None:
            own = {item.detection_index: item for item in refined}
            followed = [own[item.detection_index] for item in kept]
            self._follower.detected(followed, usable, frame.stamp_ns, [item.published_score for item in kept])
        if not found:
            above = f" scored {self._least_detection_score:g} or more" if detections is None else ""
            return trace, hypotheses, kept, f"no detections{above}"
        if not wanted:
            return trace, hypotheses, kept, f"{len(found)} detections, none of {', '.join(self._objects)}"
        if not usable:
            return trace, hypotheses, kept, f"{len(wanted)} detections, none inside the image"
        few = f"{len(usable)} detections, no pose: too few correspondences agree"
        return trace, hypotheses, kept, None if hypotheses else few

    def _why_held_back(self, hypotheses: list[PoseHypothesis]) -> str:
        best, least = max(item.score for item in hypotheses), self.least_score
        if best < least:
            return f"{len(hypotheses)} poses, the best scored {best:.2f}, below {least:g}"
        return f"{len(hypotheses)} poses, the best scored {best:.2f}, but in the mean of late all are below {least:g}"

    def _detect(self, frame: Frame, score_threshold: float) -> list[Detection]:
        if self._asked is None:
            return self.detector.detect(frame, score_threshold)
        return self._wanted(self.detector.detect(frame, score_threshold, self._asked))

    def _wanted(self, detections: list[Detection]) -> list[Detection]:
        """Return the detections of objects that are looked for."""
        return [item for item in detections if self._asked is None or item.object_index in self._asked]

    def _find(self, frame: Frame) -> list[Detection]:
        """Run the detector; where poses are verified, also what it is less sure of gets a chance."""
        found = self._detect(frame, self._least_detection_score)
        if self.verifier is None:
            return found
        return candidates(found, self.score_threshold, self.verifier.settings.max_poses)

    @property
    def _least_detection_score(self) -> float:
        """Below what score detections get no pose whatever."""
        if self.verifier is None:
            return self.score_threshold
        return min(self.score_threshold, self.verifier.settings.candidate_threshold)

    def _usable(self, detections: list[Detection], frame: Frame) -> list[Detection]:
        for item in detections:
            if not 0 <= item.object_index < len(self.bundle.catalog):
                raise ValueError(
                    f"detection of object {item.object_index}: expected an index below {len(self.bundle.catalog)}"
                )
        return [item for item in detections if is_inside(item.box, frame.camera)]

    def _estimate(self, frame: Frame, detections: list[Detection], watch: Stopwatch) -> list[PoseHypothesis]:
        with watch.stage("crops"):
            crops = crop_frame(frame, detections, self.backend.crop_size, self.backend.crop_padding, self.device)
        with watch.stage("pose"):
            return self.backend.estimate(frame, crops, detections)

    def _refine(
        self,
        frame: Frame,
        detections: list[Detection],
        hypotheses: list[PoseHypothesis],
        watch: Stopwatch,
        thorough: bool = True,
    ) -> list[PoseHypothesis]:
        if self.refiner is None or not hypotheses:
            return hypotheses
        with watch.stage("refinement"):
            return self.refiner.refine(frame, detections, hypotheses, thorough=thorough)

    def _look_again(
        self,
        frame: Frame,
        detections: list[Detection],
        estimated: list[PoseHypothesis],
        refined: list[PoseHypothesis],
        watch: Stopwatch,
    ) -> tuple[list[PoseHypothesis], list[PoseHypothesis]]:
        """Replace poses that the refiner doubts by those that other boxes lead to, see `look_again`."""
        settings, method = self.settings.pipeline.second_looks, self.backend_method
        if self.refiner is None or not settings.enabled or (method is not None and method.searches):
            return estimated, refined
        chances = None
        if self.verifier is not None and settings.hopeless_below > 0.0:
            with watch.stage("verification"):
                chances = self.verifier.probabilities(frame, detections, estimated, refined).tolist()
        return look_again(
            detections,
            estimated,
            refined,
            lambda changed: self._estimate(frame, changed, watch),
            lambda changed, tried: self._refine(frame, changed, tried, watch, thorough=False),
            settings,
            chances,
        )

    def _verify(self, trace: Trace, watch: Stopwatch) -> list[PoseHypothesis]:
        with watch.stage("verification"):
            if self.verifier is None:
                return self._distinct(trace.refined, trace.frame)
            return self.verifier.verify(trace.frame, trace.detections, trace.hypotheses, trace.refined)

    def _distinct(self, hypotheses: list[PoseHypothesis], frame: Frame) -> list[PoseHypothesis]:
        """Return the poses that do not explain the same pixels, where nothing is rendered to check them."""
        return distinct(hypotheses, self.bundle.catalog, frame.camera, self.settings.pipeline.verification)
