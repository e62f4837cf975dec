"""Messages of a small camera, for the tests of the node."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.ros.camera_info import info_from_camera
from pose_estimation_ros.ros.images import rgb_to_image

WIDTH, HEIGHT = 64, 48
CAMERA = Camera(np.array([[60.0, 0.0, 31.5], [0.0, 60.0, 23.5], [0.0, 0.0, 1.0]]), WIDTH, HEIGHT)


def header(second: int, frame_id: str = "left camera/optical") -> Header:
    return Header(stamp=Time(sec=second, nanosec=123456789), frame_id=frame_id)


def image(second: int, value: int = 100, **fields) -> Image:
    message = rgb_to_image(np.full((HEIGHT, WIDTH, 3), value, dtype=np.uint8), header(second))
    for name, field in fields.items():
        setattr(message, name, field)
    return message


def info(second: int, **fields) -> CameraInfo:
    message = info_from_camera(CAMERA, header(second))
    for name, field in fields.items():
        setattr(message, name, field)
    return message


def send_until_processed(bench, second: int = 1) -> None:
    """Show that the node lives: a good image comes through."""
    before = len(bench.received["detections"])
    bench.send(image(second), info(second))
    bench.wait(lambda: len(bench.received["detections"]) > before, "detections of a good image")
