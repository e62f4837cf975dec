"""Measure what the node adds to the pipeline: image in over DDS, TF out, with a pipeline that only waits.

    python benchmarks/node_overhead.py [--images 200] [--rate 10] [--objects 8] [--pipeline-ms 50]
    python benchmarks/node_overhead.py --width 1920 --height 1080

The node runs in a process of its own. Inside it measures receipt of the image to TF minus pipeline. What rclpy takes to
read the message, before the node has it, this process measures. Outside, it measures publication of the image to
receipt of TF minus pipeline, both transports over DDS included. Exit code 1 if reading and inside take too long.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from pose_estimation_ros.evaluation.results import add_result_option, origin_of, write_result

LIMITS_MS = ((640 * 480, 5.0), (1920 * 1080, 12.0))  # reading and inside, for images of so many pixels at most


class WaitingPipeline:
    """Return the same poses for every image after a fixed time."""

    def __init__(self, count: int, seconds: float) -> None:
        self._seconds = seconds
        self.score_threshold = self.min_pose_score = 0.0
        self.objects: tuple[str, ...] = ()
        self._poses = []
        for index in range(count):
            matrix = np.eye(4)
            matrix[:3, 3] = (0.1 * index - 0.4, 0.0, 1.0)
            self._poses.append(
                SimpleNamespace(
                    name=f"object_{index}",
                    object_index=index,
                    track_id=index,
                    camera_from_object=matrix,
                    score=0.9,
                    covariance=np.eye(6),
                    box=np.array([0.0, 0.0, 40.0, 40.0]) + 40.0 * index,
                    mask=None,
                )
            )

    def process(self, frame: Any) -> SimpleNamespace:
        """Wait and return."""
        from pose_estimation_ros.data.frame import Detection

        start_s = time.perf_counter()
        time.sleep(self._seconds)
        detections = [Detection(pose.object_index, 0.9, pose.box) for pose in self._poses]
        timings_s = {"total": time.perf_counter() - start_s}
        return SimpleNamespace(poses=self._poses, detections=detections, timings_s=timings_s, reason=None, tracks=[])

    def reset_tracks(self) -> None:
        """Have no tracks."""

    @property
    def lowest_score(self) -> float:
        """Hold back nothing."""
        return 0.0

    def detect_anew(self) -> None:
        """Follow nothing."""

    def continue_tracks(self, previous: Any) -> None:
        """Have no tracks."""


def run_node(count: int, seconds: float) -> int:
    """Run the real node with the waiting pipeline."""
    from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
    from pose_estimation_ros.ros.loading import LoadedPipeline
    from pose_estimation_ros.ros.node_process import main as pose_node

    bounds = ((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05))
    models = tuple(ObjectModel(index, f"object_{index}", 0.1733, bounds, Path("x.ply")) for index in range(count))
    loaded = LoadedPipeline(WaitingPipeline(count, seconds), Catalog(models))
    return pose_node(["pose_node"], pipeline_factory=lambda _: loaded)


def reading_ms(width: int, height: int, rounds: int = 50) -> float:
    """Return the median time that rclpy takes to make the message of an image from the bytes of DDS."""
    from rclpy.serialization import deserialize_message, serialize_message
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from pose_estimation_ros.ros.images import rgb_to_image

    content = serialize_message(rgb_to_image(np.zeros((height, width, 3), dtype=np.uint8), Header()))
    times_s = []
    for _ in range(rounds):
        start_s = time.perf_counter()
        deserialize_message(content, Image)
        times_s.append(time.perf_counter() - start_s)
    return round(1000.0 * float(np.median(times_s)), 2)


def measure(images: int, rate_hz: float, pipeline_s: float, width: int, height: int) -> dict[str, Any]:
    """Publish images and collect TF and diagnostics."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from tf2_msgs.msg import TFMessage

    from pose_estimation_ros.data.image_sources import PlayedImage
    from pose_estimation_ros.geometry.camera import Camera
    from pose_estimation_ros.ros.messages import stamp_to_ns
    from pose_estimation_ros.ros.play_node import PlayNode

    rclpy.init()
    player = PlayNode()
    received_s: dict[int, float] = {}
    statuses: list[Any] = []

    def on_tf(message: Any) -> None:
        received_s.setdefault(stamp_to_ns(message.transforms[0].header.stamp), time.perf_counter())

    def on_diagnostics(message: Any) -> None:
        statuses.append(message.status[0])

    player.create_subscription(TFMessage, "/tf", on_tf, 50)
    player.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
    player.wait_for_subscribers(1)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    camera = Camera(np.array([[width, 0.0, centre_x], [0.0, width, centre_y], [0.0, 0.0, 1.0]]), width, height)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    sent_s: dict[int, float] = {}
    for number in range(images):
        start_s = time.perf_counter()
        stamp_ns = player.publish(PlayedImage(pixels, camera, "", number))
        sent_s[stamp_ns] = start_s
        while (left_s := start_s + 1.0 / rate_hz - time.perf_counter()) > 0.0:
            rclpy.spin_once(player, timeout_sec=left_s)
    end_s = time.perf_counter() + 2.0
    while time.perf_counter() < end_s:
        rclpy.spin_once(player, timeout_sec=0.1)
    player.destroy_node()
    rclpy.shutdown()
    values = {item.key: item.value for item in statuses[-1].values}
    outside_ms = [1000.0 * (received_s[stamp] - sent_s[stamp] - pipeline_s) for stamp in sent_s if stamp in received_s]
    return {
        "images": images,
        "transforms": len(outside_ms),
        "inside_ms_p50": float(values["overhead_ms"]),
        "inside_ms_p95": float(values["overhead_ms_p95"]),
        "outside_ms_p50": round(float(np.percentile(outside_ms, 50)), 2),
        "outside_ms_p95": round(float(np.percentile(outside_ms, 95)), 2),
        "frames_received": int(values["frames_received"]),
        "frames_dropped": int(values["frames_dropped"]),
    }


def main(argv: list[str] | None = None) -> int:
    """Start the node, measure, print."""
    parser = argparse.ArgumentParser(description="Measure what the node adds to the pipeline.")
    parser.add_argument("--images", type=int, default=200, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=10.0, help="images per second (default: %(default)s)")
    parser.add_argument("--objects", type=int, default=8, help="poses per image (default: %(default)s)")
    parser.add_argument("--width", type=int, default=640, help="of the images (default: %(default)s)")
    parser.add_argument("--height", type=int, default=480, help="(default: %(default)s)")
    parser.add_argument("--pipeline-ms", type=float, default=50.0, help="time in the pipeline (default: %(default)s)")
    add_result_option(parser)
    parser.add_argument("--node", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.node:
        return run_node(options.objects, options.pipeline_ms / 1000.0)
    origin = origin_of("python benchmarks/node_overhead.py", argv)
    os.environ["ROS_DOMAIN_ID"] = str(10 + os.getpid() % 90)
    arguments = ["--node", "--objects", str(options.objects), "--pipeline-ms", str(options.pipeline_ms)]
    node = subprocess.Popen([sys.executable, __file__, *arguments])
    try:
        figures = measure(options.images, options.rate, options.pipeline_ms / 1000.0, options.width, options.height)
    finally:
        node.terminate()
        node.wait(20)
    figures["reading_ms_p50"] = reading_ms(options.width, options.height)
    print(json.dumps(figures, indent=2))
    if options.result is not None:
        write_result(options.result, origin, figures)
    pixels = options.width * options.height
    limit_ms = next((limit for most, limit in LIMITS_MS if pixels <= most), float("inf"))
    return 0 if figures["reading_ms_p50"] + figures["inside_ms_p50"] < limit_ms else 1


if __name__ == "__main__":
    sys.exit(main())
