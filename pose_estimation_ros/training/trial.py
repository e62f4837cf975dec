"""Trials: trainings of seconds that give tiny networks, to see that a method works from training to drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What recipes of trials have in common: few views, made in this process, and no time to warm up.
TINY: Mapping[str, Any] = {
    "workers": 0,
    "bank": {"views": 16, "clutter": 1, "clutter_views": 2, "size": 32, "backgrounds": 2},
    "optimiser": {"batch": 8, "learning_rate": 3e-3, "warmup_samples": 8, "ema_samples": 8},
}


@dataclass(frozen=True)
class Trial:
    """A training of seconds. The tests of what all methods promise begin with it."""

    recipe: Mapping[str, Any]  # keys of the recipe
    # Settings of the method with which a network that has learned nothing yet finds something, and soon.
    settings: Mapping[str, Any] = field(default_factory=dict)
