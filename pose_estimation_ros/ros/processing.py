"""What happens to one image between the mailbox and the topics; runs in the worker thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.rendering.drawing import draw_poses
from pose_estimation_ros.ros.camera_info import camera_from_info
from pose_estimation_ros.ros.clock_jumps import ClockJumps
from pose_estimation_ros.ros.detect_calls import DetectCalls
from pose_estimation_ros.ros.diagnostics import FrameTimes, Problem, Statistics
from pose_estimation_ros.ros.frame_names import child_frame
from pose_estimation_ros.ros.images import compressed_to_rgb, image_to_rgb
from pose_estimation_ros.ros.input_error import InputError
from pose_estimation_ros.ros.intake import Arrival
from pose_estimation_ros.ros.loading import LoadedPipeline
from pose_estimation_ros.ros.messages import stamp_to_ns
from pose_estimation_ros.ros.outputs import OVERLAY, Outputs, debug_topic


def frame_from_messages(arrival: Arrival, rectified: bool) -> Frame:
    """Read the image and its camera.

    Raises:
        ImageError: if the image cannot be read.
        CameraInfoError: if the camera_info cannot be used.
    """
    image = arrival.image
    rgb = image_to_rgb(image) if hasattr(image, "encoding") else compressed_to_rgb(image)
    height, width = rgb.shape[:2]
    camera = camera_from_info(arrival.info, width, height, rectified)
    return Frame(rgb, camera, stamp_to_ns(image.header.stamp), image.header.frame_id)


class FrameProcessor:
    """Take frames through the pipeline to the topics.

    Args:
        loaded: the pipeline.
        outputs: the topics.
        parameters: the node's parameters by name, read anew for every frame.
        statistics: told what became of every frame.
        complain: called with the problem when a frame or its transforms could not be used, with None when all is well.
        on_poses: called with the poses of every frame that is published.
        calls: of ~/detect, answered by what became of a frame.
    """

    def __init__(
        self,
        loaded: LoadedPipeline,
        outputs: Outputs,
        parameters: Mapping[str, Any],
        statistics: Statistics,
        complain: Callable[[Problem | None], None],
        on_poses: Callable[[Sequence[Any]], None],
        calls: DetectCalls,
    ) -> None:
        self._loaded = loaded
        self._pipeline, self._catalog = loaded.pipeline, loaded.catalog
        self._outputs = outputs
        self._parameters = parameters
        self._statistics = statistics
        self._complain = complain
        self._on_poses = on_poses
        self._calls = calls
        outputs.publish_labels(self._pipeline.lowest_score)
        self._jumps = ClockJumps()
        self._reset_wanted = threading.Event()
        self.between_frames = threading.Lock()  # a frame in work holds it
        self._publishing = threading.Lock()  # so that nothing follows the deletion of the markers
        self.is_enabled = True
        self.reason: str | None = None  # why the last frame has no poses
        self.pose_count = 0
        self.tracks: Sequence[Any] = ()  # states of all instances after the newest frame

    def request_reset(self) -> None:
        """Forget all tracks before the next frame."""
        self._reset_wanted.set()

    def set_enabled(self, enabled: bool) -> None:
        """Go on or pause; a pause deletes the markers and publishes nothing more."""
        with self._publishing:
            self.is_enabled = enabled
            if not enabled:
                self._outputs.clear_markers()

    def replace(self, loaded: LoadedPipeline) -> None:
        """Go on with another pipeline; whoever calls holds `between_frames`. Tracks of objects that both know go on."""
        loaded.pipeline.continue_tracks(self._pipeline)
        self._outputs.replace(loaded)
        self._loaded, self._pipeline, self._catalog = loaded, loaded.pipeline, loaded.catalog
        self._outputs.publish_labels(self._pipeline.lowest_score)

    def handle(self, arrival: Arrival, waited_s: float) -> None:
        """Process one image; one that cannot be used is counted and complained about."""
        with self.between_frames:
            try:
                self._process(arrival, waited_s)
            except Exception as error:
                self._forget_result()
                text = f"{type(error).__name__} while processing the image: {error}"
                self._calls.answer(arrival.received_s, False, text)
                raise

    def _process(self, arrival: Arrival, waited_s: float) -> None:
        try:
            frame = frame_from_messages(arrival, self._parameters["image_is_rectified"])
        except InputError as error:
            self._forget_result()
            self._statistics.refused()
            self._complain(Problem(error.kind, str(error)))
            self._calls.answer(arrival.received_s, False, f"the image is refused: {error}")
            return
        self._prepare(frame)
        if self._calls.wait_for(arrival.received_s):
            self._pipeline.detect_anew()
        result = self._pipeline.process(frame)
        header = arrival.image.header
        problem = None
        with self._publishing:
            if not self.is_enabled:
                self._statistics.ignored()
                return
            if self._parameters["publish_tf"]:
                problem = self._outputs.publish_tf(header, result.poses)
            latency_s = time.perf_counter() - arrival.received_s
            self._outputs.publish_poses(header, result)
        told = self._told(header, result) + ("" if problem is None else f"; {problem.text}")
        self._calls.answer(arrival.received_s, bool(result.poses), told)
        self._on_poses(result.poses)
        self._publish_drawings(header, frame, result)
        self.reason, self.pose_count, self.tracks = result.reason, len(result.poses), result.tracks
        self._statistics.processed(FrameTimes(latency_s, waited_s, dict(result.timings_s)))
        self._complain(problem)

    def _told(self, header: Any, result: Any) -> str:
        """Say what was found in an image, or why nothing."""
        when = f"in the image of {header.stamp.sec}.{header.stamp.nanosec:09d}"
        if not result.poses:
            return f"no objects {when}: {result.reason or 'no poses'}"
        frames = [child_frame(self._outputs.frame_prefix, pose.name, pose.track_id) for pose in result.poses]
        scored = [f"{frame} {pose.score:.2f}" for frame, pose in zip(frames, result.poses, strict=True)]
        return f"{len(scored)} objects {when}: {', '.join(scored)}"

    def _forget_result(self) -> None:
        """Note that the newest image gave nothing: what an older one showed counts no more."""
        self.reason, self.pose_count, self.tracks = None, 0, ()

    def _publish_drawings(self, header: Any, frame: Frame, result: Any) -> None:
        """Draw and publish what somebody subscribes to; drawing is slow, so a pause does not wait for it."""
        drawings = self._draw(frame, result, self._outputs.watched_images())
        with self._publishing:
            if self.is_enabled:
                self._outputs.publish_images(header, drawings)

    def _draw(self, frame: Frame, result: Any, topics: frozenset[str]) -> dict[str, np.ndarray]:
        """Draw overlay and debug images (H, W, 3) uint8, by topic."""
        drawings = {}
        if OVERLAY in topics:
            camera = frame.camera
            undistorted = camera.undistort_image(frame.rgb)
            drawings[OVERLAY] = draw_poses(undistorted, camera.undistorted(), result.poses, self._catalog)
        names = [name for name in self._loaded.debug_names if debug_topic(name) in topics]
        if names:
            drawn = self._loaded.draw_debug(result, names)
            drawings.update({debug_topic(name): image for name, image in drawn.items()})
        return drawings

    def _prepare(self, frame: Frame) -> None:
        """Apply what changed since the last frame: thresholds, objects, a reset, a clock that went back."""
        self._pipeline.score_threshold = self._parameters["detector.score_threshold"]
        self._pipeline.min_pose_score = self._parameters["pose.score_threshold"]
        self._outputs.publish_labels(self._pipeline.lowest_score)
        self._pipeline.objects = tuple(self._parameters["objects"])
        went_back = self._jumps.went_back(frame.stamp_ns)
        if went_back:
            self._outputs.forget_stamps()
        if went_back or self._reset_wanted.is_set():
            self._reset_wanted.clear()
            self._pipeline.reset_tracks()
