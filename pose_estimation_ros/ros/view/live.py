"""The page of a node that runs: its topics over DDS, and its services behind the buttons."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import SetBool, Trigger
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from pose_estimation_ros.ros.view.content import NodeStatus
from pose_estimation_ros.ros.view.panel import THRESHOLDS, Answer
from pose_estimation_ros.ros.view.viewer import Viewer

_STALE = int.from_bytes(DiagnosticStatus.STALE, "little")
_IMAGES = frozenset({"image", "compressed"})
_IMAGE_PERIOD_S = 0.1  # a page needs no more images


class ViewNode(Node):
    """Hand messages of a pose node to a page, and what its buttons want to the node.

    Args:
        viewer: the page.
        pose_node: name of the pose node, relative to the namespace of this one.
        node_arguments: passed on to rclpy's node.
    """

    def __init__(self, viewer: Viewer, pose_node: str, **node_arguments: Any) -> None:
        super().__init__("pose_view", **node_arguments)
        self._viewer = viewer
        self._pose_node = self.resolve_topic_name(pose_node)
        self._was_there = False
        viewer.node = self._pose_node
        self._next_image_s = 0.0
        topics: dict[str, tuple[str, type]] = {
            "image": ("image", Image),
            "compressed": ("image/compressed", CompressedImage),
            "camera_info": ("camera_info", CameraInfo),
            "detections": (f"{pose_node}/detections", Detection3DArray),
            "markers": (f"{pose_node}/markers", MarkerArray),
            "tf": ("/tf", TFMessage),
            "diagnostics": ("/diagnostics", DiagnosticArray),
        }
        # A best-effort subscription hears cameras of either kind.
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        for kind, (topic, message_type) in topics.items():
            self.create_subscription(message_type, topic, partial(self._on_message, kind), qos)
        self._enable = self.create_client(SetBool, f"{pose_node}/enable")
        self._reset = self.create_client(Trigger, f"{pose_node}/reset_tracks")
        self._detect = self.create_client(Trigger, f"{pose_node}/detect")
        self._client_of_parameters = AsyncParameterClient(self, pose_node)
        viewer.panel.add_controls(self)
        self.create_timer(0.5, self._look_for_the_node)

    def follow_planning_scene(self, topic: str) -> None:
        """Hand on what a planner is told; the bridge says everything again to who begins to listen.

        Raises:
            ModuleNotFoundError: if moveit_msgs is not installed.
        """
        from moveit_msgs.msg import PlanningScene

        self.create_subscription(
            PlanningScene, topic, partial(self._on_message, "planning_scene"), QoSProfile(depth=100)
        )

    def _on_message(self, kind: str, message: Any) -> None:
        if kind in _IMAGES:
            now_s = time.monotonic()
            if now_s < self._next_image_s:
                return
            self._next_image_s = now_s + _IMAGE_PERIOD_S
        self._viewer.take(kind, message)

    def _look_for_the_node(self) -> None:
        """Say when the node is not there; ask for the values of the sliders when it comes, or comes again."""
        is_there = self._client_of_parameters.services_are_ready()
        if not is_there:
            self._viewer.panel.show_status(NodeStatus(_STALE, f"{self._pose_node} is not there", {}))
        elif not self._was_there:
            self._client_of_parameters.get_parameters(list(THRESHOLDS), callback=self._on_thresholds)
        self._was_there = is_there

    def _on_thresholds(self, future: Any) -> None:
        for name, value in zip(THRESHOLDS, future.result().values, strict=True):
            self._viewer.panel.show_parameter(name, value.double_value)

    def set_enabled(self, enabled: bool, answer: Answer) -> None:
        """Call `~/enable`."""
        self._call(self._enable, SetBool.Request(data=enabled), answer)

    def reset_tracks(self, answer: Answer) -> None:
        """Call `~/reset_tracks`."""
        self._call(self._reset, Trigger.Request(), answer)

    def detect(self, answer: Answer) -> None:
        """Call `~/detect`."""
        self._call(self._detect, Trigger.Request(), answer)

    def set_parameter(self, name: str, value: float, answer: Answer) -> None:
        """Set a parameter of the pose node."""
        if not self._client_of_parameters.services_are_ready():
            answer(f"{self._pose_node} is not there")
            return
        text = f"{name} = {value:g}"

        def done(future: Any) -> None:
            (result,) = future.result().results
            answer(text if result.successful else f"{text} is refused: {result.reason}")

        self._client_of_parameters.set_parameters([Parameter(name, value=value)], callback=done)

    def _call(self, client: Any, request: Any, answer: Answer) -> None:
        if not client.service_is_ready():
            answer(f"{client.srv_name} is not there")
            return
        answer(f"{client.srv_name} ...")
        client.call_async(request).add_done_callback(lambda future: answer(future.result().message or "done"))
