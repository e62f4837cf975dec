"""What is known of an instance over time, whether it is seen now or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrackState:
    """One instance after a frame."""

    name: str
    track_id: int
    state: Literal["new", "seen", "unseen"]  # new: not seen often enough to be published
    age_s: float  # since the image in which it was first seen
    unseen_s: float  # since the image in which it was last seen
    frames: int  # in which it was seen
    alternatives: int = 0  # poses between which and the published one its estimates alternate
