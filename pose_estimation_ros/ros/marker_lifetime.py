"""How long markers stay when the node that sent them is gone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise

PERIODS = 5.0  # of missing frames are borne before markers vanish
SHORTEST_S, LONGEST_S = 1.0, 60.0
_FIRST_S = 10.0  # before there is a period: first frames are slow


class MarkerLifetime:
    """Find the lifetime of markers from the pace of the frames: a few periods, so that they do not flicker.

    Args:
        clock: seconds, monotonic.
        window: number of frames that are looked back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, window: int = 5) -> None:
        self._clock = clock
        self._sent_s: deque[float] = deque(maxlen=window)

    def next_s(self) -> float:
        """Return the lifetime in seconds of markers that are sent now, and remember that they were."""
        self._sent_s.append(self._clock())
        periods = [after - before for before, after in pairwise(self._sent_s)]
        if not periods:
            return _FIRST_S
        return min(max(PERIODS * max(periods), SHORTEST_S), LONGEST_S)
