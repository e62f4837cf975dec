"""The command pose_node: answers Ctrl-C and SIGTERM from its first line to its last."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from pose_estimation_ros.ros.parent_process import end_with_parent

NUMBERS = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Run the node, whose modules take seconds to import."""
    for number in NUMBERS:
        signal.signal(number, _leave)
    end_with_parent()
    from pose_estimation_ros.ros.node_process import main as run

    code = run()
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)  # until the interpreter is gone
    return code


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(0)  # nothing has begun that had to be ended


if __name__ == "__main__":
    sys.exit(main())
