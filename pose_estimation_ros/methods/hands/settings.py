"""Settings of the hand node."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from pose_estimation_ros.methods.domain import DOMAIN, Domain
from pose_estimation_ros.settings import Settings, setting


class HandSettings(Settings):
    """Where hands are looked for, and which of them are published."""

    near_m: float = setting(0.2, "Nearer pixels count as not measured.", ge=0.0, le=10.0)
    far_m: float = setting(1.2, "Pixels further away are background; leave body and table behind it.", gt=0.0, le=10.0)
    max_hands: int = setting(2, "Most hands of one image, the nearest first.", ge=1, le=10)
    side: Literal["right", "left"] = setting("right", "Which hands; left ones are mirrored for the network.")
    cube_side_m: float = setting(0.3, "Side of the cube about a hand; smaller for children's.", ge=0.1, le=0.6)
    passes: int = setting(
        2, "How often joints are regressed, each time in a cube about the palm that was found before.", ge=1, le=6
    )
    domain: Domain = setting("real", DOMAIN)
    min_area_m2: float = setting(0.0012, "Smaller surfaces are no part of a hand.", ge=0.0, le=0.1)
    max_area_m2: float = setting(
        0.04, "A cube with more surface in it holds a wall or a body, no hand.", gt=0.0, le=1.0
    )
    min_inside: float = setting(
        0.8, "Share of the joints that have to be inside the image; hands cut by its rim have fewer.", ge=0.0, le=1.0
    )
    min_score: float = setting(
        0.6,
        "Least share of joints that what was measured allows: on or behind the surface, and within the outline.",
        ge=0.0,
        le=1.0,
    )

    @model_validator(mode="after")
    def _has_a_range(self) -> HandSettings:
        if not self.near_m < self.far_m:
            raise ValueError(f"near_m = {self.near_m:g}, far_m = {self.far_m:g}: expected near_m to be the smaller one")
        return self
