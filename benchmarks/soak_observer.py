"""What soak.py sees of the node: results, their stamps and delays, and whether every image is accounted for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from pose_estimation_ros.ros.messages import stamp_to_ns

NODE = "/pose_estimation"
IN_WORK = 3  # images that may be between two counters: held, in the mailbox, in work
COUNTS = ("received", "processed", "refused", "dropped", "ignored")
SILENCE_S = 2.0  # between two results, or SLOW times the usual, what is more
SLOW = 5.0


@dataclass
class Result:
    """One message with detections."""

    stamp_ns: int
    arrived_s: float  # time.monotonic()
    poses: int


@dataclass
class Observer:
    """Keep what comes out of the node; only the thread of the executor appends."""

    node: Node
    results: list[Result] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    duplicates: int = 0
    stale: int = 0
    unaccounted: int = 0
    past: Counter[str] = field(default_factory=Counter)  # counts of processes that are gone
    counts: Counter[str] = field(default_factory=Counter)  # of the present process, by its newest diagnostics
    message: str = ""  # of the newest diagnostics
    state: str = ""  # of the lifecycle, by them; empty until the present process says it
    since_ns: int = 0  # when the present process was started

    def __post_init__(self) -> None:
        self._sent: set[tuple[str, int]] = set()
        many = QoSProfile(depth=200)
        self.node.create_subscription(TFMessage, "/tf", self._on_tf, many)
        self.node.create_subscription(Detection3DArray, f"{NODE}/detections", self._on_detections, many)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, many)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def close(self) -> None:
        """Stop listening."""
        self._executor.shutdown()
        self._thread.join(5.0)
        self.node.destroy_node()
        rclpy.try_shutdown()

    def new_process(self) -> None:
        """Note that the node's process is another one from now on: its counters begin anew."""
        self.past.update(self.counts)
        self.counts = Counter()
        self.state, self.since_ns = "", time.time_ns()

    def first_result_after(self, stamp_ns: int, timeout_s: float) -> Result | None:
        """Wait for the result of an image that is not older than a stamp."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            found = None
            for item in reversed(self.results):
                if item.stamp_ns < stamp_ns:
                    break
                found = item
            if found is not None:
                return found
            time.sleep(0.01)
        return None

    def silences(self, explained: list[tuple[float, float]]) -> list[float]:
        """Return the seconds between results, where they are too many, outside of explained intervals."""
        moments = np.array([item.arrived_s for item in self.results])
        gaps = np.diff(moments)
        limit_s = max(SILENCE_S, SLOW * float(np.median(gaps))) if len(gaps) else SILENCE_S
        return [
            float(gap)
            for start, gap in zip(moments, gaps, strict=False)
            if gap > limit_s and not any(low < start + gap and start < high for low, high in explained)
        ]

    def _on_tf(self, message: Any) -> None:
        for item in message.transforms:
            key = (item.child_frame_id, stamp_to_ns(item.header.stamp))
            self.duplicates += key in self._sent
            self._sent.add(key)

    def _on_detections(self, message: Any) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        self.latencies_ms.append((time.time_ns() - stamp_ns) / 1e6)
        self.stale += bool(self.results) and stamp_ns <= self.results[-1].stamp_ns
        self.results.append(Result(stamp_ns, time.monotonic(), len(message.detections)))

    def _on_diagnostics(self, message: Any) -> None:
        status = next((item for item in message.status if item.name == NODE), None)
        if status is None or stamp_to_ns(message.header.stamp) < self.since_ns:  # the last words of one that is gone
            return
        values = {item.key: item.value for item in status.values}
        self.message, self.state = status.message, values["state"]
        self.counts = Counter({name: int(values[f"frames_{name}"]) for name in COUNTS})
        left = self.counts["received"] - sum(self.counts[name] for name in COUNTS[1:])
        self.unaccounted += not 0 <= left <= IN_WORK
