"""Notice when the clock of the images was set back: a recording that starts again, a simulation that was reset."""

from __future__ import annotations

CLOCK_JUMP_NS = 1_000_000_000  # stamps that go back further start afresh; by less they only come out of order


class ClockJumps:
    """Compare the stamp of every image with the one before."""

    def __init__(self) -> None:
        self._last_ns: int | None = None

    def went_back(self, stamp_ns: int) -> bool:
        """Tell whether the clock went back since the image before; the first image has none."""
        last, self._last_ns = self._last_ns, stamp_ns
        return last is not None and stamp_ns < last - CLOCK_JUMP_NS
