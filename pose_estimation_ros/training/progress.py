"""One progress bar for several trainings that share a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from tqdm import tqdm

from pose_estimation_ros.training import processes

_shared: ContextVar[tqdm | None] = ContextVar("shared_bar", default=None)


@contextmanager
def shared_bar(seconds: float) -> Iterator[None]:
    """Let all trainings inside move one bar, which is full after so many seconds."""
    with tqdm(
        total=round(seconds), unit="s", mininterval=2.0, bar_format="{l_bar}{bar}| {remaining} left{postfix}"
    ) as bar:
        token = _shared.set(bar)
        try:
            yield
        finally:
            _shared.reset(token)


def training_bar(total: int, initial: int, description: str) -> Any:
    """Return the bar of one training: its own, or its part of the shared one."""
    shared = _shared.get()
    if shared is None:
        quiet = not processes.is_first()
        return tqdm(total=total, initial=initial, desc=description, unit="img", mininterval=5.0, disable=quiet)
    return _Part(shared, total, initial, description)


class _Part:
    """Moves the shared bar by the time that passes, and shows how far this training is."""

    def __init__(self, bar: tqdm, total: int, initial: int, description: str) -> None:
        self._bar, self._total, self._seen = bar, total, initial
        self._last = time.monotonic()
        bar.set_description(description)

    def __enter__(self) -> _Part:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.refresh()

    def update(self, samples: int) -> None:
        """Count samples."""
        now = time.monotonic()
        self._seen += samples
        self._bar.update(min(now - self._last, max(self._bar.total - self._bar.n, 0.0)))
        self._last = now

    def set_postfix(self, figures: Mapping[str, str], refresh: bool = True) -> None:
        """Show figures beside the number of samples."""
        self._bar.set_postfix({"samples": f"{self._seen:,}/{self._total:,}", **figures}, refresh=refresh)
