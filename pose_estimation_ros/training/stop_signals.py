"""Signals that end a training between two steps."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class StopSignals:
    """Notes Ctrl-C and SIGTERM while it is entered, so that what is under way can be finished.

    A second Ctrl-C ends it at once.

    Attributes:
        received: whether one came.
    """

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> StopSignals:
        """Take over from the handlers in force."""
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = True
