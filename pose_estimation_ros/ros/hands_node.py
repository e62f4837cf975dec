"""The lifecycle node `hands`: a depth image comes in, the joints of the hands in it go out on TF."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile

from pose_estimation_ros.data.nyu_hand import PALM
from pose_estimation_ros.ros.camera_info import camera_from_info
from pose_estimation_ros.ros.clock_jumps import ClockJumps
from pose_estimation_ros.ros.depth_images import image_to_depth
from pose_estimation_ros.ros.diagnostics import FrameTimes, Problem, diagnostic_array
from pose_estimation_ros.ros.frame_names import frame_prefix
from pose_estimation_ros.ros.hand_outputs import HandOutputs
from pose_estimation_ros.ros.hand_parameters import declare_hand_parameters, hand_node_settings, load_finder
from pose_estimation_ros.ros.health import Situation, judge
from pose_estimation_ros.ros.image_node import ImageNode
from pose_estimation_ros.ros.input_error import InputError
from pose_estimation_ros.ros.inputs import Inputs
from pose_estimation_ros.ros.intake import Arrival
from pose_estimation_ros.ros.messages import stamp_to_ns
from pose_estimation_ros.ros.node_process import run_node
from pose_estimation_ros.ros.worker import Worker
from pose_estimation_ros.tracking.hand_numbers import HandNumbers

FinderFactory = Callable[[Mapping[str, Any]], Any]
_STAGES = ("search", "joints", "total")  # the finder's own, and all of it


class HandsNode(ImageNode):
    """Wire topics, parameters and lifecycle to what finds hands.

    Args:
        finder_factory: builds it, when the node is configured, from the parameters that somebody set.
        node_arguments: passed on to rclpy's node.

    Raises:
        ValueError: if a parameter set from outside is bad.
    """

    def __init__(self, finder_factory: FinderFactory = load_finder, **node_arguments: Any) -> None:
        super().__init__("hands", _STAGES, **node_arguments)
        self._finder_factory = finder_factory
        self._given = declare_hand_parameters(self)
        self._settings = hand_node_settings(self._given)
        self._finder: Any = None
        self._outputs: HandOutputs | None = None
        self._numbers = HandNumbers()
        self._jumps = ClockJumps()
        self._hand_count = 0
        self._reason: str | None = None  # why the newest image has no hands
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", QoSProfile(depth=10))
        self._start_timers(self._settings.diagnostics_period_s, self._settings.autostart)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the bundle; on failure the node stays unconfigured and says why."""
        self._problems.forget()
        try:
            self._finder = self._finder_factory(self._given)
            self._outputs = HandOutputs(self, frame_prefix(self._settings.frame_prefix, self.get_namespace()))
        except Exception as error:
            return self._not_configured(error)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe."""
        self._worker = Worker(self._handle, self._on_image_error)
        self._worker.start()
        self._inputs = Inputs(self, "raw", self._accept, self._worker.put)
        self._inputs.open()
        self._announcements.begin(self._inputs)
        return super().on_activate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the network."""
        self.release()
        return super().on_cleanup(state)

    def release(self) -> None:
        """Stop the worker and free the network, in any state."""
        self._stop()
        if self._outputs is not None:
            self._outputs.destroy()
        self._finder = self._outputs = None
        self._collect_garbage()

    def _stop(self) -> None:
        self._stop_images()
        self._forget_result()
        self._complain(None)  # what was wrong with an image is past
        if self._outputs is not None and self.context.ok():
            self._outputs.clear_markers()

    # What happens to images

    def _accept(self, message: Any) -> bool:
        self._statistics.received()
        self._announcements.image(message)
        return True

    def _handle(self, arrival: Arrival, waited_s: float) -> None:
        """Process one image in the worker's thread; one that cannot be used is counted and complained about."""
        assert self._outputs is not None
        image = arrival.image
        try:
            depth = image_to_depth(image, self._settings.depth_unit_m)
            height, width = depth.shape
            camera = camera_from_info(arrival.info, width, height, self._settings.image_is_rectified)
        except InputError as error:
            self._forget_result()
            self._statistics.refused()
            self._complain(Problem(error.kind, str(error)))
            return
        stamp_ns = stamp_to_ns(image.header.stamp)
        if self._jumps.went_back(stamp_ns):
            self._outputs.forget_stamps()
        found_s = time.perf_counter()
        try:
            result = self._finder.find(depth, camera)
        except Exception:
            self._forget_result()
            raise
        stages = {**result.timings_s, "total": time.perf_counter() - found_s}
        numbers = self._numbers.assign([hand.joints[PALM] for hand in result.hands], stamp_ns)
        hands = dict(zip(numbers, result.hands, strict=True))
        problem = self._outputs.publish(image.header, hands, self._settings.publish_tf)
        self._hand_count, self._reason = len(hands), result.reason
        self._statistics.processed(FrameTimes(time.perf_counter() - arrival.received_s, waited_s, stages))
        self._complain(problem)

    def _forget_result(self) -> None:
        """Note that the newest image gave nothing: what an older one showed counts no more."""
        self._hand_count, self._reason = 0, None

    # Diagnostics

    def publish_diagnostics(self) -> None:
        """Publish one status on /diagnostics."""
        situation = self._situation()
        level, message = judge(situation)
        values = {
            "state": self.state,
            **self._statistics.values(),
            "frames_dropped": str(self.frames_dropped),
            "hands": str(situation.objects),
            "reason": situation.reason or "",
            "bundle": self._settings.bundle,
        }
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostic_array(stamp, self.get_fully_qualified_name(), level, message, values))

    def _situation(self) -> Situation:
        collision = "" if self._outputs is None else self._outputs.collision
        warnings = (collision,) if collision else ()
        if self._inputs is None:
            return Situation(self.state, self._problems.current, warnings=warnings)
        return Situation(
            self.state,
            self._problems.current,
            image_topic=self._inputs.image_topic,
            publishers=self.count_publishers(self._inputs.image_topic),
            silent_s=self._statistics.seconds_since_image(),
            missing=self._inputs.missing(),
            pose_count=self._hand_count,
            reason=self._reason,
            warnings=warnings,
        )


def main(argv: list[str] | None = None) -> int:
    """Run the node until it is interrupted; return the exit code."""
    return run_node(sys.argv if argv is None else argv, "hands_node", __doc__, HandsNode)
