"""Decide which estimate of a frame belongs to which known instance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from pose_estimation_ros.geometry.symmetry import symmetric_distance

_FORBIDDEN = 1e6


def associate(
    known: Sequence[np.ndarray], estimated: Sequence[np.ndarray], transforms: np.ndarray, reach_m: float
) -> list[tuple[int, int]]:
    """Pair known and estimated poses of one kind of object so that the sum of the distances is least.

    The distance of a pair is that of the origins in units of the reach plus the symmetry-aware angle in units of pi,
    so that an estimate that is as near to two instances goes to the one that is turned alike.

    Args:
        known: poses of the instances where they were last seen, shape (4, 4) each, metres.
        estimated: poses of this frame, shape (4, 4) each, metres.
        transforms: symmetries of the object from `symmetry_transforms`, shape (S, 4, 4).
        reach_m: pairs farther apart than this stay apart.

    Returns:
        Pairs of indices into known and estimated; every index at most once.
    """
    if not known or not estimated:
        return []
    cost = np.full((len(known), len(estimated)), _FORBIDDEN)
    for row, before in enumerate(known):
        for column, now in enumerate(estimated):
            angle, metres = symmetric_distance(before, now, transforms)
            if metres <= reach_m:
                cost[row, column] = metres / reach_m + angle / math.pi
    rows, columns = linear_sum_assignment(cost)
    return [
        (int(row), int(column)) for row, column in zip(rows, columns, strict=True) if cost[row, column] < _FORBIDDEN
    ]
