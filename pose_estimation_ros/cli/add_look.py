"""Look at a bundle while it is trained: what it finds in a few rendered scenes so far."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pose_estimation_ros.cli.add_held_out import Outcome, held_out_scenes, pipelines, tried, usable_methods
from pose_estimation_ros.data.pose_scenes import PoseScene
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.training.progress import training_bar
from pose_estimation_ros.training.stop_signals import StopSignals

_SEED = 71_993  # of no training, nor of the report
FEWEST, MOST = 4, 8  # scenes


def best_so_far(path: Path, photos: Path | None, device: str, budget_s: float, count: int | None) -> Outcome | None:
    """Try the detectors and backends of a bundle with the weights that it has.

    Args:
        path: of the bundle.
        photos: pictures as backgrounds.
        device: cpu or cuda.
        budget_s: time that it may take, about; there are at least four scenes.
        count: how many scenes; None for as many as the time allows.

    Returns:
        What the best of them found; None where there are no networks for poses.

    Raises:
        KeyboardInterrupt: if the user interrupts.
        ValueError: if a network cannot be loaded.
    """
    bundle, started = load_bundle(path), time.monotonic()
    trials, outcomes = len(usable_methods(bundle)), list[Outcome]()
    most, until = count or MOST, started + budget_s / max(trials, 1) if count is None else math.inf
    with StopSignals() as stop, training_bar(most * trials, 0, "held-out scenes") as bar:
        scenes = list(islice(held_out_scenes(bundle, _SEED, photos), most)) if trials else []
        for pipeline in pipelines(bundle, device):
            outcomes.append(tried(pipeline, _in_time(scenes, until, stop, bar)))
            scenes, until = scenes[: outcomes[0].scenes], math.inf  # all of them see the same scenes
        if stop.received:
            raise KeyboardInterrupt
    return max(outcomes, key=lambda item: item.quality, default=None)


def _in_time(scenes: Sequence[PoseScene], until: float, stop: StopSignals, bar: Any) -> Iterator[PoseScene]:
    """Yield scenes until the time is over, a few in any case."""
    for number, scene in enumerate(scenes):
        if stop.received:
            raise KeyboardInterrupt
        if number >= FEWEST and time.monotonic() > until:
            return
        yield scene
        bar.update(1)
