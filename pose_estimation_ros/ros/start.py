"""Commands of nodes: answer Ctrl-C and SIGTERM from their first line to their last."""

from __future__ import annotations

import gc
import os
import signal
import sys
from importlib import import_module
from types import FrameType

from pose_estimation_ros.ros.middleware_profile import use_own_profile
from pose_estimation_ros.ros.parent_process import end_with_parent

NUMBERS = (signal.SIGINT, signal.SIGTERM)
_LIGHT_TORCH = "pose_estimation_ros.networks.light_torch"  # comes before torch


def main() -> int:
    """Run the node `pose_estimation`."""
    return _run("node_process", _LIGHT_TORCH)


def hands() -> int:
    """Run the node `hands`."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads wait for each other: its networks are small
    return _run("hands_node", _LIGHT_TORCH)


def planning_scene() -> int:
    """Run the node `planning_scene`."""
    return _run("planning_scene.process")


def play() -> int:
    """Run the command `pose_play`."""
    return _run("play_node")


def record() -> int:
    """Run the command `pose_record`."""
    return _run("record_node")


def rviz() -> int:
    """Run the command `pose_rviz`."""
    return _run("rviz")


def _run(module: str, *before: str) -> int:
    """Run the command of a module, which takes seconds to import, after modules that come before it."""
    for number in NUMBERS:
        signal.signal(number, _leave)
    end_with_parent()
    use_own_profile()
    gc.disable()  # modules stay, and are looked through for garbage again and again while more of them come
    for name in before:
        import_module(name)
    program = import_module(f"pose_estimation_ros.ros.{module}")
    gc.freeze()  # later collections need not look through them either
    gc.enable()
    code = program.main()
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)  # until the interpreter is gone
    return code


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(0)  # nothing has begun that had to be ended


if __name__ == "__main__":
    sys.exit(main())
