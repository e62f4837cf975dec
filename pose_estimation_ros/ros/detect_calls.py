"""Calls of `~/detect`: each is answered by the first image that came after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rclpy.clock import Clock, ClockType
from rclpy.task import Future

if TYPE_CHECKING:
    from rclpy.node import Node


@dataclass(eq=False)
class _Call:
    since_s: float  # time.perf_counter() of the call
    answer: Future
    has_image: bool = False


class DetectCalls:
    """Let calls wait, and answer them; everything but `wait` may be called from any thread.

    Several calls may wait for the same image.

    Args:
        node: its executor goes on meanwhile.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._waiting: list[_Call] = []
        self._wake = node.create_guard_condition(lambda: None)  # an answer comes from another thread

    @property
    def want_image(self) -> bool:
        """Tell whether a call waits whose image has not come."""
        with self._lock:
            return any(not call.has_image for call in self._waiting)

    async def wait(self, timeout_s: float, late: Callable[[bool], str]) -> tuple[bool, str]:
        """Wait for an answer.

        Args:
            timeout_s: after which nothing more is waited for.
            late: says what was waited for in vain, told whether an image has come.

        Returns:
            Whether something was found, and what, or why nothing.
        """
        call = _Call(time.perf_counter(), Future(executor=self._node.executor))
        with self._lock:
            self._waiting.append(call)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on when simulated time stands still
        timer = self._node.create_timer(timeout_s, lambda: self._give_up(call, late), clock=steady)
        try:
            return await call.answer
        finally:
            self._node.destroy_timer(timer)

    def image_came(self, received_s: float) -> None:
        """Note that the image of those who wait is in the mailbox."""
        with self._lock:
            for call in self._of(received_s):
                call.has_image = True

    def wait_for(self, received_s: float) -> bool:
        """Tell whether a call waits for an image that came at a time of time.perf_counter()."""
        with self._lock:
            return bool(self._of(received_s))

    def answer(self, received_s: float, found: bool, text: str) -> None:
        """Answer whoever waits for an image that came at a time of time.perf_counter()."""
        with self._lock:
            self._resolve(self._of(received_s), found, text)

    def refuse(self, text: str) -> None:
        """Answer all who wait that nothing will come."""
        with self._lock:
            self._resolve(list(self._waiting), False, text)

    def _give_up(self, call: _Call, late: Callable[[bool], str]) -> None:
        text = late(call.has_image)
        with self._lock:
            self._resolve([call], False, text)

    def _of(self, received_s: float) -> list[_Call]:
        return [call for call in self._waiting if call.since_s <= received_s]

    def _resolve(self, calls: list[_Call], found: bool, text: str) -> None:
        for call in calls:
            if call in self._waiting:  # not answered meanwhile
                self._waiting.remove(call)
                call.answer.set_result((found, text))
        if calls:
            self._wake.trigger()
