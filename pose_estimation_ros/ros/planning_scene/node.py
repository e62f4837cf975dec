"""The node `planning_scene`: what a pose node sees becomes the objects of MoveIt's planning scene."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from moveit_msgs.msg import PlanningScene
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile
from vision_msgs.msg import Detection3DArray, LabelInfo

from pose_estimation_ros.node_settings import ON_DEMAND
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.ros.diagnostics import ERROR, Problem, Problems, diagnostic_array
from pose_estimation_ros.ros.fixed_parameters import declare_fixed, given_parameters
from pose_estimation_ros.ros.outputs import LATCHED, reliable
from pose_estimation_ros.ros.parameters import ORIGIN
from pose_estimation_ros.ros.planning_scene.messages import held_objects, scene_message
from pose_estimation_ros.ros.planning_scene.placing import CameraPlaces
from pose_estimation_ros.ros.planning_scene.reading import DetectedObject, detected_objects
from pose_estimation_ros.ros.planning_scene.scene import Change, PlacedObject, SceneObjects, worst_std
from pose_estimation_ros.ros.planning_scene.settings import PlanningSceneSettings
from pose_estimation_ros.ros.planning_scene.shapes import CollisionShape, collision_shapes
from pose_estimation_ros.ros.planning_scene.status import SceneSituation, judge_scene
from pose_estimation_ros.ros.view.content import status_of
from pose_estimation_ros.settings import Layer, list_settings, resolve, values_of

TF_PATIENCE_S = 0.5  # the robot's own transforms may come a little after the detections
SETTLE_S = 1.0  # after this a subscriber that is known here knows this publisher too
_PERIOD_S = 0.05  # between two looks for what has come meanwhile
_UNUSED = ("refused_covariance", "refused_unknown", "refused_invalid", "without_transform", "skipped", "reload_failed")
_PAST = {"add": "added", "move": "moved", "remove": "removed"}


class PlanningSceneNode(Node):
    """Wire detections, tracks and labels of a pose node to a planning scene.

    Args:
        node_arguments: passed on to rclpy's node.

    Raises:
        ValueError: if a parameter set from outside is bad, or the bundle or a mesh cannot be used.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("planning_scene", **node_arguments)
        self._settings = _declare(self)
        self._shapes = self._load_shapes()
        self._objects = SceneObjects(self._settings.tolerance_m, self._settings.tolerance_deg)
        self._places = CameraPlaces(self, self._settings.planning_frame)
        self._problems, self._counts = Problems(), Counter[str]()
        self._pending: Detection3DArray | None = None  # until its transform has come, too
        self._heard_s: float | None = None  # when detections came last
        self._pending_s = 0.0  # since when they wait
        self._seen: frozenset[str] = frozenset()  # ids in the newest detections
        self._has_labels = False
        self._again_s: float | None = None  # when everything is to be said again, to somebody new
        self._wire()

    def _wire(self) -> None:
        events = PublisherEventCallbacks(matched=self._on_matched)
        self._scene = self.create_publisher(PlanningScene, "planning_scene", reliable(100), event_callbacks=events)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", QoSProfile(depth=10))
        self._pose_node = self.resolve_topic_name(self._settings.pose_node)
        latched = self._settings.processing == ON_DEMAND
        self._detections = self.create_subscription(
            Detection3DArray, f"{self._pose_node}/detections", self._on_detections, LATCHED if latched else reliable(10)
        )
        self.create_subscription(LabelInfo, f"{self._pose_node}/labels", self._on_labels, LATCHED)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=10))
        self.create_subscription(PlanningScene, "monitored_planning_scene", self._on_monitored_scene, reliable(100))
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on when simulated time stands still
        self.create_timer(_PERIOD_S, self._look, clock=steady)
        self.create_timer(self._settings.diagnostics_period_s, self.publish_diagnostics, clock=steady)
        self.get_logger().info(f"from {self._detections.topic_name} to {self._scene.topic_name}")

    def release(self) -> None:
        """Take all objects out of the scene."""
        if self.context.ok():
            self._publish(self.get_clock().now().to_msg(), self._objects.keep(()))
            self._scene.wait_for_all_acked(Duration(seconds=1))

    # What the pose node says

    def _on_detections(self, message: Detection3DArray) -> None:
        self._heard_s = time.monotonic()
        if self._pending is None:
            self._pending, self._pending_s = message, self._heard_s
            self._work()
        else:
            self._counts["skipped"] += 1

    def _work(self) -> None:
        """Use the detections that wait, once it is known where the camera was."""
        message = self._pending
        if message is None:
            return
        place = self._places.find(message.header)
        if place is None:
            if time.monotonic() - self._pending_s > TF_PATIENCE_S:
                self._pending = None
                self._refuse("without_transform", Problem("transform", self._places.reason))
            return
        self._pending = None
        self._problems.clear()
        try:
            detected = detected_objects(message)
        except ValueError as error:
            self._refuse("refused_invalid", Problem("invalid", f"{self._detections.topic_name}: {error}"))
            return
        self._seen = frozenset(item.id for item in detected)
        frame, frame_from_camera = place
        placed = [
            PlacedObject(item.id, item.name, frame, frame_from_camera @ item.camera_from_object)
            for item in detected
            if self._is_usable(item)
        ]
        self._publish(message.header.stamp, self._objects.see(placed))

    def _is_usable(self, item: DetectedObject) -> bool:
        if item.name not in self._shapes:
            bundle = self._settings.bundle
            text = f"{item.name}: not in bundle {bundle!r}; expected the pose node's bundle as parameter bundle"
            self._refuse("refused_unknown", Problem(f"unknown {item.name}", text))
            return False
        if item.covariance is None:
            return True
        position_m, rotation_deg = worst_std(item.covariance)
        limits = self._settings.max_position_std_m, self._settings.max_rotation_std_deg
        if position_m <= limits[0] and rotation_deg <= limits[1]:
            return True
        text = (
            f"{item.id}: standard deviation {1000.0 * position_m:.0f} mm and {rotation_deg:.0f} degrees; expected at "
            f"most {1000.0 * limits[0]:g} mm and {limits[1]:g}"
        )
        self._refuse("refused_covariance", Problem("covariance", text))
        return False

    def _refuse(self, count: str, problem: Problem) -> None:
        """Count what was not used; what is new goes to the console, too."""
        self._counts[count] += 1
        if self._problems.report(problem):
            self.get_logger().warning(problem.text)

    def _on_labels(self, message: LabelInfo) -> None:
        """Load the bundle again when the pose node has done so."""
        if not self._has_labels:
            self._has_labels = True
            return
        try:
            self._shapes = {**self._shapes, **self._load_shapes()}
        except (ValueError, OSError) as error:
            self._refuse("reload_failed", Problem("reload", f"the shapes of before stay: {error}"))
            return
        self._say_again()

    def _load_shapes(self) -> dict[str, CollisionShape]:
        own = self._settings
        mesh_dir = Path(own.mesh_dir).expanduser() if own.mesh_dir else None
        return collision_shapes(load_bundle(own.bundle), mesh_dir, own.mesh_triangles)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Remove what the pose node has given up; one that has just refused an image says nothing of its tracks."""
        status = status_of(message, self._pose_node)
        if status is not None and status.level < ERROR:
            gone = self._objects.keep(self._seen | status.tracks)
            self._publish(self.get_clock().now().to_msg(), gone)

    # What MoveIt says

    def _on_monitored_scene(self, message: PlanningScene) -> None:
        self._objects.held = held_objects(self._objects.held, message)

    def _on_matched(self, info: Any) -> None:
        """Note that somebody new listens, who has heard nothing of what is in the scene."""
        if info.current_count_change > 0:
            self._again_s = time.monotonic() + SETTLE_S

    # What time says

    def _look(self) -> None:
        self._work()
        now_s = time.monotonic()
        if self._again_s is not None and now_s > self._again_s:
            self._again_s = None
            self._say_again()
        if self._is_silent():
            self._remove_all()

    def _remove_all(self) -> None:
        self._seen = frozenset()
        gone = self._objects.keep(())
        if gone:
            topic, limit_s = self._detections.topic_name, self._settings.silence_s
            self.get_logger().warning(f"nothing on {topic} for {limit_s:g} s: {len(gone)} objects are removed")
            self._publish(self.get_clock().now().to_msg(), gone)

    def _is_silent(self) -> bool:
        limit_s = self._settings.silence_s
        if self._settings.processing == ON_DEMAND or not limit_s:
            return False
        return self._heard_s is None or time.monotonic() - self._heard_s > limit_s

    # What goes out

    def _say_again(self) -> None:
        self._publish(self.get_clock().now().to_msg(), self._objects.again())

    def _publish(self, stamp: Any, changes: list[Change]) -> None:
        if changes:
            self._counts.update(_PAST[change.operation.value] for change in changes)
            self._scene.publish(scene_message(stamp, changes, self._shapes))

    def publish_diagnostics(self) -> None:
        """Publish one status on /diagnostics."""
        silent_s = None if self._heard_s is None else time.monotonic() - self._heard_s
        situation = SceneSituation(
            len(self._objects.ids),
            len(self._objects.held),
            self._detections.topic_name,
            self.count_publishers(self._detections.topic_name),
            silent_s,
            self._is_silent(),
            self._scene.topic_name,
            self._scene.get_subscription_count(),
            self._problems.current,
        )
        level, message = judge_scene(situation)
        values = {
            "objects": str(situation.objects),
            "held": str(situation.held),
            "detections_age_s": "" if silent_s is None else f"{silent_s:.1f}",
            **{name: str(self._counts[name]) for name in (*_PAST.values(), *_UNUSED)},
        }
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostic_array(stamp, self.get_fully_qualified_name(), level, message, values))


def _declare(node: Node) -> PlanningSceneSettings:
    """Declare the parameters; return their values.

    Raises:
        SettingsError: if one that somebody set is unknown or bad.
    """
    known = {item.name: item for item in list_settings(PlanningSceneSettings)}
    settings = resolve(PlanningSceneSettings, [Layer(ORIGIN, given_parameters(node, known))]).settings
    declare_fixed(node, known, dict(values_of(settings)))
    return settings
