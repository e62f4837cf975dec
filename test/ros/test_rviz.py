"""pose_rviz: RViz with the fixed frame of the first image, whatever the driver calls it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy")

from rclpy.node import Node  # noqa: E402
from rclpy.qos import qos_profile_sensor_data  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path, domain_id):
    """An environment in which RViz prints its arguments."""
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "rviz2").touch()
    rviz = tmp_path / "lib" / "rviz2" / "rviz2"
    rviz.parent.mkdir(parents=True)
    rviz.write_text('#!/bin/sh\necho "$@"\n')
    rviz.chmod(0o755)
    prefixes = f"{tmp_path}:{os.environ.get('AMENT_PREFIX_PATH', '')}"
    return {**os.environ, "AMENT_PREFIX_PATH": prefixes, "ROS_DOMAIN_ID": str(domain_id)}


def start(environment, *arguments):
    command = [sys.executable, "-m", "pose_estimation_ros.ros.rviz", "--config", "my.rviz", *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_a_frame_that_is_named_needs_no_image(environment):
    process = start(environment, "--fixed-frame", "base_link", "--ros-args", "-r", "__ns:=/left")
    output, _ = process.communicate(timeout=60)
    assert output == "-d my.rviz -f base_link --ros-args -r __ns:=/left\n"


@pytest.mark.parametrize(("message_type", "topic"), [(Image, "/cam/image"), (CompressedImage, "/cam/image/compressed")])
def test_the_fixed_frame_is_that_of_the_first_image_with_one(environment, domain_id, message_type, topic):
    remapped = ["-r", "image:=/cam/image", "-r", "image/compressed:=/cam/image/compressed"]
    process = start(environment, "--ros-args", *remapped)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    camera = Node("camera", context=context)
    publisher = camera.create_publisher(message_type, topic, qos_profile_sensor_data)
    over = threading.Event()

    def film() -> None:
        while publisher.get_subscription_count() == 0 and not over.wait(0.05):
            pass
        for frame in ("", "", ""):
            publisher.publish(message_type(header=Header(frame_id=frame)))
            over.wait(0.2)
        while not over.wait(0.05):
            publisher.publish(message_type(header=Header(frame_id="oak_rgb_optical")))

    thread = threading.Thread(target=film)
    thread.start()
    try:
        output, told = process.communicate(timeout=60)
    finally:
        over.set()
        thread.join()
        camera.destroy_node()
        context.try_shutdown()
    assert output == f"-d my.rviz -f oak_rgb_optical --ros-args {' '.join(remapped)}\n"
    assert told.count("has no header.frame_id: say fixed_frame:=FRAME") == 1
