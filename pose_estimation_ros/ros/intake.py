"""Bring every image together with its camera_info: the one with its stamp, else the newest earlier one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WAIT_S = 0.02  # an image waits this long for a camera_info that is expected to follow it


@dataclass(frozen=True)
class Arrival:
    """An image with its camera_info, as messages."""

    image: Any  # sensor_msgs/Image or CompressedImage
    info: Any  # sensor_msgs/CameraInfo
    received_s: float  # time.perf_counter() at receipt of the image


class Intake:
    """Pair images with camera_info and pass the pairs on.

    An image whose camera_info may be on its way is held: when there is none yet, or when the image before had one with
    its very stamp. The owner calls `timeout` WAIT_S after `image` left something held.

    Args:
        deliver: called with every complete pair.
        keep: number of camera_infos that are remembered.
    """

    def __init__(self, deliver: Callable[[Arrival], None], keep: int = 30) -> None:
        self._deliver = deliver
        self._keep = keep
        self._infos: dict[int, Any] = {}
        self._held: tuple[int, Any, float] | None = None
        self._last_stamp_ns: int | None = None
        self._last_was_exact = False
        self.dropped = 0  # images that never got a camera_info: replaced by a newer one, or given up

    @property
    def is_holding(self) -> bool:
        """Tell whether an image waits for its camera_info."""
        return self._held is not None

    def image(self, stamp_ns: int, message: Any, received_s: float) -> None:
        """Take an image."""
        if self._held is not None:
            self.timeout()
        if self._held is not None:
            self.dropped += 1
        expects_exact = self._last_was_exact
        self._held = (stamp_ns, message, received_s)
        self._last_stamp_ns, self._last_was_exact = stamp_ns, False
        if stamp_ns in self._infos:
            self._release(stamp_ns)
        elif not expects_exact:
            self.timeout()

    def info(self, stamp_ns: int, message: Any) -> None:
        """Take a camera_info."""
        self._infos.pop(stamp_ns, None)
        self._infos[stamp_ns] = message
        while len(self._infos) > self._keep:
            del self._infos[next(iter(self._infos))]
        if stamp_ns == self._last_stamp_ns:
            self._last_was_exact = True  # it comes after its image; wait for it next time
        if self._held is None:
            return
        if stamp_ns == self._held[0]:
            self._release(stamp_ns)
        elif stamp_ns > self._held[0]:
            self.timeout()

    def timeout(self) -> None:
        """Stop waiting for the exact camera_info of the held image: take the newest earlier one if there is one."""
        if self._held is None:
            return
        earlier = [stamp for stamp in self._infos if stamp < self._held[0]]
        if earlier:
            self._release(max(earlier))

    def give_up(self) -> None:
        """Drop the held image: nothing more will come."""
        if self._held is not None:
            self.dropped += 1
            self._held = None

    def missing(self) -> str | None:
        """Say why the held image waits, None when none does."""
        if self._held is None:
            return None
        if not self._infos:
            return "no camera_info received"
        ahead_s = (min(self._infos) - self._held[0]) / 1e9
        if ahead_s <= 0.0:
            return None  # an earlier one is there and will do, if its own does not come soon
        return f"every camera_info is newer than the image, by {ahead_s:.3f} s or more; expected one of its stamp"

    def _release(self, info_stamp_ns: int) -> None:
        assert self._held is not None
        stamp_ns, message, received_s = self._held
        self._held = None
        self._last_was_exact = self._last_was_exact or info_stamp_ns == stamp_ns
        self._deliver(Arrival(message, self._infos[info_stamp_ns], received_s))
