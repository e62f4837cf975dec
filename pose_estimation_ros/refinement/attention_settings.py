"""Settings of the refiner `attention`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AttentionSettings:
    """How often poses are compared, and what counts as losing them."""

    stages: int = 4  # the first with smaller images where the network wants that
    most_turn_deg: float = 60.0  # poses that were turned by more are put back
    most_distance_ratio: float = 1.35  # as are those moved nearer or farther by more
    likeness_margin: float = 0.01  # of the poses compared the last that is so nearly the one most like the photograph
    optimism: float = 1.7  # errors on photographs over those that networks trained on renders expect of themselves
    right_diameters: float = 0.1  # an error below this is a right pose; the score is the chance of it
    doubted_diameters: float | None = 0.1  # objects expected to be more wrong are tried in other rotations; None: none
    turns: int = 2  # other rotations that are refined, the most likely ones
    turn_gain: float = 0.2  # by which their misfit has to be lower
    likeness_weight: float = 3.0  # misfit: logarithm of the expected error, minus likeness times this
