"""The other processes of soak.py: a camera that misbehaves when told to, and a consumer.

    python benchmarks/soak_peers.py camera --hz 30 --width 640 --height 480
    python benchmarks/soak_peers.py consumer

The camera reads the name of a mode from every line of its standard input, and writes a line with the stamp of every
image, and whether the node may make poses of it. Both end when their standard input does.
"""

from __future__ import annotations

import argparse
import array
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.ros.camera_info import info_from_camera
from pose_estimation_ros.ros.images import rgb_to_image
from pose_estimation_ros.ros.messages import stamp_to_ns
from pose_estimation_ros.ros.running import until_shutdown

SEQUENCE = Path(__file__).resolve().parents[1] / "models" / "demo" / "sequence"
IMAGES = 8  # that are shown in turn
LATE_S = 0.15
GOOD, BAD = "good", "bad"


def _with(**fields: Any) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        for name, value in fields.items():
            setattr(message, name, value)

    return change


def _focal_length(factor: float) -> Callable[[Any], None]:
    def change(info: Any) -> None:
        info.k[0], info.k[4] = info.k[0] * factor, info.k[4] * factor

    return change


MALFORMED = (
    _with(encoding="32FC1"),
    _with(step=1),
    _with(data=array.array("B", bytes(100))),
    _with(width=0),
    _with(height=2**32 - 1, width=2**32 - 1),
    _with(encoding=""),
)
ABSURD = (
    _with(k=np.zeros(9)),
    _with(k=np.full(9, math.nan)),
    _focal_length(1e-6),
    _focal_length(1e6),
    _with(d=[1e6] * 5),
    _with(width=17),
    _with(distortion_model="unheard of", d=[0.1]),
)
CHANGED = (_focal_length(1.1), _focal_length(0.9))


def enlarged(rgb: np.ndarray, camera: Camera, width: int, height: int) -> tuple[np.ndarray, Camera]:
    """Cut the middle of an image (H, W, 3) in the shape of another size, and resize it; return it and its camera."""
    scale = min(camera.width / width, camera.height / height)
    cut_width, cut_height = round(scale * width), round(scale * height)
    left, top = (camera.width - cut_width) // 2, (camera.height - cut_height) // 2
    middle = rgb[top : top + cut_height, left : left + cut_width]
    seen_by = camera.crop(left, top, cut_width, cut_height).resize(width, height)
    return cv2.resize(middle, (width, height)), seen_by


class CameraNode(Node):
    """Publish images of the demo sequence, one size, with its calibration."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__("soak_camera")
        self._images = self.create_publisher(Image, "image", 5)
        self._infos = self.create_publisher(CameraInfo, "camera_info", 5)
        dataset = BopDataset(SEQUENCE, "test")
        self._shown = []
        for item in dataset.images[:IMAGES]:
            rgb, seen_by = enlarged(dataset.read_rgb(item), item.camera, width, height)
            self._shown.append((rgb_to_image(rgb, Header()), seen_by))
        self._count = 0
        self._late: deque[tuple[float, Any]] = deque()

    def publish(self, mode: str) -> tuple[int, str]:
        """Publish one image as the mode says; return its stamp in nanoseconds and whether it is good."""
        self._count += 1
        message, camera = self._shown[self._count % IMAGES]
        header = Header(frame_id="camera", stamp=self.get_clock().now().to_msg())
        info = info_from_camera(camera, header)
        if mode == "malformed":
            message = Image(header=header, **{name: getattr(message, name) for name in _IMAGE_FIELDS})
            MALFORMED[self._count % len(MALFORMED)](message)
        message.header = header
        for name, changes in (("info_absurd", ABSURD), ("info_changed", CHANGED)):
            if mode == name:
                changes[self._count % len(changes)](info)
        if mode == "info_late":
            self._late.append((time.monotonic() + LATE_S, info))
        else:
            self._infos.publish(info)
        self._images.publish(message)
        return stamp_to_ns(header.stamp), BAD if mode in ("malformed", "info_absurd") else GOOD

    def publish_late(self) -> None:
        """Publish every camera_info whose time has come."""
        while self._late and self._late[0][0] <= time.monotonic():
            self._infos.publish(self._late.popleft()[1])


_IMAGE_FIELDS = ("height", "width", "encoding", "is_bigendian", "step", "data")


def run_camera(hz: float, width: int, height: int) -> None:
    """Publish until standard input ends."""
    camera, mode, pending = CameraNode(width, height), "good", ""
    os.set_blocking(sys.stdin.fileno(), False)
    due_s = time.monotonic()
    while True:
        try:
            read = os.read(sys.stdin.fileno(), 4096)
        except BlockingIOError:
            read = None
        if read == b"":
            return
        *lines, pending = (pending + (read or b"").decode()).split("\n")
        mode = lines[-1] if lines else mode
        stamp_ns, kind = camera.publish(mode)
        print(stamp_ns, kind, flush=True)
        due_s = max(due_s + 1.0 / hz, time.monotonic())
        while (left_s := due_s - time.monotonic()) > 0.0:
            time.sleep(min(left_s, 0.01))
            camera.publish_late()


def run_consumer() -> None:
    """Take everything that a robot would take, and the overlay, until standard input ends."""
    node = Node("soak_consumer")
    for message_type, topic in (
        (TFMessage, "/tf"),
        (Detection3DArray, "/pose_estimation/detections"),
        (MarkerArray, "/pose_estimation/markers"),
        (Image, "/pose_estimation/overlay"),
    ):
        node.create_subscription(message_type, topic, lambda message: None, 10)
    threading.Thread(target=_end_with_input, daemon=True).start()
    rclpy.spin(node)


def _end_with_input() -> None:
    sys.stdin.read()
    rclpy.try_shutdown()


def main(argv: list[str] | None = None) -> int:
    """Run one of the two until it is told to go."""
    parser = argparse.ArgumentParser(description="The other processes of soak.py.")
    parser.add_argument("role", choices=("camera", "consumer"))
    parser.add_argument("--hz", type=float, default=30.0)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    options = parser.parse_args(argv)
    rclpy.init()
    with until_shutdown():
        if options.role == "camera":
            run_camera(options.hz, options.width, options.height)
        else:
            run_consumer()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
