"""The command pose_rviz: RViz with the frame of the images as its fixed frame, so that TF and markers show at once."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage, Image

from pose_estimation_ros.ros.parent_process import end_with_parent
from pose_estimation_ros.ros.running import answering_signals, start_rclpy, until_shutdown
from pose_estimation_ros.ros.rviz_executable import rviz_executable


class FrameFinder(Node):
    """Listen to `image` and `image/compressed` until one has come.

    Args:
        node_arguments: passed on to rclpy's node.
    """

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("pose_rviz", **node_arguments)
        self.frame = ""
        for topic, message_type in (("image", Image), ("image/compressed", CompressedImage)):
            self.create_subscription(message_type, topic, self._on_image, qos_profile_sensor_data)
        self.get_logger().info(f"RViz starts with the first image on {self.resolve_topic_name('image')}")

    def _on_image(self, message: Image | CompressedImage) -> None:
        self.frame = message.header.frame_id
        if not self.frame:
            self.get_logger().warning("an image has no header.frame_id: say fixed_frame:=FRAME", once=True)


def find_frame(arguments: list[str]) -> str:
    """Return the frame of the first image, empty when the process is told to go before one comes."""
    frame = ""
    with answering_signals() as ending:
        executor = start_rclpy(ending, arguments)
        with until_shutdown():
            node = FrameFinder()
            ending.callback(node.destroy_node)
            while rclpy.ok() and not node.frame:
                rclpy.spin_once(node, executor=executor)
            frame = node.frame
    return frame


def main(argv: list[str] | None = None) -> int:
    """Find the frame, then become RViz."""
    end_with_parent()
    words = sys.argv if argv is None else argv
    parser = argparse.ArgumentParser(prog="pose_rviz", description=__doc__)
    parser.add_argument("--config", required=True, metavar="FILE", help="configuration of RViz")
    parser.add_argument("--fixed-frame", default="", metavar="FRAME", help="default: that of the first image")
    options = parser.parse_args(remove_ros_args(words)[1:])
    try:
        executable = rviz_executable()
    except RuntimeError as error:
        print(f"pose_rviz: error: {error}", file=sys.stderr)
        return 2
    frame = options.fixed_frame or find_frame(words)
    if not frame:
        return 0
    own = words[words.index("--ros-args") :] if "--ros-args" in words else []
    os.execv(executable, [executable, "-d", options.config, "-f", frame, *own])


if __name__ == "__main__":
    sys.exit(main())
