"""One run of soak.py: faults come, recoveries are timed, and everything about the node is watched."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from soak_bench import ANSWER_S, Bench, SoakError, commands, light_bundle
from soak_observer import Observer

WARM_UP_S = 20.0  # memory counts after it


@dataclass
class Soak:
    """What happened when, and what it led to."""

    bench: Bench
    recoveries_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    starts_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    explained: list[tuple[float, float]] = field(default_factory=list)  # intervals of faults
    memory_bytes: list[int] = field(default_factory=list)
    ready_s: float = float("inf")  # since when the node works; memory counts no more where it is infinite
    crashes: int = 0
    is_over: bool = False

    def begin(self) -> None:
        """Start everything, and wait for the first result."""
        for name in ("node", "camera", "consumer"):
            self.bench.start(name)
        threading.Thread(target=self._watch, daemon=True).start()
        self.inflict("start", _started)
        self.ready_s = time.monotonic()

    def inflict(self, name: str, fault: Callable[[Bench], int]) -> None:
        """Let one fault come, and time the recovery from it."""
        begin_s, begin_ns = time.monotonic(), time.time_ns()
        self.bench.start_s = None
        try:
            over_ns = fault(self.bench)
            result = self.bench.observer.first_result_after(over_ns, ANSWER_S)
            if result is None:
                raise SoakError(f"no result within {ANSWER_S:g} s: {self.bench.observer.message}")
            self.recoveries_s[name].append(result.arrived_s - begin_s - (over_ns - begin_ns) / 1e9)
            if self.bench.start_s is not None:
                self.starts_s[name].append(self.bench.start_s)
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
        """Return the report, after the last fault."""
        self.is_over = True
        time.sleep(1.0)  # the last diagnostics
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
                name: {"times": len(values), "start_s": _longest(self.starts_s[name]), "recovery_s": _longest(values)}
                for name, values in self.recoveries_s.items()
            },
            "errors": self.errors,
        }


@contextmanager
def soaking(hz: float, width: int, height: int, seed: int, node_prefix: Sequence[str] = ()) -> Iterator[Soak]:
    """Make a run in a temporary folder, and end its processes afterwards, and when this process is told to end."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(10 + os.getpid() % 90))
    signal.signal(signal.SIGTERM, _leave)
    with tempfile.TemporaryDirectory(prefix="soak_") as folder:
        bundle, log = light_bundle(Path(folder)), Path(folder) / "log.txt"
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        observer = Observer(Node("soak"))
        bench = Bench(observer, commands(bundle, hz, width, height, node_prefix), bundle, log, random.Random(seed))
        soak = Soak(bench)
        try:
            yield soak
        finally:
            for process in bench.processes.values():
                bench.is_ours.add(process.pid)
                process.kill()
                process.wait()
            observer.close()
            if soak.errors and log.is_file():
                sys.stderr.write(log.read_text(errors="replace")[-4000:])


def _started(bench: Bench) -> int:
    bench.wait_until_active()
    return time.time_ns()


def _longest(seconds: list[float]) -> float | None:
    return round(max(seconds), 2) if seconds else None


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


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
