"""Time of the stages of a computation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch


class Stopwatch:
    """Measure stages; waits for the GPU, which otherwise works on after the call has returned.

    Args:
        device: where the stages run.
        stages: their names.
    """

    def __init__(self, device: torch.device, stages: Sequence[str]) -> None:
        self._device = device
        self._stages = dict.fromkeys(stages, 0.0)
        self._start_s = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add what happens inside to a stage."""
        start_s = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._stages[name] += time.perf_counter() - start_s

    def finish(self) -> dict[str, float]:
        """Return seconds per stage and in total."""
        return {**self._stages, "total": time.perf_counter() - self._start_s}
