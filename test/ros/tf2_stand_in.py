"""What the planner's example needs of tf2_ros, for machines without it: look-ups at the very stamps that were sent."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from tf2_msgs.msg import TFMessage

from pose_estimation_ros.ros.messages import stamp_to_ns

ALWAYS = None  # stamp of a static transform


class TransformException(Exception):
    """A look-up has no answer."""


class Buffer:
    """Keep transforms by child, parent and stamp."""

    def __init__(self) -> None:
        self.parents: dict[str, str] = {}
        self.transforms: dict[tuple[str, int | None], np.ndarray] = {}

    def lookup_transform(self, target: str, source: str, time: Time) -> TransformStamped:
        """Return target_from_source; the target is above the source in the tree."""
        matrix, frame = np.eye(4), source
        while frame != target:
            if frame not in self.parents:
                raise TransformException(f"{target} and {source} are not connected")
            step = self.transforms.get((frame, time.nanoseconds), self.transforms.get((frame, ALWAYS)))
            if step is None:
                raise TransformException(f"extrapolation: {frame} has no transform at {time.nanoseconds}")
            matrix, frame = step @ matrix, self.parents[frame]
        return _message(target, source, time, matrix)


class TransformListener:
    """Fill a buffer from /tf and /tf_static."""

    def __init__(self, buffer: Buffer, node: Node) -> None:
        self._buffer, self._node = buffer, node
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", lambda message: self._on(message, False), 100),
            node.create_subscription(TFMessage, "/tf_static", lambda message: self._on(message, True), latched),
        ]

    def unregister(self) -> None:
        """Listen no longer."""
        for item in self._subscriptions:
            self._node.destroy_subscription(item)

    def _on(self, message: Any, is_static: bool) -> None:
        for item in message.transforms:
            place, turn = item.transform.translation, item.transform.rotation
            matrix = np.eye(4)
            matrix[:3, :3] = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix()
            matrix[:3, 3] = place.x, place.y, place.z
            self._buffer.parents[item.child_frame_id] = item.header.frame_id
            stamp = ALWAYS if is_static else stamp_to_ns(item.header.stamp)
            self._buffer.transforms[item.child_frame_id, stamp] = matrix


def _message(target: str, source: str, time: Time, matrix: np.ndarray) -> TransformStamped:
    message = TransformStamped(child_frame_id=source)
    message.header.frame_id, message.header.stamp = target, time.to_msg()
    place, turn = message.transform.translation, message.transform.rotation
    place.x, place.y, place.z = (float(value) for value in matrix[:3, 3])
    turn.x, turn.y, turn.z, turn.w = (float(value) for value in Rotation.from_matrix(matrix[:3, :3]).as_quat())
    return message
