"""Settings of the refiner `attention`."""

from __future__ import annotations

from typing import Literal

from pose_estimation_ros.methods.render_compare_settings import RenderCompareSettings
from pose_estimation_ros.methods.view_search_settings import ViewSearchSettings
from pose_estimation_ros.settings import setting


class RotationSearchSettings(ViewSearchSettings):
    """How other rotations of an object are looked for, of which one is known already."""

    turns: Literal["half", "right"] = setting(
        "right", "By which angles about its own axes the pose is turned as well: half turns, or right angles."
    )
    hopeless_error: float = setting(
        10.0,
        "None is compared at the full size if the best in small images is expected to be more wrong than this, in "
        "diameters.",
        gt=0.0,
    )


class AttentionSettings(RenderCompareSettings):
    """How often poses are compared, and what counts as going astray."""

    stages: int = setting(4, "Comparisons of each pose, the coarse ones of the network among them.", ge=1, le=32)
    coarse_stages: int = setting(
        1,
        "How many of them see small images, if the network was made for some (then no fewer than it was made for), and "
        "never the last one. Only where two stages, or one and the start, are of the full size, the likeliest pose is "
        "chosen, with a covariance.",
        ge=1,
        le=32,
    )
    compare_start: bool = setting(
        True,
        "After coarse stages the pose they began with is compared at the full size, too, and kept if it is the best.",
    )
    max_rotation_deg: float = setting(
        60.0, "Poses that were turned by more degrees are rejected and keep where they began.", gt=0.0, le=180.0
    )
    max_distance_ratio: float = setting(
        1.35, "Poses that were moved nearer or farther by a larger factor are rejected.", gt=1.0
    )
    retry_error_threshold: float = setting(
        0.07, "Objects expected to be more wrong, in diameters, are tried in other rotations.", gt=0.0
    )
    confirming_deg: float = setting(
        0.0,
        "Where the likeliest of the other rotations leads back to the pose, to so many degrees, the pose is confirmed "
        "and no other is compared at the full size; 0 always compares.",
        ge=0.0,
        le=180.0,
    )
    rotation_hypotheses: int = setting(
        4, "Other rotations that are refined to the end, the likeliest ones; 0 tries none.", ge=0, le=64
    )
    min_cost_gain: float = setting(0.1, "By which the cost of another rotation has to be lower.", ge=0.0)
    search: RotationSearchSettings = RotationSearchSettings()
