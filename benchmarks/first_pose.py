"""Measure how long a node that is started takes to its first pose on TF, while a camera streams already.

    python benchmarks/first_pose.py [--bundle models/demo] [--device auto] [--starts 5]

Every start is a process of its own, from its first line on. CPU seconds are those of the process, all its threads
together, until then: what a machine without other work needs at least, if it has one core.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from tf2_msgs.msg import TFMessage

from pose_estimation_ros.data.image_sources import BopSource
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.ros.play_node import PlayNode, play

RATE_HZ = 10.0
PATIENCE_S = 300.0
NODE = "import sys; from pose_estimation_ros.ros.start import main; sys.exit(main())"


def main() -> int:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/demo", help="with a sequence of its own (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=5, help="(default: %(default)s)")
    add_result_option(parser)
    options = parser.parse_args()
    origin = origin_of("python benchmarks/first_pose.py")
    os.environ["ROS_DOMAIN_ID"] = str(10 + os.getpid() % 90)
    # The first start also writes bytecode and fills the disk's cache, once and for all; it is not counted.
    starts = np.array([first_pose(options.bundle, options.device) for _ in range(options.starts + 1)])[1:]
    rows = Rows()
    rows.add(
        bundle=Path(options.bundle).name,
        starts=len(starts),
        first_pose_s_p50=float(np.median(starts[:, 0])),
        first_pose_s_max=float(starts[:, 0].max()),
        cpu_s_p50=float(np.median(starts[:, 1])),
    )
    if options.result:
        write_result(options.result, origin, {"rows": rows})
    return 0


def first_pose(bundle: str, device: str) -> tuple[float, float]:
    """Start a node beside a camera; return seconds to its first transform, and those of its processor until then.

    Raises:
        RuntimeError: if the node ends, or nothing comes.
    """
    rclpy.init()
    camera = PlayNode()
    transforms: list[Any] = []
    camera.create_subscription(TFMessage, "/tf", transforms.append, 10)
    parameters = [f"bundle:={Path(bundle).resolve()}", f"device:={device}"]
    images = play(camera, BopSource(Path(bundle) / "sequence"), RATE_HZ, loop=True, count=None)
    next(images)
    command = [sys.executable, "-c", NODE, "--ros-args", *(word for item in parameters for word in ("-p", item))]
    start_s = time.monotonic()
    node = subprocess.Popen([*command, "--log-level", "warn"])
    try:
        while not transforms:
            next(images)  # waits, and listens
            if node.poll() is not None:
                raise RuntimeError(f"the node has ended with exit code {node.returncode}")
            if time.monotonic() - start_s > PATIENCE_S:
                raise RuntimeError(f"no pose in {PATIENCE_S:g} s")
        return time.monotonic() - start_s, processor_s(node.pid)
    finally:
        node.terminate()
        node.wait(60)
        camera.destroy_node()
        rclpy.shutdown()


def processor_s(process: int) -> float:
    """Return the seconds that a process has spent on processors."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
