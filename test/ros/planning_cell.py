"""A bridge to MoveIt between a pose node and a MoveIt that a test plays. Needs moveit_msgs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray, LabelInfo

from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.ros.diagnostics import diagnostic_array
from pose_estimation_ros.ros.messages import detections_3d
from pose_estimation_ros.ros.outputs import LATCHED, reliable
from pose_estimation_ros.ros.planning_scene import node as bridge
from pose_estimation_ros.ros.status import track_values

from .camera_messages import header
from .conftest import WAIT_S

NAMES = {b"\x00": "add", b"\x01": "remove", b"\x03": "move"}


class Cell:
    """A bridge, a pose node whose words are the test's, and a MoveIt that keeps what it hears."""

    def __init__(self, context: Any, catalog: Catalog, latched: bool, **parameters: Any) -> None:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.catalog = catalog
        self.bridge = bridge.PlanningSceneNode(context=context, parameter_overrides=overrides)
        self.pose_node = Node("pose_estimation", context=context)
        self.heard: list[tuple[str, str]] = []  # operation and id
        self.objects: list[Any] = []
        self.statuses: list[DiagnosticStatus] = []
        of_results = LATCHED if latched else reliable(10)
        self.detections = self.pose_node.create_publisher(Detection3DArray, "~/detections", of_results)
        self.labels = self.pose_node.create_publisher(LabelInfo, "~/labels", LATCHED)
        self.diagnostics = self.pose_node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.tf = self.pose_node.create_publisher(TFMessage, "/tf", 50)
        self.monitored = self.pose_node.create_publisher(bridge.PlanningScene, "monitored_planning_scene", 10)
        self.pose_node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.move_group = Node("move_group", context=context)
        self.listen()
        self._executor = SingleThreadedExecutor(context=context)
        for item in (self.bridge, self.pose_node, self.move_group):
            self._executor.add_node(item)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self.wait(lambda: self.detections.get_subscription_count() and self.labels.get_subscription_count(), "bridge")
        self.wait(lambda: self.bridge.count_subscribers("/planning_scene"), "MoveIt")
        time.sleep(0.3)  # discovery is known to one side before the other

    def _spin(self) -> None:
        while not self._is_over.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def listen(self) -> None:
        self.move_group.create_subscription(bridge.PlanningScene, "planning_scene", self._on_scene, 100)

    def _on_scene(self, message: Any) -> None:
        assert message.is_diff and message.robot_state.is_diff
        self.objects += message.world.collision_objects
        self.heard += [(NAMES[bytes(item.operation)], item.id) for item in message.world.collision_objects]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.statuses += [item for item in message.status if item.name == "/planning_scene"]

    def see(self, *poses: Any, second: int = 1, frame_id: str = "camera") -> None:
        self.detections.publish(detections_3d(header(second, frame_id), poses, self.catalog, ""))

    def say_tracks(self, *names: str, level: int = 0) -> None:
        """Say as a pose node does that instance 0 of each of these objects is known, and no other."""
        rest = {"track_id": 0, "state": "unseen", "age_s": 9.0, "unseen_s": 0.5, "frames": 80, "alternatives": 0}
        values = track_values([SimpleNamespace(name=name, **rest) for name in names], "")
        node = self.pose_node.get_fully_qualified_name()
        self.diagnostics.publish(diagnostic_array(header(1).stamp, node, level, "", values))

    def value(self, key: str) -> str:
        values = self.statuses[-1].values if self.statuses else []
        return next((item.value for item in values if item.key == key), "")

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        end_s = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end_s, f"waited in vain for {what}; heard {self.heard}"
            time.sleep(0.01)

    def wait_for(self, *heard: tuple[str, str]) -> None:
        """Wait until MoveIt has heard this and nothing else since the last time."""
        self.wait(lambda: len(self.heard) >= len(heard), str(heard))
        assert self.heard == list(heard)
        self.heard.clear()

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(WAIT_S)
        self._executor.shutdown()
        for item in (self.bridge, self.pose_node, self.move_group):
            item.destroy_node()
