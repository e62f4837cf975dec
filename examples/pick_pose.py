#!/usr/bin/env python3
"""A planner's side: where to grasp an object, in the robot's base, once its pose can be relied on.

    python3 examples/pick_pose.py --object mug --frame handle --base base_link

prints the pose and ends with 0, or says what it waited for in vain and ends with 1. It needs rclpy, tf2_ros, std_srvs
and vision_msgs, and nothing of pose_estimation_ros.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import deque
from collections.abc import Sequence

import rclpy
import tf2_ros
from geometry_msgs.msg import TransformStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.time import Time
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection3D, Detection3DArray

TF_PATIENCE_S = 0.5  # the robot's own transforms may come a little after the detections
SILENCE_S = 2.0  # without an image for so long, nothing known is of today


class StablePose:
    """Trust an instance when its last poses in the base agree: then neither it nor the estimate moves.

    Args:
        images: number of images in a row that must agree.
        tolerance_m: largest distance between any of these positions and the newest.
        tolerance_deg: largest angle between any of these rotations and the newest.
    """

    def __init__(self, images: int, tolerance_m: float, tolerance_deg: float) -> None:
        self._tolerances = tolerance_m, tolerance_deg
        self._needed = images
        self._poses: deque[TransformStamped] = deque(maxlen=images)

    def forget(self) -> None:
        """Begin anew: the object was not seen, or not surely."""
        self._poses.clear()

    def add(self, pose: TransformStamped) -> str:
        """Take in the pose of an image; return why it is not to be trusted yet, empty when it is."""
        if self._poses and self._poses[-1].child_frame_id != pose.child_frame_id:
            self.forget()  # another instance
        self._poses.append(pose)
        if len(self._poses) < self._needed:
            return f"{pose.child_frame_id} was seen in {len(self._poses)} images in a row, of {self._needed}"
        away_m, turned_deg = (
            max(values) for values in zip(*(difference(item, pose) for item in self._poses), strict=True)
        )
        if away_m > self._tolerances[0] or turned_deg > self._tolerances[1]:
            return (
                f"{pose.child_frame_id} moved by {1000.0 * away_m:.1f} mm and {turned_deg:.1f} degrees in "
                f"{self._needed} images; allowed are {1000.0 * self._tolerances[0]:g} mm and {self._tolerances[1]:g}"
            )
        return ""


def difference(first: TransformStamped, second: TransformStamped) -> tuple[float, float]:
    """Return distance in metres and angle in degrees between two poses in one frame."""
    a, b = first.transform.translation, second.transform.translation
    p, q = first.transform.rotation, second.transform.rotation
    dot = abs(p.x * q.x + p.y * q.y + p.z * q.z + p.w * q.w)
    return math.dist((a.x, a.y, a.z), (b.x, b.y, b.z)), math.degrees(2.0 * math.acos(min(dot, 1.0)))


class Picker:
    """Watch the detections until a grasp pose is stable.

    Args:
        node: its executor is spun by the caller, between the steps.
        buffer: of tf2, filled by a listener.
        options: see `parser`.
    """

    def __init__(self, node: Node, buffer: tf2_ros.Buffer, options: argparse.Namespace) -> None:
        self._buffer, self._options = buffer, options
        self._stable = StablePose(options.images, options.tolerance_mm / 1000.0, options.tolerance_deg)
        self._pending: Detection3DArray | None = None  # until its transforms have come, too
        self._came_s = time.monotonic()  # the pending one, or the last
        self._topic = f"{options.node}/detections"
        self.reason = f"nothing came on {self._topic}"
        node.create_subscription(Detection3DArray, self._topic, self._on_detections, 10)
        self._detect = node.create_client(Trigger, f"{options.node}/detect") if options.detect else None
        self._asked: rclpy.Future | None = None

    def step(self) -> TransformStamped | None:
        """Work on what has come; return the pose of the frame in the base when it is stable."""
        self._ask()
        waited_s = time.monotonic() - self._came_s
        if self._pending is None:
            if waited_s > SILENCE_S and self._detect is None:
                self._stable.forget()
                self.reason = f"nothing came on {self._topic} for {waited_s:.0f} s: is the node active?"
            return None
        found = self._best(self._pending)
        if found is None:
            self._pending = None
            self._stable.forget()
            return None
        frame = f"{found.id}/{self._options.frame}" if self._options.frame else found.id
        # The stamp is the image's: where the arm was then, not where it is now.
        when = Time.from_msg(self._pending.header.stamp)
        try:
            pose = self._buffer.lookup_transform(self._options.base, frame, when)
        except tf2_ros.TransformException as error:
            if waited_s > TF_PATIENCE_S:
                self.reason = f"no transform from {frame} to {self._options.base} at the image's time: {error}"
                self._pending = None
                self._stable.forget()
            return None
        self._pending = None
        self.reason = self._stable.add(pose)
        return None if self.reason else pose

    def _on_detections(self, message: Detection3DArray) -> None:
        if self._pending is None:
            self._pending, self._came_s = message, time.monotonic()

    def _best(self, message: Detection3DArray) -> Detection3D | None:
        wanted = self._options.object
        same = [item for item in message.detections if item.results[0].hypothesis.class_id == wanted]
        if not same:
            others = sorted({item.results[0].hypothesis.class_id for item in message.detections})
            self.reason = f"no {wanted} in the newest image (seen: {', '.join(others) or 'nothing'})"
            return None
        best = max(same, key=lambda item: item.results[0].hypothesis.score)
        score = best.results[0].hypothesis.score
        if score < self._options.min_score:
            self.reason = f"{best.id} scores {score:.2f}; expected {self._options.min_score:g} or more"
            return None
        return best

    def _ask(self) -> None:
        """Call ~/detect, where the node works on demand, whenever an answer has come and been used."""
        if self._detect is None or self._pending is not None:
            return
        if self._asked is None:
            if self._detect.service_is_ready():
                self._asked = self._detect.call_async(Trigger.Request())
            else:
                self.reason = f"there is no service {self._detect.srv_name}: does the node run?"
        elif self._asked.done():
            answer = self._asked.result()
            if not answer.success:
                self.reason = answer.message
                self._stable.forget()
            self._asked = None


def pick(node: Node, buffer: tf2_ros.Buffer, options: argparse.Namespace) -> tuple[TransformStamped | None, str]:
    """Return the stable pose, or None and the reason when the time is over."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    picker = Picker(node, buffer, options)
    end_s = time.monotonic() + options.timeout_s
    try:
        while time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.05)
            pose = picker.step()
            if pose is not None:
                return pose, ""
    finally:
        executor.remove_node(node)
    return None, picker.reason


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    options = argparse.ArgumentParser(description="Wait for a stable grasp pose.")
    options.add_argument("--object", required=True, help="name of the object")
    options.add_argument("--frame", default="", help="frame on the object, of its bundle (default: the object's own)")
    options.add_argument("--base", default="base_link", help="frame that the pose is wanted in (default: base_link)")
    options.add_argument("--node", default="/pose_estimation", help="name of the node (default: /pose_estimation)")
    options.add_argument("--detect", action="store_true", help="call ~/detect for every image (processing: on_demand)")
    options.add_argument("--min-score", type=float, default=0.8, help="least probability of the pose (default: 0.8)")
    options.add_argument("--images", type=int, default=5, help="images in a row that must agree (default: 5)")
    options.add_argument("--tolerance-mm", type=float, default=5.0, help="by how much (default: 5)")
    options.add_argument("--tolerance-deg", type=float, default=3.0, help="and in angle (default: 3)")
    options.add_argument("--timeout-s", type=float, default=10.0, help="when to give up (default: 10)")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    options = parser().parse_args(argv)
    numbers = options.min_score, options.tolerance_mm, options.tolerance_deg, options.timeout_s
    if options.images < 1 or not all(map(math.isfinite, numbers)):
        parser().error("expected --images of 1 or more, and finite numbers")
    rclpy.init()
    node = rclpy.create_node("pick_pose")
    buffer = tf2_ros.Buffer()
    listener = tf2_ros.TransformListener(buffer, node)
    pose, reason = pick(node, buffer, options)
    listener.unregister()
    node.destroy_node()
    rclpy.try_shutdown()
    if pose is None:
        print(f"pick_pose: no stable pose of {options.object}: {reason}", file=sys.stderr)
        return 1
    place, turn = pose.transform.translation, pose.transform.rotation
    print(f"{pose.child_frame_id} in {pose.header.frame_id} at {pose.header.stamp.sec}.{pose.header.stamp.nanosec:09d}")
    print(f"translation_m {place.x:.4f} {place.y:.4f} {place.z:.4f}")
    print(f"quaternion_xyzw {turn.x:.5f} {turn.y:.5f} {turn.z:.5f} {turn.w:.5f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
