"""The node `pose_record`: write what a pose node publishes to an MCAP file, and poses and diagnostics to JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2DArray, Detection3DArray
from visualization_msgs.msg import MarkerArray

from pose_estimation_ros.ros.bag import BagWriter
from pose_estimation_ros.ros.recording import Recording
from pose_estimation_ros.ros.running import answering_signals, start_rclpy, until_shutdown


class RecordNode(Node):
    """Subscribe to everything a pose node publishes, write it, and keep poses and diagnostics.

    Args:
        mcap: file to write, None for none.
        pose_node: name of the pose node.
        with_image: record the camera image too.
        node_arguments: passed on to rclpy's node.
    """

    def __init__(
        self, mcap: Path | None, pose_node: str = "pose_estimation", with_image: bool = False, **node_arguments: Any
    ) -> None:
        super().__init__("pose_record", **node_arguments)
        self.recording = Recording(node_name=pose_node.rsplit("/", 1)[-1])
        self.last_detections_s: float | None = None
        self._bag = BagWriter(mcap) if mcap is not None else None
        topics: dict[str, type] = {
            "/tf": TFMessage,
            f"{pose_node}/detections": Detection3DArray,
            f"{pose_node}/detections_2d": Detection2DArray,
            f"{pose_node}/markers": MarkerArray,
            f"{pose_node}/overlay": Image,
            "/diagnostics": DiagnosticArray,
        }
        for topic, message_type in topics.items():
            self._record(topic, message_type, QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE))
        # Cameras may publish best effort; a reliable subscription would not hear them.
        inputs: dict[str, type] = {"camera_info": CameraInfo, **({"image": Image} if with_image else {})}
        for topic, message_type in inputs.items():
            self._record(topic, message_type, QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT))

    def _record(self, topic: str, message_type: type, qos: QoSProfile) -> None:
        name = self.resolve_topic_name(topic)
        module = message_type.__module__.split(".")[0]
        if self._bag is not None:
            self._bag.add_topic(name, f"{module}/msg/{message_type.__name__}")
        self.create_subscription(message_type, topic, partial(self._on_message, name, message_type), qos, raw=True)

    def _on_message(self, topic: str, message_type: type, data: bytes) -> None:
        now_ns = time.time_ns()
        if self._bag is not None:
            self._bag.write(topic, data, now_ns)
        if message_type is Detection3DArray:
            self.last_detections_s = time.monotonic()
            self.recording.add_detections(deserialize_message(data, message_type), now_ns)
        elif message_type is TFMessage:
            self.recording.add_tf(deserialize_message(data, message_type), now_ns)
        elif message_type is DiagnosticArray:
            known = len(self.recording.diagnostics)
            self.recording.add_diagnostics(deserialize_message(data, message_type), now_ns)
            if not known and self.recording.diagnostics:
                self.get_logger().info(f"hears {self.recording.node_name}")
        elif message_type is CameraInfo:
            self.recording.add_camera_info(deserialize_message(data, message_type))

    def close(self) -> None:
        """Finish the MCAP file."""
        if self._bag is not None:
            self._bag.close()
            self._bag = None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pose_record", description="Record what a pose node publishes. ROS arguments follow --ros-args."
    )
    parser.add_argument("--mcap", type=Path, metavar="FILE", help="record all topics of the pose node here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write poses by image stamp and diagnostics here")
    parser.add_argument("--node", default="pose_estimation", metavar="NAME", help="the pose node (%(default)s)")
    parser.add_argument("--with-image", action="store_true", help="record the camera image too")
    parser.add_argument("--table", action="store_true", help="print poses and rates once a second")
    parser.add_argument("--idle-timeout", type=float, metavar="S", help="stop S seconds after the last detections")
    parser.add_argument("--duration", type=float, metavar="S", help="stop after S seconds")
    return parser


def _print_table(recording: Recording, last: list[str]) -> None:
    """Print the table if something has changed since the last time."""
    table = recording.table()
    if [table] != last and recording.camera_stamps_ns:
        last[:] = [table]
        print(table, flush=True)


def _spin(node: RecordNode, options: argparse.Namespace) -> None:
    if options.table:
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(1.0, partial(_print_table, node.recording, []), clock=steady)
    start_s = time.monotonic()
    while rclpy.ok():
        rclpy.spin_once(node, executor=node.executor, timeout_sec=0.2)
        now_s = time.monotonic()
        if options.duration is not None and now_s - start_s > options.duration:
            return
        last_s = node.last_detections_s
        if options.idle_timeout is not None and last_s is not None and now_s - last_s > options.idle_timeout:
            return


def main(argv: list[str] | None = None) -> int:
    """Record until an interrupt or a time-out; the files are complete either way."""
    arguments = sys.argv[1:] if argv is None else argv
    options = _parser().parse_args(remove_ros_args(["pose_record", *arguments])[1:])
    errors: list[Exception] = []
    with answering_signals() as ending:
        try:
            executor = start_rclpy(ending, ["pose_record", *arguments])
            with until_shutdown():
                node = RecordNode(options.mcap, options.node, options.with_image)
                node.executor = executor
                ending.callback(lambda: errors.extend(_finish(node, options.mcap, options.json)))
                _spin(node, options)
        except (ValueError, OSError) as error:
            errors.append(_naming(error, options.mcap))
    if errors:
        print(f"pose_record: error: {errors[0]}", file=sys.stderr)
    return 2 if errors else 0


def _finish(node: RecordNode, mcap_file: Path | None, json_file: Path | None) -> list[Exception]:
    """Finish both files, each whatever became of the other; return what went wrong."""
    errors: list[Exception] = []
    try:
        node.close()
    except OSError as error:
        errors.append(_naming(error, mcap_file))
    if json_file is not None:
        try:
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_text(json.dumps(node.recording.as_json()))
        except OSError as error:
            errors.append(_naming(error, json_file))
    node.destroy_node()
    return errors


def _naming(error: Exception, file: Path | None) -> Exception:
    """Return an error that names its file: that of a full disk does not."""
    return OSError(f"{file}: {error.strerror}") if isinstance(error, OSError) and not error.filename else error


if __name__ == "__main__":
    sys.exit(main())
