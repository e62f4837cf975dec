"""Transforms to /tf, once per stamp and with a parent."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from std_msgs.msg import Header

from pose_estimation_ros.ros.diagnostics import Problem
from pose_estimation_ros.ros.ecosystem import transform_broadcaster
from pose_estimation_ros.ros.frame_collisions import FrameCollisions
from pose_estimation_ros.ros.messages import stamp_to_ns

if TYPE_CHECKING:
    from geometry_msgs.msg import TransformStamped
    from rclpy.node import Node


class TransformSender:
    """Send transforms; say why not when TF cannot take them: it refuses an empty parent, and warns of a known stamp.

    Args:
        node: owner of the publisher.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tf = transform_broadcaster(node)
        self._collisions = FrameCollisions(node)
        self._sent_stamps_ns: deque[int] = deque(maxlen=1000)

    def send(self, header: Header, transforms: list[TransformStamped]) -> Problem | None:
        """Send the transforms of one image, whose header they have."""
        if not transforms:
            return None
        if not header.frame_id:
            text = "image: frame_id is empty: TF needs the name of the camera's frame; no transforms are sent"
            return Problem("tf frame_id", text)
        stamp_ns = stamp_to_ns(header.stamp)
        if stamp_ns in self._sent_stamps_ns:
            text = f"image: stamp {stamp_ns / 1e9:.6f} came before: transforms are sent once per stamp"
            return Problem("tf stamp", text)
        self._sent_stamps_ns.append(stamp_ns)
        self._collisions.sent(transforms)
        self._tf.sendTransform(transforms)
        return None

    @property
    def collision(self) -> str:
        """Which frame somebody else sends, too; empty when none."""
        return self._collisions.problem

    def forget_stamps(self) -> None:
        """Allow stamps again that were sent before, after the clock went back."""
        self._sent_stamps_ns.clear()

    def destroy(self) -> None:
        """Destroy the publisher, and what listens to /tf."""
        self._collisions.destroy()
        self._node.destroy_publisher(self._tf.pub_tf)
