"""What the console says of images and poses: that they come for the first time, or that none come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType

from pose_estimation_ros.ros.inputs import Inputs

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.timer import Timer

PATIENCE_S = 5.0  # without an image, or without its camera_info
_PERIOD_S = 0.5


class Announcements:
    """Tell, once each time the node is activated, that images and poses come; warn, once each time, when they do not.

    Args:
        node: whose console it is.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._inputs: Inputs | None = None
        self._timer: Timer | None = None
        self._has_image = self._has_poses = self._has_warned = False
        self._well_s = 0.0  # when the last image came, or an image last had its camera_info

    def begin(self, inputs: Inputs) -> None:
        """Name the topics and begin to watch them."""
        self._inputs = inputs
        self._has_image = self._has_poses = self._has_warned = False
        self._well_s = time.monotonic()
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on when simulated time stands still
        self._timer = self._node.create_timer(_PERIOD_S, self._watch, clock=steady)
        self._node.get_logger().info(f"waiting for {inputs.image_topic} and {inputs.info_topic}")

    def end(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        self._inputs = self._timer = None

    def image(self, message: Any) -> None:
        """Note that an image, raw or compressed, has come."""
        if self._inputs is None or self._inputs.missing() is None:
            self._well_s, self._has_warned = time.monotonic(), False
        if self._has_image or self._inputs is None:
            return
        self._has_image = True
        size = (
            f"{message.width}x{message.height} {message.encoding}" if hasattr(message, "encoding") else message.format
        )
        self._node.get_logger().info(
            f"first image on {self._inputs.image_topic}: {size}, frame_id {message.header.frame_id!r}"
        )

    def poses(self, poses: Sequence[Any]) -> None:
        """Note what was found in an image."""
        if poses and not self._has_poses:
            self._has_poses = True
            self._node.get_logger().info(f"first poses: {', '.join(pose.name for pose in poses)}")

    def _watch(self) -> None:
        if self._inputs is None or self._has_warned or time.monotonic() - self._well_s < PATIENCE_S:
            return
        self._has_warned = True
        self._node.get_logger().warning(absence(self._node, self._inputs, f"for {PATIENCE_S:g} s"))


def absence(node: Node, inputs: Inputs, duration: str) -> str:
    """Say what has not come, for how long, who could send it, and where nobody does, which topic may be meant."""
    missing = inputs.missing()
    topic = inputs.image_topic if missing is None else inputs.info_topic
    problem = f"no image on {topic}" if missing is None else missing
    publishers = node.count_publishers(topic)
    others = "" if publishers else _others_of_type(node, topic)
    return f"{problem} {duration} ({publishers} publishers){others}"


def _others_of_type(node: Node, topic: str) -> str:
    """List topics with the same messages, one of which may be meant."""
    graph = dict(node.get_topic_names_and_types())
    own = node.get_fully_qualified_name() + "/"
    kinds = set(graph.get(topic, []))
    found = [
        name
        for name, types in sorted(graph.items())
        if kinds & set(types) and not name.startswith(own) and node.count_publishers(name)
    ]
    return f"; topics with such messages: {', '.join(found)}" if found else ""
