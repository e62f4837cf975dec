"""The topics that the node takes images from."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rclpy.clock import Clock, ClockType
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pose_estimation_ros.ros.intake import WAIT_S, Arrival, Intake
from pose_estimation_ros.ros.messages import stamp_to_ns

if TYPE_CHECKING:
    from rclpy.node import Node

_NEWEST = {"history": HistoryPolicy.KEEP_LAST, "durability": DurabilityPolicy.VOLATILE}
IMAGE_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, **_NEWEST)
INFO_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT, **_NEWEST)


class Inputs:
    """Subscribe to image and camera_info, and pass on every image with its camera_info.

    Args:
        node: owner of the subscriptions.
        image_transport: raw or compressed.
        accept: called with every image that arrives; tells whether it is wanted.
        deliver: called with every complete pair.
    """

    def __init__(
        self,
        node: Node,
        image_transport: str,
        accept: Callable[[Image | CompressedImage], bool],
        deliver: Callable[[Arrival], None],
    ) -> None:
        self._node = node
        self._accept = accept
        self._intake = Intake(deliver)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on when simulated time stands still
        self._hold_timer = node.create_timer(WAIT_S, self._on_hold_timeout, clock=steady, autostart=False)
        # camera_info first: the executor looks at subscriptions in the order of their creation.
        self._info = node.create_subscription(CameraInfo, "camera_info", self._on_info, INFO_QOS)
        if image_transport == "compressed":
            self._image = node.create_subscription(CompressedImage, "image/compressed", self._on_image, IMAGE_QOS)
        else:
            self._image = node.create_subscription(Image, "image", self._on_image, IMAGE_QOS)

    @property
    def image_topic(self) -> str:
        """Full name of the topic of the images."""
        return self._image.topic_name

    @property
    def info_topic(self) -> str:
        """Full name of the topic of camera_info."""
        return self._info.topic_name

    @property
    def dropped(self) -> int:
        """Images that never got a camera_info."""
        return self._intake.dropped

    def missing(self) -> str | None:
        """Say why an image waits for its camera_info, None when none does."""
        reason = self._intake.missing()
        return f"{reason} on {self.info_topic}" if reason else None

    def destroy(self) -> None:
        """Drop the subscriptions."""
        for subscription in (self._info, self._image):
            self._node.destroy_subscription(subscription)
        self._node.destroy_timer(self._hold_timer)
        self._intake.give_up()

    def _on_image(self, message: Image | CompressedImage) -> None:
        received_s = time.perf_counter()
        if not self._accept(message):
            return
        self._intake.image(stamp_to_ns(message.header.stamp), message, received_s)
        if self._intake.is_holding:
            self._hold_timer.reset()

    def _on_info(self, message: CameraInfo) -> None:
        self._intake.info(stamp_to_ns(message.header.stamp), message)

    def _on_hold_timeout(self) -> None:
        self._hold_timer.cancel()
        self._intake.timeout()
