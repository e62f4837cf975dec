"""Run a node: its command line, and until it is told to go."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.utilities import remove_ros_args


def refuse_other_arguments(program: str, description: str | None, argv: list[str] | None) -> None:
    """Answer --help, and end the process with exit code 2 if an argument is none of ROS."""
    argparse.ArgumentParser(
        prog=program,
        description=description,
        usage=f"{program} [-h] [--ros-args [-p NAME:=VALUE] [--params-file FILE] [-r FROM:=TO] ...]",
        epilog="pose_settings lists the parameters.",
    ).parse_args(remove_ros_args(argv)[1:])


@contextmanager
def until_shutdown() -> Iterator[None]:
    """End the block quietly when Ctrl-C or SIGTERM shuts rclpy down.

    The signal may also meet rclpy between two steps; what it raises then is an error only while the context is valid.
    """
    try:
        yield
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ValueError, OSError):
        raise
    except Exception:
        if rclpy.ok():
            raise
