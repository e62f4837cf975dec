"""One worker thread with a one-slot mailbox: the newest item wins, the callback never waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Run a function on the newest item in a thread of its own.

    Args:
        handle: called in the thread with an item and the seconds it waited while the thread was busy with another.
        on_error: called in the thread with an exception that `handle` let through; the thread goes on.
    """

    def __init__(self, handle: Callable[[Item, float], None], on_error: Callable[[Exception], None]) -> None:
        self._handle = handle
        self._on_error = on_error
        self._condition = threading.Condition()
        self._slot: tuple[Item, float, bool] | None = None  # item, time of arrival, thread was busy then
        self._busy = False
        self._free_since_s = 0.0
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.dropped = 0  # items replaced by a newer one before their turn

    def start(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: if it is running.
        """
        if self._thread is not None:
            raise RuntimeError("Worker.start: the worker is running, expected stop() first")
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="pose_worker", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Leave an item in the mailbox; an item that is still there is dropped and counted."""
        with self._condition:
            if self._slot is not None:
                self.dropped += 1
            self._slot = (item, time.perf_counter(), self._busy)
            self._condition.notify()

    def stop(self) -> None:
        """Let the item in work finish, drop the one in the mailbox, and end the thread."""
        if self._thread is None:
            return
        with self._condition:
            self._stopping = True
            if self._slot is not None:
                self.dropped += 1
                self._slot = None
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._thread = None

    def _run(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                self._free_since_s = time.perf_counter()
                self._condition.wait_for(lambda: self._slot is not None or self._stopping)
                if self._stopping:
                    return
                assert self._slot is not None
                item, arrived_s, was_busy = self._slot
                self._slot = None
                self._busy = True
            waited_s = max(self._free_since_s - arrived_s, 0.0) if was_busy else 0.0
            try:
                self._handle(item, waited_s)
            except Exception as error:  # the thread outlives every error
                self._on_error(error)
            del item
