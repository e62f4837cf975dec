"""The command pose_view: a page in the browser that shows a pose node at work, or a recording of one."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pose_estimation_ros.rendering.viser_page import add_server_options, page_server
from pose_estimation_ros.ros.moveit import missing_moveit

if TYPE_CHECKING:
    from viser import ViserServer

NODE = "pose_estimation"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="pose_view", description=f"{__doc__} ROS arguments follow --ros-args.")
    made.add_argument("--mcap", type=Path, metavar="FILE", help="show this recording instead of a node that runs")
    made.add_argument("--node", default=NODE, metavar="NAME", help="the pose node (%(default)s)")
    made.add_argument(
        "--planning-scene",
        metavar="TOPIC",
        help="also show the collision objects that MoveIt hears of here, such as planning_scene; needs moveit_msgs",
    )
    add_server_options(made)
    return made


def main(argv: list[str] | None = None) -> int:
    """Serve the page until an interrupt."""
    logging.basicConfig(level=logging.WARNING, format="pose_view: %(message)s")
    words = sys.argv[1:] if argv is None else argv
    options = parser().parse_args(_without_ros_arguments(words))
    try:
        if options.mcap is not None and options.planning_scene is not None:
            raise ValueError("--planning-scene: is of a node that runs; expected no --mcap")
        with page_server("pose_view", options.host, options.port) as server:
            if options.mcap is not None:
                _show_recording(server, options.mcap, options.node)
            else:
                _show_node(server, options.node, options.planning_scene, words)
    except ModuleNotFoundError as error:
        print(f"pose_view: error: {missing_moveit(error) or error}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"pose_view: error: {error}", file=sys.stderr)
        return 2
    return 0


def _without_ros_arguments(words: list[str]) -> list[str]:
    """Return the words that are not between `--ros-args` and `--`."""
    if "--ros-args" not in words:
        return words
    start = words.index("--ros-args")
    return words[:start] + (words[words.index("--", start) + 1 :] if "--" in words[start:] else [])


def _show_recording(server: ViserServer, path: Path, node: str) -> None:
    from pose_estimation_ros.ros.view.playback import Playback
    from pose_estimation_ros.ros.view.viewer import Viewer

    playback = Playback(path, server, Viewer(server, node), node)
    try:
        playback.run()
    except KeyboardInterrupt:
        return


def _show_node(server: ViserServer, pose_node: str, planning_scene: str | None, words: list[str]) -> None:
    import rclpy
    from rclpy.exceptions import NameValidationException
    from rclpy.impl.implementation_singleton import rclpy_implementation
    from rclpy.validate_topic_name import validate_topic_name

    from pose_estimation_ros.ros.command_line import unknown_ros_arguments
    from pose_estimation_ros.ros.parent_process import end_with_parent
    from pose_estimation_ros.ros.running import start_rclpy, until_shutdown
    from pose_estimation_ros.ros.view.live import ViewNode
    from pose_estimation_ros.ros.view.viewer import Viewer

    end_with_parent()
    with ExitStack() as ending:
        ending.callback(rclpy.try_shutdown)
        try:
            for name in (pose_node, planning_scene):
                if name is not None:
                    validate_topic_name(name)
            executor = start_rclpy(ending, ["pose_view", *words])
        except rclpy_implementation.UnknownROSArgsError as error:
            raise ValueError(unknown_ros_arguments(error)) from error
        except (NameValidationException, RuntimeError) as error:
            raise ValueError(" ".join(str(error).split())) from error
        with until_shutdown():
            node = ViewNode(Viewer(server, pose_node, planner=planning_scene is not None), pose_node)
            ending.callback(node.destroy_node)
            if planning_scene is not None:
                node.follow_planning_scene(planning_scene)
            rclpy.spin(node, executor)


if __name__ == "__main__":
    sys.exit(main())
