"""The chance that a pose is right, from what speaks for it and against it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pose_estimation_ros.objects.score_entry import ScoreEntry, ScoreTerm

RIGHT_SHARE = 0.05  # of the distance, by which the translation of a right pose is wrong at most


def probabilities(entry: ScoreEntry, evidence: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the probabilities (N,) that poses are right.

    A pose is right if its translation is within 5 % of its distance of that of a true object of its class. That asks
    for what a gripper needs first, an object where one is said to be, and tells false alarms, wrong classes and gross
    errors of distance; it does not ask for the rotation.

    Args:
        entry: the weights.
        evidence: see `gather_evidence`, (N,) each.

    Raises:
        ValueError: if a piece of evidence has no such name.
    """
    unknown = sorted(set(entry.terms) - set(evidence))
    if unknown:
        raise ValueError(
            f"score of {entry.backend} and {entry.refiner}: terms.{unknown[0]}: expected one of "
            f"{', '.join(sorted(evidence))}"
        )
    odds = np.full(len(next(iter(evidence.values()))), entry.intercept)
    for name, term in entry.terms.items():
        odds += term.weight * bounded(evidence[name], term)
    return 1.0 / (1.0 + np.exp(-odds))


def bounded(values: np.ndarray, term: ScoreTerm) -> np.ndarray:
    """Return values (N,) within the limits of a term, its usual value where they are unknown."""
    return np.clip(np.where(np.isnan(values), term.usual, values), term.low, term.high)
