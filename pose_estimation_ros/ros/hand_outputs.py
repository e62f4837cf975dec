"""The topics that the node `hands` publishes for every image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from pose_estimation_ros.ros.diagnostics import Problem
from pose_estimation_ros.ros.hand_messages import hand_detections, hand_markers, hand_transforms
from pose_estimation_ros.ros.marker_lifetime import MarkerLifetime
from pose_estimation_ros.ros.outputs import reliable
from pose_estimation_ros.ros.transform_sender import TransformSender

if TYPE_CHECKING:
    from rclpy.node import Node


class HandOutputs:
    """Publish the hands of image after image.

    Args:
        node: owner of the publishers.
        frame_prefix: put before the child frames on TF.
    """

    def __init__(self, node: Node, frame_prefix: str) -> None:
        self._node, self._prefix = node, frame_prefix
        self._tf = TransformSender(node)
        self._detections = node.create_publisher(Detection3DArray, "~/detections", reliable(10))
        self._markers = node.create_publisher(MarkerArray, "~/markers", reliable(10))
        self._marked: set[int] = set()
        self._lifetime = MarkerLifetime()
        self._last_header = Header()

    def publish(self, header: Header, hands: Mapping[int, Any], publish_tf: bool) -> Problem | None:
        """Publish hands by number, TF first; say why not when TF cannot take them."""
        problem = self._tf.send(header, hand_transforms(header, hands, self._prefix)) if publish_tf else None
        self._detections.publish(hand_detections(header, hands, self._prefix))
        gone = self._marked - hands.keys()
        self._markers.publish(hand_markers(header, hands, gone, self._lifetime.next_s()))
        self._marked, self._last_header = set(hands), header
        return problem

    @property
    def collision(self) -> str:
        """Which frame somebody else sends, too; empty when none."""
        return self._tf.collision

    def forget_stamps(self) -> None:
        """Allow stamps again that were sent before, after the clock went back."""
        self._tf.forget_stamps()

    def clear_markers(self) -> None:
        """Delete all markers that are shown."""
        if self._marked:
            self._markers.publish(hand_markers(self._last_header, {}, self._marked, 0.0))
        self._marked = set()

    def destroy(self) -> None:
        """Destroy the publishers."""
        self._tf.destroy()
        for publisher in (self._detections, self._markers):
            self._node.destroy_publisher(publisher)
