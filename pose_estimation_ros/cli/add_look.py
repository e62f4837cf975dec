"""Look at a bundle while it is trained: what it finds in a few rendered scenes so far."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pose_estimation_ros.cli.add_held_out import Outcome, held_out_scenes, tried, usable_backends
from pose_estimation_ros.data.pose_scenes import PoseScene
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.training.progress import training_bar
from pose_estimation_ros.training.stop_signals import StopSignals

_SEED = 71_993  # of no training, nor of the report
FEWEST, MOST = 4, 8  # scenes


def best_so_far(path: Path, photos: Path | None, device: str, budget_s: float, count: int | None) -> Outcome | None:
    """Try the backends of a bundle with the weights that it has.

    Args:
        path: of the bundle.
        photos: pictures as backgrounds.
        device: cpu or cuda.
        budget_s: time that it may take, about; there are at least four scenes.
        count: how many scenes; None for as many as the time allows.

    Returns:
        What the best backend found; None where none has its networks.

    Raises:
        KeyboardInterrupt: if the user interrupts.
        ValueError: if a network cannot be loaded.
    """
    bundle, started = load_bundle(path), time.monotonic()
    backends, outcomes = usable_backends(bundle), list[Outcome]()
    most, until = count or MOST, started + budget_s / max(len(backends), 1) if count is None else math.inf
    with StopSignals() as stop, training_bar(most * len(backends), 0, "held-out scenes") as bar:
        scenes = list(islice(held_out_scenes(bundle, _SEED, photos), most)) if backends else []
        for backend in backends:
            outcomes.append(tried(bundle, backend, _in_time(scenes, until, stop, bar), device))
            scenes, until = scenes[: outcomes[0].scenes], math.inf  # all of them see the same scenes
        if stop.received:
            raise KeyboardInterrupt
    return max(outcomes, key=lambda item: item.found, default=None)


def _in_time(scenes: Sequence[PoseScene], until: float, stop: StopSignals, bar: Any) -> Iterator[PoseScene]:
    """Yield scenes until the time is over, a few in any case."""
    for number, scene in enumerate(scenes):
        if stop.received:
            raise KeyboardInterrupt
        if number >= FEWEST and time.monotonic() > until:
            return
        yield scene
        bar.update(1)
