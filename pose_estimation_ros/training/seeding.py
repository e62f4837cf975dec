"""Seeds that follow from a place in a training, so that a training that goes on draws what it would have drawn.

Nothing of a random generator is kept: batch 812 is made from the seed of batch 812, whichever process makes it and
however the training came so far.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Draws(IntEnum):
    """What is drawn; each has seeds of its own."""

    BATCHES = 0
    STEPS = 1


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
