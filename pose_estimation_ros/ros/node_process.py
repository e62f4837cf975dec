"""Run the pose estimation node until it is told to go.

A camera image comes in, the poses of all known objects go out on TF, as detections and as markers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.signals import SignalHandlerOptions

from pose_estimation_ros.ros.command_line import refuse_other_arguments, unknown_ros_arguments
from pose_estimation_ros.ros.loading import load_pipeline
from pose_estimation_ros.ros.node_parameter_files import parameter_files, refuse_files_for_other_nodes
from pose_estimation_ros.ros.pose_node import PipelineFactory, PoseNode
from pose_estimation_ros.ros.running import answering_signals, start_rclpy, until_shutdown


def main(argv: list[str] | None = None, pipeline_factory: PipelineFactory = load_pipeline) -> int:
    """Run the node until it is interrupted; return the exit code."""
    return run_node(sys.argv if argv is None else argv, "pose_node", __doc__, lambda: PoseNode(pipeline_factory))


def run_node(
    words: list[str], program: str, description: str | None, make: Callable[[], Any], has_last_word: bool = False
) -> int:
    """Run a node until it is interrupted; return the exit code.

    Args:
        words: of the command line.
        program: its first word, as users write it.
        description: what it does.
        make: makes the node, which has `release`.
        has_last_word: `release` publishes, so a signal does not shut rclpy down; it is noticed when the node has
            something to do, such as a timer.
    """
    with answering_signals() as ending:
        try:
            handlers = SignalHandlerOptions.NO if has_last_word else SignalHandlerOptions.ALL
            executor = _begin(ending, words, program, description, handlers)
            sys.setswitchinterval(0.001)  # the worker gets the interpreter 1 ms after it asks, not 5
            with until_shutdown():
                node = make()
                ending.callback(node.destroy_node)
                ending.callback(node.release)
                refuse_files_for_other_nodes(parameter_files(words), node.get_fully_qualified_name())
                rclpy.spin(node, executor)
        except (ValueError, ParameterException) as error:
            print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
    return 0


def _begin(
    ending: ExitStack, words: list[str], program: str, description: str | None, handlers: SignalHandlerOptions
) -> Executor:
    """Look at the command line and start rclpy.

    Raises:
        ValueError: if it cannot take an argument, or a parameter file is none.
    """
    try:
        refuse_other_arguments(program, description, words)
        return start_rclpy(ending, words, handlers)
    except rclpy_implementation.UnknownROSArgsError as error:
        raise ValueError(unknown_ros_arguments(error)) from error
    except RuntimeError as error:
        raise ValueError(str(error)) from error
