"""What the node says of itself on /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile

from pose_estimation_ros.node_settings import ON_DEMAND
from pose_estimation_ros.ros.diagnostics import Problems, Statistics, diagnostic_array
from pose_estimation_ros.ros.frame_names import child_frame
from pose_estimation_ros.ros.health import Situation, judge
from pose_estimation_ros.ros.inputs import Inputs
from pose_estimation_ros.ros.outputs import Outputs
from pose_estimation_ros.ros.processing import FrameProcessor
from pose_estimation_ros.ros.reloading import Reloader

if TYPE_CHECKING:
    from rclpy.node import Node

_SHOWN = ("bundle", "backend", "refiner", "device")  # parameters that stand in every message


class StatusPublisher:
    """Publish one status on /diagnostics at a time.

    Args:
        node: of whom it is.
        parameters: the node's parameters by name.
        statistics: counts and times.
        problems: what is wrong with the newest image, or why the node is not configured.
        reloader: whose failure is told until a reload succeeds.
    """

    def __init__(
        self,
        node: Node,
        parameters: Mapping[str, Any],
        statistics: Statistics,
        problems: Problems,
        reloader: Reloader,
    ) -> None:
        self._node, self._parameters = node, parameters
        self._statistics, self._problems, self._reloader = statistics, problems, reloader
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", QoSProfile(depth=10))

    def publish(
        self,
        state: str,
        processor: FrameProcessor | None,
        inputs: Inputs | None,
        outputs: Outputs | None,
        frames_dropped: int,
    ) -> None:
        """Publish how the node is: its lifecycle state, and those of its parts that there are."""
        situation = self._situation(state, processor, inputs, outputs)
        level, message = judge(situation)
        values = {
            "state": state,
            **self._statistics.values(),
            "frames_dropped": str(frames_dropped),
            "objects": str(situation.objects),
            "reload": "loading" if self._reloader.is_loading else self._reloader.failure,
            "reason": situation.reason or "",
            **{key: str(self._parameters[key]) for key in _SHOWN},
        }
        if processor is not None and outputs is not None and not situation.is_silent:
            values.update(track_values(processor.tracks, outputs.frame_prefix))
        stamp = self._node.get_clock().now().to_msg()
        name = self._node.get_fully_qualified_name()
        self._publisher.publish(diagnostic_array(stamp, name, level, message, values))

    def _situation(
        self, state: str, processor: FrameProcessor | None, inputs: Inputs | None, outputs: Outputs | None
    ) -> Situation:
        collision = "" if outputs is None else outputs.collision
        warnings = tuple(text for text in (self._reloader.failure, collision) if text)
        if processor is None or inputs is None:
            return Situation(state, self._problems.current, warnings=warnings)
        return Situation(
            state,
            self._problems.current,
            processor.is_enabled,
            inputs.image_topic,
            self._node.count_publishers(inputs.image_topic),
            self._statistics.seconds_since_image(),
            inputs.missing(),
            processor.pose_count,
            processor.reason,
            on_demand=self._parameters["processing"] == ON_DEMAND,
            warnings=warnings,
        )


def track_values(tracks: Sequence[Any], prefix: str) -> dict[str, str]:
    """Say of every known instance, by its frame on TF, whether and since when it is seen."""
    values = {}
    for item in tracks:
        key = f"track {child_frame(prefix, item.name, item.track_id)}"
        values[f"{key} state"] = item.state
        values[f"{key} age_s"] = f"{item.age_s:.1f}"
        values[f"{key} unseen_s"] = f"{item.unseen_s:.1f}"
        values[f"{key} frames"] = str(item.frames)
        values[f"{key} alternatives"] = str(item.alternatives)
    return values
