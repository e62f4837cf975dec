"""Let the node work for minutes while everything about it goes wrong, and count what it does.

    python benchmarks/soak.py --minutes 10 --hz 30 --report out/soak.json [--width 1920 --height 1080]

A camera, the node and a consumer run as processes of their own. The faults of soak_faults.py come one after the other,
in an order of chance, while the node's memory is watched; when the minutes are over it is killed and signalled, too.
Last, soak_network.py takes the network down, with other processes. Exit code 1 where a promise of docs/reliability.md
is broken, but for those that depend on the speed of the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from soak_bench import SoakError
from soak_faults import FAULTS, RESTARTS
from soak_network import OUTAGES_S
from soak_run import Soak, soaking

from pose_estimation_ros.evaluation.results import add_result_option, origin_of, write_result
from pose_estimation_ros.ros.parent_process import VARIABLE as ENDS_WITH

QUIET_S = 3.0  # between two faults
BROKEN = ("unexplained_gaps", "duplicate_stamps", "stale_stamps", "poses_of_refused_frames", "crashes", "tracebacks")
ADDED = (*BROKEN, "errors")  # figures that another phase adds to


def run(soak: Soak, minutes: float) -> None:
    """Let faults come until the time is over, every one once at least, and last those that end the node."""
    end_s = time.monotonic() + 60.0 * minutes
    soak.begin()
    names, rounds = list(FAULTS), 0
    while not rounds or time.monotonic() < end_s:
        soak.bench.random.shuffle(names)
        for name in names:
            if not rounds or time.monotonic() < end_s:
                time.sleep(QUIET_S)
                soak.inflict(name, FAULTS[name])
        rounds += 1
    soak.ready_s = float("inf")  # another process has another memory
    for name, fault in RESTARTS.items():
        soak.inflict(name, fault)


def network_figures(hz: float, seed: int) -> dict[str, Any]:
    """Run soak_network.py and return its report.

    Raises:
        SoakError: if it made none.
    """
    with tempfile.TemporaryDirectory(prefix="soak_") as folder:
        report = Path(folder) / "network.json"
        script = str(Path(__file__).with_name("soak_network.py"))
        command = [sys.executable, script, "--hz", str(hz), "--seed", str(seed), "--report", str(report)]
        with subprocess.Popen(command, env={**os.environ, ENDS_WITH: str(os.getpid())}) as process:
            try:
                process.wait()
            finally:
                process.terminate()  # where this process is told to end; the other one then clears up
        if not report.is_file():
            raise SoakError(f"soak_network.py ended without a report, exit code {process.returncode}")
        return dict(json.loads(report.read_text()))


def with_network(figures: dict[str, Any], network: dict[str, Any]) -> dict[str, Any]:
    """Add the network's report to the figures, or why there is none.

    Frames, latency and memory stay those of the first, which has the transport that users have on one machine.
    """
    if "skipped" in network:
        return {**figures, "faults_skipped": dict.fromkeys(OUTAGES_S, network["skipped"])}
    faults = {name: value for name, value in network["faults"].items() if name in OUTAGES_S}
    added = {name: figures[name] + network[name] for name in ADDED}
    return {**figures, **added, "faults": {**figures["faults"], **faults}, "faults_skipped": {}}


def main(argv: list[str] | None = None) -> int:
    """Run the soak, print and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="every fault comes once at least (default: %(default)s)"
    )
    parser.add_argument("--hz", type=float, default=30.0, help="images per second (default: %(default)s)")
    parser.add_argument("--width", type=int, default=640, help="of the images (default: %(default)s)")
    parser.add_argument("--height", type=int, default=480, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the faults' order (default: %(default)s)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="the figures as JSON")
    add_result_option(parser)
    options = parser.parse_args(argv)
    for name in ("minutes", "hz", "width", "height"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name} {getattr(options, name)}: expected a number above 0")
    origin = origin_of("python benchmarks/soak.py", argv)
    with soaking(options.hz, options.width, options.height, options.seed) as soak:
        run(soak, options.minutes)
        figures = soak.figures()
    try:
        figures = with_network(figures, network_figures(options.hz, options.seed))
    except SoakError as error:
        figures["errors"].append(str(error))
    for name, reason in figures.get("faults_skipped", {}).items():
        print(f"{name}: skipped: {reason}", flush=True)
    print(json.dumps(figures, indent=1))
    if options.report is not None:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(json.dumps(figures, indent=1) + "\n")
    if options.result is not None:
        write_result(options.result, origin, figures, options.seed)
    return 1 if figures["errors"] or not figures["poses"] or any(figures[name] for name in BROKEN) else 0


if __name__ == "__main__":
    sys.exit(main())
