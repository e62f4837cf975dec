"""Numbers that hands keep from image to image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np

from pose_estimation_ros.tracking.association import assign, pose_costs

_REACH_M = 0.25  # that a palm moves between two images
_FORGOTTEN_S = 1.0  # after which the number of a hand that is not seen is free again
_NO_SYMMETRY = np.eye(4)[None]


class HandNumbers:
    """Give every hand the number of the one that was nearest to it, else the lowest one that is free."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, np.ndarray]] = {}  # number to stamp and palm's pose

    def assign(self, palms: Sequence[np.ndarray], stamp_ns: int) -> list[int]:
        """Return the numbers of hands with palms (3,) in metres; stamps that go back start afresh."""
        self._seen = {
            number: (stamp, pose)
            for number, (stamp, pose) in self._seen.items()
            if 0 <= stamp_ns - stamp <= _FORGOTTEN_S * 1e9
        }
        poses = []
        for palm in palms:
            pose = np.eye(4)
            pose[:3, 3] = palm
            poses.append(pose)
        known = list(self._seen)
        before = [self._seen[number][1] for number in known]
        given = {column: known[row] for row, column in assign(*pose_costs(before, poses, _NO_SYMMETRY, _REACH_M))}
        free = (number for number in count() if number not in self._seen)
        numbers = [given[place] if place in given else next(free) for place in range(len(poses))]
        self._seen |= {number: (stamp_ns, pose) for number, pose in zip(numbers, poses, strict=True)}
        return numbers
