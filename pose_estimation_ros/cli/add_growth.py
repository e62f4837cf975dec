"""How a bundle grows while it is trained: when it is looked at, in words, and what to expect at the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FROM_S = 300.0  # trainings of less time are not looked at before their end
BETWEEN_S = 120.0  # of training between looks, at least
_COST = 0.02  # share of the whole time for one look
_LEAST_COST_S = 20.0  # networks have to be loaded, and views of the objects tabled
_MOST = 2


@dataclass(frozen=True)
class Look:
    """What was found in rendered scenes at one time of the training."""

    minutes: float  # from the beginning
    share: float  # of the training that was done
    network: str  # that was being trained
    samples: int  # that it had seen
    detector: str  # the best one
    backend: str  # the best one
    scenes: int
    objects: int  # in them that are at least 30 % visible
    found: float  # share of these
    wrong: float  # poses an image
    seconds: float  # that the look took


def look_shares(seconds: float, training_s: float) -> list[float]:
    """Return after which shares of the training to look at what it has brought.

    Args:
        seconds: whole time.
        training_s: time of it for training.
    """
    count = min(_MOST, int(training_s / BETWEEN_S) - 1) if seconds >= FROM_S else 0
    return [(number + 1) / (count + 1) for number in range(count)]


def look_cost_s(seconds: float) -> float:
    """Return how long a look may take in a training of so many seconds, about."""
    return max(_COST * seconds, _LEAST_COST_S)


def expected_found(looks: Sequence[Look]) -> float | None:
    """Return which share of the objects is likely to be found at the end, or None where too little is known.

    The gain of the first stretch goes on per doubling of the samples, as learning curves do at best; nothing is
    promised where there was no gain.
    """
    if len(looks) < 2:
        return None
    before, last = looks[-2:]
    gain = (last.found - before.found) / math.log(last.share / before.share)
    return min(max(last.found + gain * math.log(1.0 / last.share), last.found), 1.0)


def look_words(looks: Sequence[Look], minutes: float) -> str:
    """Say what the last look showed, in one line.

    Args:
        looks: all of them.
        minutes: whole time.
    """
    last, expected = looks[-1], expected_found(looks)
    text = (
        f"after {last.minutes:.1f} of {minutes:g} minutes: {100.0 * last.found:.0f} % of the {last.objects} objects "
        f"found on {last.scenes} rendered scenes, {last.wrong:.1f} wrong poses an image"
    )
    return text if expected is None else f"{text}; about {100.0 * expected:.0f} % at the end"


def growth_table(looks: Sequence[Look]) -> list[str]:
    """Return a section of the report about what was found while the bundle was trained; nothing without looks."""
    if not looks:
        return []
    expected = expected_found(looks)
    scenes = looks[0].scenes
    promised = "" if expected is None else f" About {100.0 * expected:.0f} % was expected at the end."
    lines = [
        "",
        "## How it grew",
        "",
        f"Tried while it was trained, on the same {scenes} rendered scenes each time, not those above.{promised}",
        "",
        "| minutes | network in training | its samples | detector | backend | found % | wrong poses an image |",
        "| --: | --- | --: | --- | --- | --: | --: |",
    ]
    return lines + [
        f"| {look.minutes:.1f} | {look.network} | {look.samples} | {look.detector} | {look.backend} "
        f"| {100.0 * look.found:.0f} | {look.wrong:.1f} |"
        for look in looks
    ]
