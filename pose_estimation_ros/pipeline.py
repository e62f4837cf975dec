"""Camera image in, poses of the known objects out: the whole run time without ROS."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from pose_estimation_ros.backends import make_backend
from pose_estimation_ros.backends.base import Backend, Explains, PoseHypothesis
from pose_estimation_ros.data.crops import crop_frame
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.detection import make_detector
from pose_estimation_ros.detection.base import Detector
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.refinement import make_refiner
from pose_estimation_ros.refinement.base import ExplainsRefinement, NoRefiner, Refiner
from pose_estimation_ros.tracking.following import Follower, FollowSettings
from pose_estimation_ros.tracking.object_pose import ObjectPose
from pose_estimation_ros.tracking.tracker import Tracker, untracked

STAGES = ("detection", "crops", "pose", "refinement", "tracking")
_LEAST_VISIBLE_PX = 2.0  # boxes with less than this inside the image cannot be cropped


@dataclass(frozen=True)
class PipelineResult:
    """What the pipeline found in one frame."""

    poses: list[ObjectPose]  # best first
    detections: list[Detection]  # every usable box, also those without a pose; pixels of the undistorted image
    timings_s: dict[str, float] = field(default_factory=dict)  # STAGES, and the total with everything between them
    reason: str | None = None  # why there are no poses; None where there are


class Pipeline:
    """Detect, crop, estimate, refine and track.

    Args:
        bundle: the objects and their networks.
        backend: name of a pose estimator, or one ready made.
        refiner: name of a refiner, or one ready made.
        device: "auto", "cpu", "cuda" or "cuda:N".
        score_threshold: detections below are ignored; may change between frames.
        mesh_dir: folder of the meshes where the bundle does not ship them; for refiners that render.
        detector: name of a detector, or one ready made.
        track: keep identities and smooth over time; otherwise every frame stands alone.
        follow: refine the poses of the frame before instead of detecting anew in every frame; None always detects.

    Raises:
        ValueError: if a name or the device is unknown, or `follow` is asked for without a refiner.
        BundleError: if the bundle lacks what the choice needs.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: str | Backend = "pix2pose",
        refiner: str | Refiner = "none",
        device: str = "auto",
        score_threshold: float = 0.5,
        mesh_dir: Path | None = None,
        detector: str | Detector = "mask_rcnn",
        track: bool = True,
        follow: FollowSettings | None = None,
    ) -> None:
        self.bundle = bundle
        self.device = resolve_device(device)
        self.score_threshold = score_threshold
        self.min_pose_score = 0.0  # poses below are held back; may change between frames
        self._detector = make_detector(detector, bundle, self.device) if isinstance(detector, str) else detector
        self._backend = make_backend(backend, bundle, self.device) if isinstance(backend, str) else backend
        self._refiner = make_refiner(refiner, bundle, self.device, mesh_dir) if isinstance(refiner, str) else refiner
        if follow is not None and isinstance(self._refiner, NoRefiner):
            raise ValueError("tracking.mode = 'refine' needs a refiner: refiner = 'none', expected attention")
        self._refined: tuple[list[Detection] | None, list[PoseHypothesis], int | None] = (None, [], None)
        self._tracker = Tracker(bundle.catalog) if track else None
        self._follower = Follower(bundle.catalog, follow) if follow is not None else None

    def warm_up(self, width: int = 640, height: int = 480) -> None:
        """Run everything once on noise, so that the first image does not pay for what happens once."""
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        intrinsics = np.array([[width, 0.0, width / 2.0], [0.0, width, height / 2.0], [0.0, 0.0, 1.0]])
        frame = Frame(pixels, Camera(intrinsics, width, height))
        box = np.array([0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height])
        self.process(frame)
        self.process(frame, [Detection(index, 1.0, box) for index in range(len(self.bundle.catalog))])
        self.reset_tracks()

    def reset_tracks(self) -> None:
        """Forget all instances and begin to count anew."""
        for memory in (self._tracker, self._follower):
            if memory is not None:
                memory.reset()

    @torch.inference_mode()
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
        watch = _Stopwatch(self.device)
        frame = prepared(frame)
        followed = self._follow(frame, watch) if detections is None else None
        if followed is None:
            usable, hypotheses, reason = self._look(frame, detections, watch)
        else:
            usable, hypotheses, reason = *followed, None
        kept = [item for item in hypotheses if item.score >= self.min_pose_score]
        if hypotheses and not kept:
            best = max(item.score for item in hypotheses)
            reason = f"{len(hypotheses)} poses, the best scored {best:.2f}, below {self.min_pose_score:g}"
        with watch.stage("tracking"):
            poses = self._track(kept, usable, frame.stamp_ns)
        if kept and not poses:
            reason = f"{len(kept)} poses, not seen often enough yet"
        return PipelineResult(sorted(poses, key=lambda pose: -pose.score), usable, watch.finish(), reason)

    def _follow(self, frame: Frame, watch: _Stopwatch) -> tuple[list[Detection], list[PoseHypothesis]] | None:
        """Refine the poses of the frame before; None where the objects have to be detected."""
        if self._follower is None:
            return None
        start = self._follower.start(frame.camera, frame.stamp_ns)
        if start is None:
            return None
        detections, hypotheses = start
        stages = self._follower.settings.stages
        with watch.stage("refinement"):
            refined = self._refiner.refine(frame, detections, hypotheses, stages)
        if not self._follower.is_confident(hypotheses, refined):
            self._follower.failed()
            return None
        self._refined = (detections, hypotheses, stages)
        self._follower.followed(refined, frame.stamp_ns)
        return detections, refined

    def _look(
        self, frame: Frame, detections: list[Detection] | None, watch: _Stopwatch
    ) -> tuple[list[Detection], list[PoseHypothesis], str | None]:
        """Detect and estimate; return usable detections, poses, and the reason where there are none."""
        with watch.stage("detection"):
            found = self._detector.detect(frame, self.score_threshold) if detections is None else detections
            usable = self._usable(found, frame)
        hypotheses = self._estimate(frame, usable, watch) if usable else []
        if self._follower is not None:
            self._follower.detected(hypotheses, usable, frame.stamp_ns)
        if not found:
            above = f" scored {self.score_threshold:g} or more" if detections is None else ""
            return usable, hypotheses, f"no detections{above}"
        if not usable:
            return usable, hypotheses, f"{len(found)} detections, none inside the image"
        few = f"{len(usable)} detections, no pose: too few correspondences agree"
        return usable, hypotheses, None if hypotheses else few

    @property
    def comparisons(self) -> int:
        """How often the refiner compared an object with an image so far; 0 where there is none."""
        return self._refiner.comparisons

    @property
    def debug_names(self) -> tuple[str, ...]:
        """Names of the pictures that `explain` draws."""
        backend = (self._backend.debug_name,) if isinstance(self._backend, Explains) else ()
        refiner = (self._refiner.debug_name,) if isinstance(self._refiner, ExplainsRefinement) else ()
        return backend + refiner

    @torch.inference_mode()
    def explain(
        self, frame: Frame, detections: list[Detection], names: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Draw what backend and refiner saw.

        Args:
            frame: the image.
            detections: those of the result of `process`, whose refinement is then drawn as it was; or any others.
            names: which of the `debug_names`; all where absent.

        Returns:
            Pictures (H, W, 3) uint8 by name; without detections the undistorted image.
        """
        frame = prepared(frame)
        usable = self._usable(detections, frame)
        pictures = {name: frame.rgb.copy() for name in self.debug_names if names is None or name in names}
        backend, refiner = self._backend, self._refiner
        draws_backend = isinstance(backend, Explains) and backend.debug_name in pictures
        draws_refiner = isinstance(refiner, ExplainsRefinement) and refiner.debug_name in pictures
        seen, hypotheses, stages = self._refined
        if not usable or not (draws_backend or draws_refiner):
            return pictures
        again = seen is not detections
        if draws_backend or again:
            crops = crop_frame(frame, usable, backend.crop_size, backend.crop_padding, self.device)
            if again:
                hypotheses, stages = backend.estimate(frame, crops, usable), None
            if draws_backend:
                assert isinstance(backend, Explains)
                pictures[backend.debug_name] = backend.explain(frame, crops, usable)
        if draws_refiner:
            assert isinstance(refiner, ExplainsRefinement)
            pictures[refiner.debug_name] = refiner.explain(frame, hypotheses, stages)
        return pictures

    def _usable(self, detections: list[Detection], frame: Frame) -> list[Detection]:
        for item in detections:
            if not 0 <= item.object_index < len(self.bundle.catalog):
                raise ValueError(
                    f"detection of object {item.object_index}: expected an index below {len(self.bundle.catalog)}"
                )
        return [item for item in detections if _is_inside(item.box, frame.camera)]

    def _estimate(self, frame: Frame, detections: list[Detection], watch: _Stopwatch) -> list[PoseHypothesis]:
        with watch.stage("crops"):
            crops = crop_frame(frame, detections, self._backend.crop_size, self._backend.crop_padding, self.device)
        with watch.stage("pose"):
            hypotheses = self._backend.estimate(frame, crops, detections)
        self._refined = (detections, hypotheses, None)
        with watch.stage("refinement"):
            return self._refiner.refine(frame, detections, hypotheses) if hypotheses else []

    def _track(self, hypotheses: list[PoseHypothesis], detections: list[Detection], stamp_ns: int) -> list[ObjectPose]:
        if self._tracker is None:
            return untracked(self.bundle.catalog, hypotheses, detections)
        return self._tracker.update(hypotheses, detections, stamp_ns)


class _Stopwatch:
    """Measure stages; waits for the GPU, which otherwise works on after the call has returned."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stages = dict.fromkeys(STAGES, 0.0)
        self._start_s = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start_s = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._stages[name] += time.perf_counter() - start_s

    def finish(self) -> dict[str, float]:
        """Return seconds per stage and in total."""
        return {**self._stages, "total": time.perf_counter() - self._start_s}


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is the GPU where there is one.

    Raises:
        ValueError: if the name is none of auto, cpu, cuda, cuda:N, or this machine has no such GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if name != "cpu" and not (kind == "cuda" and (number.isdecimal() or name == kind)):
        raise ValueError(f"device = {name!r}: expected auto, cpu, cuda or cuda:N")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise ValueError(f"device = {name!r}: PyTorch sees {count} CUDA devices on this machine; use auto or cpu")
    return torch.device(name)


def prepared(frame: Frame) -> Frame:
    """Return the frame as the camera without distortion would have taken it, its pixels in writable memory.

    Images from messages are read-only, and mirrored views have negative strides; tensors can share neither.
    """
    image = frame.camera.undistort_image(frame.rgb)
    if not (image.flags.c_contiguous and image.flags.writeable):
        image = np.array(image, order="C")
    return Frame(image, frame.camera.undistorted(), frame.stamp_ns, frame.frame_id)


def _is_inside(box: np.ndarray, camera: Camera) -> bool:
    x0, y0, x1, y1 = (float(value) for value in box)
    if not np.isfinite([x0, y0, x1, y1]).all():
        return False
    visible = min(x1, camera.width - 0.5) - max(x0, -0.5), min(y1, camera.height - 0.5) - max(y0, -0.5)
    return min(visible) >= _LEAST_VISIBLE_PX
