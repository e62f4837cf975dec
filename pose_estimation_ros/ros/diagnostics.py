"""Counters and timings of the node, and the message on /diagnostics that tells them."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

OK, WARN, ERROR = 0, 1, 2
_FATES = ("received", "processed", "refused", "ignored")  # the node adds those that were dropped
STAGES = ("detection", "crops", "pose", "refinement", "verification", "tracking", "total")


@dataclass(frozen=True)
class FrameTimes:
    """Where the time of one frame went, in seconds."""

    latency_s: float  # receipt of the image to TF
    waited_s: float  # of these, in the mailbox while an earlier frame was in work
    stages_s: Mapping[str, float] = field(default_factory=dict)  # the pipeline's own; `total` is their sum

    @property
    def overhead_s(self) -> float:
        """Receipt to TF without the pipeline and without waiting for an earlier frame."""
        return self.latency_s - self.waited_s - self.stages_s.get("total", 0.0)


class Statistics:
    """Count frames and keep the timings of the newest ones; safe to use from several threads.

    Args:
        window: number of frames that medians and rates look back.
        clock: seconds, monotonic.
        stages: of whom medians are told.
    """

    def __init__(
        self, window: int = 100, clock: Callable[[], float] = time.monotonic, stages: Sequence[str] = STAGES
    ) -> None:
        self._clock = clock
        self._stages = tuple(stages)
        self._lock = threading.Lock()
        self._times: deque[FrameTimes] = deque(maxlen=window)
        self._finished_s: deque[float] = deque(maxlen=window)
        self._received_s: float | None = None
        self.counts: Counter[str] = Counter()

    def received(self) -> None:
        """Count an image that arrived."""
        with self._lock:
            self.counts["received"] += 1
            self._received_s = self._clock()

    def refused(self) -> None:
        """Count an image that could not be used."""
        with self._lock:
            self.counts["refused"] += 1

    def ignored(self) -> None:
        """Count an image that came while the node was paused."""
        with self._lock:
            self.counts["ignored"] += 1

    def processed(self, times: FrameTimes) -> None:
        """Count a frame that went all the way."""
        with self._lock:
            self.counts["processed"] += 1
            self._times.append(times)
            self._finished_s.append(self._clock())

    def seconds_since_image(self) -> float | None:
        """Return the seconds since the last image, None when there was none."""
        with self._lock:
            return None if self._received_s is None else self._clock() - self._received_s

    def seconds_since_result(self) -> float | None:
        """Return the seconds since the last frame that went all the way, None when there was none."""
        with self._lock:
            return self._clock() - self._finished_s[-1] if self._finished_s else None

    def frames_per_second(self) -> float:
        """Return the rate of finished frames over the last five seconds of the window."""
        with self._lock:
            now = self._clock()
            recent = [moment for moment in self._finished_s if now - moment <= 5.0]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / max(recent[-1] - recent[0], 1e-9)

    def values(self) -> dict[str, str]:
        """Return counts, rate and median times in milliseconds, ready for a DiagnosticStatus."""
        rate = self.frames_per_second()
        with self._lock:
            times = list(self._times)
            values = {f"frames_{key}": str(self.counts[key]) for key in _FATES}
        ages = {"image": self.seconds_since_image(), "result": self.seconds_since_result()}
        values.update({f"{name}_age_s": "" if age is None else f"{age:.1f}" for name, age in ages.items()})
        values["fps"] = f"{rate:.2f}"
        latencies = [item.latency_s for item in times]
        values["latency_ms_p50"] = _milliseconds(latencies, 50)
        values["latency_ms_p95"] = _milliseconds(latencies, 95)
        overheads = [item.overhead_s for item in times]
        values["overhead_ms"] = _milliseconds(overheads, 50)
        values["overhead_ms_p95"] = _milliseconds(overheads, 95)
        values["wait_ms"] = _milliseconds([item.waited_s for item in times], 50)
        for stage in self._stages:
            seconds = [item.stages_s[stage] for item in times if stage in item.stages_s]
            values[f"{stage}_ms"] = _milliseconds(seconds, 50)
        return values


def _milliseconds(seconds: list[float], percentile: float) -> str:
    return f"{1000.0 * np.percentile(seconds, percentile):.2f}" if seconds else ""


@dataclass(frozen=True)
class Problem:
    """Why an image gave no poses, or no transforms."""

    kind: str  # the same every time it comes: holds no stamp, count or measured value
    text: str  # this time's, with the values


def exception_kind(error: BaseException) -> str:
    """Name the class of an exception and the line that raised it, which stay while the values in its text change."""
    place, frame = "", error.__traceback__
    while frame is not None:
        place, frame = f" at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}", frame.tb_next
    return type(error).__name__ + place


class Problems:
    """Remember what is wrong now, and tell which kind of problem is new so that it is logged once.

    Args:
        memory: number of kinds that are remembered; the one longest not seen is forgotten first.
    """

    def __init__(self, memory: int = 100) -> None:
        self._memory = memory
        self._kinds: dict[str, None] = {}  # in the order in which they were last seen
        self.current: str | None = None

    def report(self, problem: Problem) -> bool:
        """Set the current problem and return whether its kind is new."""
        self.current = problem.text
        is_new = problem.kind not in self._kinds
        self._kinds.pop(problem.kind, None)
        self._kinds[problem.kind] = None
        if len(self._kinds) > self._memory:
            del self._kinds[next(iter(self._kinds))]
        return is_new

    def clear(self) -> None:
        """Note that things work now; a kind of problem that comes back is not logged again."""
        self.current = None

    def forget(self) -> None:
        """Start afresh: every kind of problem counts as new."""
        self.current = None
        self._kinds.clear()


def diagnostic_array(stamp: Any, name: str, level: int, message: str, values: Mapping[str, str]) -> Any:
    """Build a diagnostic_msgs/DiagnosticArray with one status."""
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    status = DiagnosticStatus(
        level=bytes([level]),
        name=name,
        message=message,
        hardware_id="",
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array
