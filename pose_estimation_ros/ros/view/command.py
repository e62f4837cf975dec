"""The command pose_view: a page in the browser that shows a pose node at work, or a recording of one."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viser import ViserServer

NODE = "pose_estimation"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="pose_view", description=f"{__doc__} ROS arguments follow --ros-args.")
    made.add_argument("--mcap", type=Path, metavar="FILE", help="show this recording instead of a node that runs")
    made.add_argument("--node", default=NODE, metavar="NAME", help="the pose node (%(default)s)")
    made.add_argument("--host", default="127.0.0.1", help="address that serves the page; 0.0.0.0 for all (%(default)s)")
    made.add_argument("--port", type=int, default=8080, help="the next free one from here on (%(default)s)")
    return made


def main(argv: list[str] | None = None) -> int:
    """Serve the page until an interrupt."""
    logging.basicConfig(level=logging.WARNING, format="pose_view: %(message)s")
    words = sys.argv[1:] if argv is None else argv
    options = parser().parse_args(_without_ros_arguments(words))
    if not 0 < options.port < 65536:
        print(f"pose_view: error: --port {options.port}: expected 1 to 65535", file=sys.stderr)
        return 2
    import viser

    try:
        _refuse_unusable(options.host)
        server = viser.ViserServer(options.host, options.port, verbose=False)
        try:
            print(f"pose_view: http://{options.host}:{server.get_port()}", flush=True)
            if options.mcap is not None:
                _show_recording(server, options.mcap, options.node)
            else:
                _show_node(server, options.node, words)
        finally:
            server.stop()
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


def _refuse_unusable(host: str) -> None:
    """Refuse an address of another machine: viser would wait for it for ever.

    Raises:
        ValueError: if nothing can be served there.
    """
    try:
        with socket.create_server((host, 0)):
            pass
    except OSError as error:
        raise ValueError(f"--host {host}: {error.strerror or error}") from error


def _show_recording(server: ViserServer, path: Path, node: str) -> None:
    from pose_estimation_ros.ros.view.playback import Playback
    from pose_estimation_ros.ros.view.viewer import Viewer

    playback = Playback(path, server, Viewer(server, node), node)
    try:
        playback.run()
    except KeyboardInterrupt:
        return


def _show_node(server: ViserServer, pose_node: str, words: list[str]) -> None:
    import rclpy
    from rclpy.exceptions import NameValidationException
    from rclpy.impl.implementation_singleton import rclpy_implementation
    from rclpy.validate_topic_name import validate_topic_name

    from pose_estimation_ros.ros.command_line import unknown_ros_arguments
    from pose_estimation_ros.ros.parent_process import end_with_parent
    from pose_estimation_ros.ros.running import until_shutdown
    from pose_estimation_ros.ros.view.live import ViewNode
    from pose_estimation_ros.ros.view.viewer import Viewer

    end_with_parent()
    node = None
    try:
        validate_topic_name(pose_node)
        rclpy.init(args=["pose_view", *words])
    except rclpy_implementation.UnknownROSArgsError as error:
        raise ValueError(unknown_ros_arguments(error)) from error
    except (NameValidationException, RuntimeError) as error:
        raise ValueError(" ".join(str(error).split())) from error
    try:
        with until_shutdown():
            node = ViewNode(Viewer(server, pose_node), pose_node)
            rclpy.spin(node)
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
