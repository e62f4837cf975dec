"""Ctrl-C and SIGTERM while a node runs: the first ends it, the others do not disturb the end."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType, TracebackType

NUMBERS = (signal.SIGINT, signal.SIGTERM)
PATIENCE_S = 5.0  # a signal so long after the first ends a process that has not ended of itself


class ShutdownSignals:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM, once, and bear the following ones.

    Entered before rclpy.init, whose own handlers pass signals on to those of before, and left after its shutdown.
    """

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._is_ending = False

    def __enter__(self) -> ShutdownSignals:
        self._before = {number: signal.signal(number, self._answer) for number in NUMBERS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def came(self) -> bool:
        """Whether there was a signal."""
        return self._first_s is not None

    def ending(self) -> None:
        """Bear the first signal as well: the node is being taken down already."""
        self._is_ending = True

    def _answer(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self._first_s is None:
            self._first_s = now_s
            if not self._is_ending:
                raise KeyboardInterrupt
        elif now_s - self._first_s > PATIENCE_S:
            os._exit(1)
