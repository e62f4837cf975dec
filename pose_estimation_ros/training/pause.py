"""A place where a training is to stop for a while, so that what it has learnt can be tried."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Pause:
    """Ask a training to stop as soon as it has seen so many samples, as if interrupted.

    It writes its checkpoint and its averaged weights, and goes on from there with `TrainingRun.resume`, to the last bit
    as if it had never stopped.
    """

    at_samples: int
    reached: bool = False  # written by the training; stays False where the user interrupted it
