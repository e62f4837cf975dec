"""The command line of pose_node: words that would have no effect are refused, with what may be meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from rclpy.utilities import remove_ros_args

from pose_estimation_ros.node_settings import known_parameters
from pose_estimation_ros.settings import nearest

_RULE = re.compile(r"(?P<name>[^\s=]+?):?=(?P<value>.*)")
_ROS_ARGUMENTS = (
    "--ros-args", "-p", "--param", "--params-file", "-r", "--remap", "-e", "--enclave", "--log-level",
    "--log-config-file", "--enable-rosout-logs", "--disable-rosout-logs", "--enable-stdout-logs",
    "--disable-stdout-logs", "--enable-external-lib-logs", "--disable-external-lib-logs",
)  # fmt: skip


def refuse_other_arguments(program: str, description: str | None, argv: Sequence[str]) -> None:
    """Answer --help, and end the process with exit code 2 if an argument stands outside those of ROS."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        usage=f"{program} [-h] [--ros-args [-p NAME:=VALUE] [--params-file FILE] [-r FROM:=TO] ...]",
        epilog="pose_settings lists the parameters.",
    )
    # rclpy takes NAME:=VALUE before --ros-args for a remapping, in silence.
    _, others = parser.parse_known_args(remove_ros_args(list(argv))[1:])
    first = list(argv)[1 : list(argv).index("--ros-args")] if "--ros-args" in argv else list(argv)[1:]
    others += [word for word in first if ":=" in word and word not in others]
    if others:
        parser.error(f"unrecognized arguments: {' '.join(others)}; {_meant(others)}")


def _meant(words: Sequence[str]) -> str:
    """Say how the first of the words would be written if it is a parameter."""
    rule = _RULE.fullmatch(words[0].lstrip("-"))
    name = rule["name"] if rule else words[0].lstrip("-")
    following = words[1] if len(words) > 1 and not words[1].startswith("-") else "VALUE"
    guess = re.fullmatch(r"did you mean '(.*)'\?", nearest(name.replace("-", "_"), known_parameters()))
    if guess is None:
        return "expected --ros-args and what is to follow it"
    return f"did you mean --ros-args -p {guess[1]}:={rule['value'] if rule else following}?"


def unknown_ros_arguments(error: Exception) -> str:
    """Say what is wrong with words after --ros-args that rclpy does not know; its exception lists them and no more."""
    words = re.findall(r"'(-[^']+)'", str(error)) or re.findall(r"'([^']+)'", str(error))
    return "; ".join(f"unknown ROS argument {word!r}: {nearest(word, _ROS_ARGUMENTS)}" for word in words) or str(error)
