"""Take the network between the node and all others down and up again, and count what the node makes of it.

    python benchmarks/soak_network.py [--hz 30] [--seed 0] [--profiles FILE] [--report FILE]

soak.py runs this last. The node is in a network namespace of its own, and a virtual cable joins it to that of camera,
consumer and observer, so that everything goes over UDP as between two machines. Namespaces need root, or a kernel that
gives them to users; where neither is, the report is {"skipped": why}.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soak_bench import Bench, SoakError
from soak_faults import paused
from soak_namespaces import Cable, NamespaceError, joined_namespace, way_in
from soak_run import soaking

from pose_estimation_ros.ros.middleware_profile import VARIABLES
from pose_estimation_ros.ros.parent_process import end_with_parent

SIZE = (640, 480)  # larger raw images at 30 Hz are more than most networks carry
TRANSPORT = "UDPv4?max_msg_size=65000B&sockets_size=16MB"  # of Fast DDS, without shared memory
OUTAGES_S = {"network_down": 5.0, "network_down_long": 30.0}  # Fast DDS forgets peers that are silent for 20 s
IN_FLIGHT_S = 1.0  # results that were sent before the link went down
QUIET_S = 3.0


def outage(cable: Cable, end: int, seconds: float) -> Callable[[Bench], int]:
    """Return the fault that one end of the cable is down for some seconds."""

    def fault(bench: Bench) -> int:
        cable.set(end, "down")
        down_s = time.monotonic()
        time.sleep(seconds)
        came = [item for item in bench.observer.results if item.arrived_s > down_s + IN_FLIGHT_S]
        cable.set(end, "up")
        over_ns = time.time_ns()
        if came:
            raise SoakError(f"{len(came)} results while the network was down: they do not go over it")
        return over_ns

    return fault


def inside(hz: float, seed: int, profiles: str | None) -> dict[str, Any]:
    """Run in a namespace that was made for it, the node with a file of Fast DDS's profiles; return the figures.

    Args:
        hz: images per second.
        seed: of chance.
        profiles: for the node; empty for Fast DDS's own settings, None for what the node chooses.
    """
    os.environ["FASTDDS_BUILTIN_TRANSPORTS"] = TRANSPORT
    environment = ["env", *(f"{name}={profiles}" for name in VARIABLES if profiles is not None)]
    with joined_namespace() as cable, soaking(hz, *SIZE, seed, [*cable.enter, *environment]) as soak:
        soak.begin()
        for end in range(len(cable.ends)):
            for name, seconds in OUTAGES_S.items():
                time.sleep(QUIET_S)
                soak.inflict(name, outage(cable, end, seconds))
        soak.inflict("paused", paused)  # services answer, too
        return soak.figures()


def main(argv: list[str] | None = None) -> int:
    """Run this again in a namespace, or say why there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hz", type=float, default=30.0, help="images per second (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument(
        "--profiles",
        metavar="FILE",
        help="of Fast DDS, for the node; '' for Fast DDS's own settings (default: the node's choice)",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="the figures as JSON, instead of on the screen")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = sys.argv[1:] if argv is None else argv
    options = parser.parse_args(arguments)
    end_with_parent()
    if options.inside:
        figures = inside(options.hz, options.seed, options.profiles)
    else:
        try:
            way = way_in()
        except NamespaceError as error:
            figures = {"skipped": f"no network namespaces: {error}"}
        else:
            command = [*way, sys.executable, __file__, "--inside", *arguments]
            os.execvp(command[0], command)
    if options.report is None:
        print(json.dumps(figures, indent=1))
    else:
        options.report.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
