"""Settings of tracking: identities, smoothing, following."""

from __future__ import annotations

from typing import Literal

from pose_estimation_ros.settings import Settings, setting


class FilterSettings(Settings):
    """How a pose is smoothed."""

    error_memory: float = setting(
        0.2, "Share of the newest error in the running averages that decide the gain.", gt=0.0, le=1.0
    )
    min_gain: float = setting(0.1, "Share of a new estimate that always comes through.", gt=0.0, le=1.0)
    min_rest_gain: float = setting(
        0.05,
        "The same while the camera rests, which the images tell, or three or more instances that stay where they are: "
        "poses are then averaged over so many frames as this goes into 1.",
        gt=0.0,
        le=1.0,
    )
    rest_signal: float = setting(
        0.8,
        "Share of the newest errors that points the same way from which an instance moves although the camera rests, "
        "as long as too few estimates were averaged to know their scatter. One that has not moved before must keep to "
        "a straight line.",
        gt=0.0,
        le=1.0,
    )
    motion_deviations: float = setting(
        4.0,
        "Standard deviations by which the mean of the newest errors must be off, once their scatter is known, for an "
        "instance that moves although the camera rests.",
        gt=0.0,
    )
    jump_diameters: float = setting(
        0.5, "After a longer step in one frame, in diameters, smoothing starts afresh.", gt=0.0
    )
    jump_rad: float = setting(0.6, "After a larger turn in one frame, radians, smoothing starts afresh.", gt=0.0)
    gap_s: float = setting(1.0, "After a longer pause, seconds, smoothing starts afresh.", gt=0.0)


class ModeSettings(Settings):
    """When estimates of an instance at rest are of another pose, and which one is held where they alternate."""

    enabled: bool = setting(
        True,
        "Keep the pose of an instance at rest for one frame whose estimate is elsewhere, and hold the better one of "
        "poses that alternate. false takes every estimate; so does smoothing none.",
    )
    radius_diameters: float = setting(0.15, "Estimates within this distance, in diameters, are of one pose.", gt=0.0)
    radius_rad: float = setting(0.25, "And within this angle, radians.", gt=0.0)
    settled_hits: int = setting(3, "An instance rests when so many estimates were of one pose.", ge=1, le=1000)
    memory: float = setting(0.95, "Share of the evidence for a pose that is left a frame later.", gt=0.0, lt=1.0)
    margin: float = setting(
        2.0, "One that alternates is held instead from so many times the evidence for the held one.", ge=1.0
    )


class ScoreSettings(Settings):
    """Which scores count where an estimate is published or not, while the camera rests."""

    gain: float = setting(
        0.2,
        "While the camera rests, the running mean of the scores of estimates that stay where they are decides whether "
        "they are published, and is published with them: share of the newest score in it; 1: every frame's own score.",
        gt=0.0,
        le=1.0,
    )
    keep_ratio: float = setting(
        0.8,
        "What is published stays so until the mean of its scores falls below this share of pose.score_threshold.",
        ge=0.0,
        le=1.0,
    )
    least_ratio: float = setting(
        0.3,
        "Estimates whose own score is below this share of pose.score_threshold are never published, whatever the mean.",
        ge=0.0,
        le=1.0,
    )
    reach_diameters: float = setting(
        0.5, "Estimates within this distance of one of the frame before, in diameters, have stayed.", gt=0.0
    )
    reach_rad: float = setting(0.5, "And within this angle, radians.", gt=0.0)


class TrackerSettings(Settings):
    """When instances are reported and given up."""

    min_hits: int = setting(1, "Frames an instance must be seen in before it is published.", ge=1, le=100)
    max_missed: int = setting(15, "An instance unseen for more frames is given up.", ge=0, le=10_000)
    max_unseen_s: float = setting(3.0, "An instance unseen for longer, seconds, is given up.", gt=0.0, le=3600.0)
    number_memory_s: float = setting(
        30.0, "The number of an instance that is given up is kept for it so long, seconds.", ge=0.0, le=86_400.0
    )
    gate_diameters: float = setting(
        3.0,
        "Farthest that an instance moves from one frame to the next, in diameters, in space and in the image.",
        gt=0.0,
    )
    static_gate_diameters: float = setting(
        1.0,
        "The same where three or more instances move alike, and so show how the camera moves: farthest from where an "
        "instance then should be.",
        gt=0.0,
    )
    same_overlap: float = setting(
        0.5,
        "An estimate that covers so much of the pixels where an instance is expected (intersection over union of their "
        "boxes' outlines) is in its reach, however far it is in depth.",
        gt=0.0,
        le=1.0,
    )
    smoothing: Literal["none", "light", "strong"] = setting(
        "light", "none publishes every pose as it was estimated; strong averages over about three times as many frames."
    )
    scores: ScoreSettings = ScoreSettings()
    filter: FilterSettings = FilterSettings()
    modes: ModeSettings = ModeSettings()


class FollowingSettings(Settings):
    """When the detector has to look again in mode `refine`."""

    detect_every: int = setting(
        10, "Frames from one detection to the next where mode is refine; new objects wait so long.", ge=1, le=1000
    )
    min_score_ratio: float = setting(
        0.5, "A score below this share of that after the last detection is a reason to detect again.", ge=0.0, le=1.0
    )
    max_gap_s: float = setting(
        3.0, "After a longer gap between two frames, seconds, objects are detected anew.", gt=0.0
    )
    stages: int = setting(
        3, "Comparisons of the refiner per frame: from one frame to the next little changes.", ge=1, le=32
    )


class TrackingSettings(TrackerSettings, FollowingSettings):
    """Everything under `tracking`."""

    enabled: bool = setting(True, "Keep identities and smooth poses over time; false treats every frame alone.")
    mode: Literal["detect", "refine"] = setting(
        "detect",
        "detect: look for objects in every frame. refine: refine the poses of the frame before, and detect when a pose "
        "is no longer sure, or after detect_every frames; needs a refiner.",
    )
