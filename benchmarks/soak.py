"""Let the node work for minutes while everything about it goes wrong, and count what it does.

    python benchmarks/soak.py --minutes 10 --hz 30 --report out/soak.json [--width 1920 --height 1080]

A camera, the node and a consumer run as processes of their own. The faults of soak_faults.py come one after the other,
in an order of chance, while the node's memory is watched; when the minutes are over it is killed and signalled, too.
Exit code 1 where a promise of docs/reliability.md is broken, but for those that depend on the speed of the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import yaml
from rclpy.node import Node
from soak_faults import ANSWER_S, FAULTS, RESTARTS, Bench, SoakError
from soak_observer import Observer

from pose_estimation_ros.evaluation.results import add_result_option, origin_of, write_result
from pose_estimation_ros.objects.bundle import find_bundle

DETECTOR_SIZE_PX = 192  # of the light bundle
SETTINGS = {
    "backend": "heatmaps",
    "second_looks.enabled": "false",
    "verification.enabled": "false",
    "diagnostics_period_s": "0.2",
}
QUIET_S = 3.0  # between two faults
WARM_UP_S = 20.0  # memory counts after it


def light_bundle(folder: Path) -> Path:
    """Copy the demo bundle, with a detector that looks at smaller images."""
    target = folder / "light"
    shutil.copytree(find_bundle("demo"), target, ignore=shutil.ignore_patterns("sequence"))
    file = target / "bundle.yaml"
    content = yaml.safe_load(file.read_text())
    content["networks"]["detector"]["input_size"] = DETECTOR_SIZE_PX
    file.write_text(yaml.safe_dump(content))
    return target


def commands(bundle: Path, options: argparse.Namespace) -> dict[str, list[str]]:
    """Return the commands of the processes."""
    peers = [sys.executable, str(Path(__file__).with_name("soak_peers.py"))]
    size = ["--width", str(options.width), "--height", str(options.height)]
    parameters = [word for name, value in SETTINGS.items() for word in ("-p", f"{name}:={value}")]
    node = [sys.executable, "-m", "pose_estimation_ros.ros.start", "--ros-args", "-p", f"bundle:={bundle}", *parameters]
    return {
        "node": node,
        "camera": [*peers, "camera", "--hz", str(options.hz), *size],
        "consumer": [*peers, "consumer"],
    }


@dataclass
class Soak:
    """One run: what happened when, and what it led to."""

    bench: Bench
    end_s: float
    recoveries_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    explained: list[tuple[float, float]] = field(default_factory=list)  # intervals of faults
    memory_bytes: list[int] = field(default_factory=list)
    ready_s: float = float("inf")  # since when the first process of the node works
    crashes: int = 0
    is_over: bool = False

    def run(self) -> None:
        """Start everything, let faults come until the time is over, and last those that end the node."""
        for name in ("node", "camera", "consumer"):
            self.bench.start(name)
        threading.Thread(target=self._watch, daemon=True).start()
        self._inflict("start", lambda bench: time.time_ns())
        self.ready_s = time.monotonic()
        names, rounds = list(FAULTS), 0
        while not rounds or time.monotonic() < self.end_s:  # every fault once at least
            self.bench.random.shuffle(names)
            for name in names:
                if not rounds or time.monotonic() < self.end_s:
                    time.sleep(QUIET_S)
                    self._inflict(name, FAULTS[name])
            rounds += 1
        self.ready_s = float("inf")  # another process has another memory
        for name, fault in RESTARTS.items():
            self._inflict(name, fault)
        self.is_over = True

    def _inflict(self, name: str, fault: Any) -> None:
        begin_s, begin_ns = time.monotonic(), time.time_ns()
        try:
            over_ns = fault(self.bench)
            result = self.bench.observer.first_result_after(over_ns, ANSWER_S)
            if result is None:
                raise SoakError(f"no result within {ANSWER_S:g} s: {self.bench.observer.message}")
            self.recoveries_s[name].append(result.arrived_s - begin_s - (over_ns - begin_ns) / 1e9)
            print(f"{name}: {self.recoveries_s[name][-1]:.2f} s", flush=True)
        except SoakError as error:
            self.errors.append(f"{name}: {error}")
            print(f"{name}: FAILED: {error}", flush=True)
        self.explained.append((begin_s, time.monotonic()))

    def _watch(self) -> None:
        """Read what new cameras say, note the node's memory, and what ended of itself."""
        read: set[int] = set()
        ended: set[int] = set()
        while not self.is_over:
            for name, process in list(self.bench.processes.items()):
                if name == "camera" and process.pid not in read:
                    read.add(process.pid)
                    threading.Thread(target=self.bench.read_camera, args=(process,), daemon=True).start()
                if process.poll() is not None and process.pid not in self.bench.is_ours | ended:
                    ended.add(process.pid)
                    self.crashes += 1
                    self.errors.append(f"{name} ended of itself with exit code {process.returncode}")
            if time.monotonic() > self.ready_s + WARM_UP_S:
                with suppress(FileNotFoundError, ProcessLookupError):  # it has ended, which the next round tells
                    self.memory_bytes.append(_resident_bytes(self.bench.processes["node"].pid))
            time.sleep(1.0)

    def figures(self) -> dict[str, Any]:
        """Return the report."""
        observer, bench = self.bench.observer, self.bench
        counts = observer.past + observer.counts
        silences = observer.silences(self.explained)
        latency = {f"latency_ms_p{part}": _percentile(observer.latencies_ms, part) for part in (50, 95, 99)}
        return {
            "frames_sent": bench.sent,
            "frames_in": counts["received"],
            "frames_processed": counts["processed"],
            "frames_dropped": counts["dropped"],
            "frames_refused": counts["refused"],
            "frames_ignored": counts["ignored"],
            "poses": sum(item.poses for item in observer.results),
            "unexplained_gaps": len(silences) + observer.unaccounted,
            "duplicate_stamps": observer.duplicates,
            "stale_stamps": observer.stale,
            "poses_of_refused_frames": sum(item.poses for item in observer.results if item.stamp_ns in bench.refused),
            "crashes": self.crashes,
            "tracebacks": len(re.findall("^Traceback", bench.log.read_text(errors="replace"), re.MULTILINE)),
            "memory_mb": round(float(np.median(self.memory_bytes or [0])) / 1e6, 1),
            "memory_growth_percent": _growth_percent(self.memory_bytes),
            **latency,
            "faults": {
                name: {"times": len(values), "recovery_s": round(max(values), 2)}
                for name, values in self.recoveries_s.items()
            },
            "errors": self.errors,
        }


def _resident_bytes(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _percentile(values: list[float], part: int) -> float | None:
    return round(float(np.percentile(values, part)), 1) if values else None


def _growth_percent(memory_bytes: list[int]) -> float | None:
    """Compare the last fifth of a run with the first."""
    count = len(memory_bytes) // 5
    if not count:
        return None
    first, last = np.median(memory_bytes[:count]), np.median(memory_bytes[-count:])
    return round(100.0 * float(last / first - 1.0), 2)


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
    with tempfile.TemporaryDirectory(prefix="soak_") as folder:
        figures = _soak(Path(folder), options)
    print(json.dumps(figures, indent=1))
    if options.report is not None:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(json.dumps(figures, indent=1) + "\n")
    if options.result is not None:
        write_result(options.result, origin, figures, options.seed)
    broken = (
        "unexplained_gaps",
        "duplicate_stamps",
        "stale_stamps",
        "poses_of_refused_frames",
        "crashes",
        "tracebacks",
    )
    return 1 if figures["errors"] or not figures["poses"] or any(figures[name] for name in broken) else 0


def _soak(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    bundle = light_bundle(folder)
    os.environ.setdefault("ROS_DOMAIN_ID", str(10 + os.getpid() % 90))
    rclpy.init()
    observer = Observer(Node("soak"))
    bench = Bench(observer, commands(bundle, options), bundle, folder / "log.txt", random.Random(options.seed))
    soak = Soak(bench, time.monotonic() + 60.0 * options.minutes)
    try:
        soak.run()
        time.sleep(1.0)  # the last diagnostics
        return soak.figures()
    finally:
        for process in bench.processes.values():
            bench.is_ours.add(process.pid)
            process.kill()
            process.wait()
        observer.close()
        if soak.errors and bench.log.is_file():
            sys.stderr.write(bench.log.read_text(errors="replace")[-4000:])


if __name__ == "__main__":
    sys.exit(main())
