"""What it takes for a training that goes on to be the one that never stopped: the same draws and the same sums.

Seeds follow from a place in the training, so that nothing of a random generator has to be kept: batch 812 is made from
the seed of batch 812, whichever process makes it and however the training came so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import numpy as np
import torch


class Draws(IntEnum):
    """What is drawn; each has seeds of its own."""

    BATCHES = 0
    STEPS = 1
    PHOTOS = 2
    PRIOR = 3


def place_seed(seed: int, draws: Draws, *place: int) -> int:
    """Return the seed of one place in a training.

    Args:
        seed: of the training, 0 or more.
        draws: what is drawn.
        place: for example the number of the batch.

    Returns:
        64 bits that are unlike those of all other places.
    """
    return int(np.random.SeedSequence((seed, draws, *place)).generate_state(1, np.uint64)[0])


def seed_step(seed: int, number: int, device: torch.device) -> None:
    """Seed torch's generators for a step, whose losses draw from them."""
    value = place_seed(seed, Draws.STEPS, number)
    torch.default_generator.manual_seed(value)  # torch.manual_seed takes 50 times as long where there is no GPU
    if device.type == "cuda":
        torch.cuda.manual_seed(value)


@contextmanager
def deterministic_sums(device: torch.device) -> Iterator[None]:
    """Let threads add numbers in one order, on a CPU; a GPU has no such order for all that is trained here."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        memory.fill_uninitialized_memory = False  # nothing here reads what it has not written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = filled
