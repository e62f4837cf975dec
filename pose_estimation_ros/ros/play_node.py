"""The node `pose_play`: publish a BOP folder, an image folder or a video with camera_info at a chosen rate."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from pose_estimation_ros.data.calibration import Calibration, calibration_from_file, calibration_from_numbers
from pose_estimation_ros.data.image_sources import BopSource, FolderSource, ImageSource, PlayedImage, VideoSource
from pose_estimation_ros.ros.camera_info import info_from_camera
from pose_estimation_ros.ros.images import rgb_to_compressed, rgb_to_image
from pose_estimation_ros.ros.messages import stamp_to_ns
from pose_estimation_ros.ros.parent_process import end_with_parent
from pose_estimation_ros.ros.running import answering_signals, start_rclpy, until_shutdown

SETTLE_S = 2.0  # after this a subscriber that is known here knows this publisher too, on a busy machine as well


class PlayNode(Node):
    """Publish images on `image` (or `image/compressed`) and `camera_info`, stamped with the time of publication.

    Args:
        frame_id: frame of the camera.
        transport: raw or compressed.
        best_effort: publish best effort, as many camera drivers do, instead of reliable.
        node_arguments: passed on to rclpy's node.
    """

    def __init__(
        self, frame_id: str = "camera", transport: str = "raw", best_effort: bool = False, **node_arguments: Any
    ) -> None:
        super().__init__("pose_play", **node_arguments)
        reliability = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
        qos = QoSProfile(depth=5, reliability=reliability)
        self._frame_id = frame_id
        self._compressed = transport == "compressed"
        if self._compressed:
            self._images = self.create_publisher(CompressedImage, "image/compressed", qos)
        else:
            self._images = self.create_publisher(Image, "image", qos)
        self._infos = self.create_publisher(CameraInfo, "camera_info", qos)

    def wait_for_subscribers(self, count: int) -> None:
        """Wait until so many nodes subscribe to the images, and at least one to camera_info."""
        announced = False
        while self._images.get_subscription_count() < count or (count and not self._infos.get_subscription_count()):
            if not announced:
                self.get_logger().info(f"waiting for {count} subscribers of {self._images.topic_name}")
                announced = True
            rclpy.spin_once(self, executor=self.executor, timeout_sec=0.05)
        if count:
            _spin_until(self, time.monotonic() + SETTLE_S)

    def publish(self, image: PlayedImage) -> int:
        """Publish one image and return its stamp in nanoseconds."""
        header = Header(frame_id=self._frame_id, stamp=self.get_clock().now().to_msg())
        build = rgb_to_compressed if self._compressed else rgb_to_image
        message = build(image.rgb, header)
        self._infos.publish(info_from_camera(image.camera, header))
        self._images.publish(message)
        return stamp_to_ns(header.stamp)

    def finish(self) -> None:
        """Wait until reliable subscribers have the last image."""
        self._images.wait_for_all_acked(Duration(seconds=2))


def play(node: PlayNode, source: ImageSource, rate_hz: float, loop: bool, count: int | None) -> Iterator[dict]:
    """Publish the images of a source and yield for every one what was published when."""
    images = _repeat(source) if loop else iter(source)
    due_s = time.monotonic()
    for image in itertools.islice(images, count):
        _spin_until(node, due_s)
        due_s = max(due_s + 1.0 / rate_hz, time.monotonic())  # late: go on from here, never in a burst
        stamp_ns = node.publish(image)
        yield {"stamp_ns": stamp_ns, "scene_id": image.scene_id, "image_id": image.image_id, "path": image.path}


def _repeat(source: ImageSource) -> Iterator[PlayedImage]:
    while True:
        yield from source


def _spin_until(node: Node, due_s: float) -> None:
    """Serve the node's own services until a moment of the monotonic clock."""
    while True:
        left_s = due_s - time.monotonic()
        if left_s <= 0.0:
            return
        rclpy.spin_once(node, executor=node.executor, timeout_sec=left_s)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pose_play", description="Publish images with camera_info. ROS arguments follow --ros-args."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--bop", type=Path, metavar="DIR", help="a data set in BOP layout, cameras included")
    source.add_argument("--images", type=Path, metavar="DIR", help="a folder of images, in the order of their names")
    source.add_argument("--video", type=Path, metavar="FILE", help="a video file")
    parser.add_argument("--split", default="test", help="split of the BOP data set (default: %(default)s)")
    parser.add_argument("--scene", type=int, metavar="ID", help="only this scene of the BOP data set")
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument("--camera-info", type=Path, metavar="FILE", help="calibration YAML for --images and --video")
    camera.add_argument(
        "--intrinsics", type=float, nargs=4, metavar=("FX", "FY", "CX", "CY"), help="the same as numbers, in pixels"
    )
    parser.add_argument("--rate", type=float, default=10.0, metavar="HZ", help="images per second (default: 10)")
    parser.add_argument("--loop", action="store_true", help="start again after the last image")
    parser.add_argument("--count", type=int, metavar="N", help="stop after N images")
    parser.add_argument("--wait-subscribers", type=int, default=0, metavar="N", help="start when N nodes subscribe")
    parser.add_argument("--qos", choices=("reliable", "best_effort"), default="reliable", help="(default: %(default)s)")
    parser.add_argument("--transport", choices=("raw", "compressed"), default="raw", help="(default: %(default)s)")
    parser.add_argument("--frame-id", default="camera", help="frame of the camera (default: %(default)s)")
    parser.add_argument(
        "--stamps", type=Path, metavar="FILE", help="write stamp, scene and image of all that was played"
    )
    return parser


def make_source(options: argparse.Namespace) -> ImageSource:
    """Open the source that the command line names.

    Raises:
        ValueError: if it is not there or lacks a calibration.
    """
    if options.rate <= 0.0:
        raise ValueError(f"--rate {options.rate:g}: expected more than 0 Hz")
    if options.bop is not None:
        return BopSource(options.bop, options.split, options.scene)
    calibration: Calibration
    if options.camera_info is not None:
        calibration = calibration_from_file(options.camera_info)
    elif options.intrinsics is not None:
        calibration = calibration_from_numbers(*options.intrinsics)
    else:
        raise ValueError("--camera-info or --intrinsics is needed with --images and --video: poses need a calibration")
    if options.images is not None:
        return FolderSource(options.images, calibration)
    return VideoSource(options.video, calibration)


def main(argv: list[str] | None = None) -> int:
    """Play images until the last one or an interrupt."""
    end_with_parent()
    arguments = sys.argv[1:] if argv is None else argv
    options = _parser().parse_args(remove_ros_args(["pose_play", *arguments])[1:])
    published: list[dict] = []
    with answering_signals() as ending:
        try:
            source = make_source(options)
            executor = start_rclpy(ending, ["pose_play", *arguments])
            with until_shutdown():
                node = PlayNode(options.frame_id, options.transport, options.qos == "best_effort")
                node.executor = executor
                ending.callback(node.destroy_node)
                ending.callback(_write_stamps, published, options.stamps)
                node.wait_for_subscribers(options.wait_subscribers)
                count = 0
                for record in play(node, source, options.rate, options.loop, options.count):
                    count += 1
                    if options.stamps is not None:
                        published.append(record)
                node.finish()
                node.get_logger().info(f"published {count} images")
        except (ValueError, OSError) as error:
            print(f"pose_play: error: {error}", file=sys.stderr)
            return 2
    return 0


def _write_stamps(published: list[dict], path: Path) -> None:
    if published:
        path.write_text(json.dumps(published, indent=1))


if __name__ == "__main__":
    sys.exit(main())
