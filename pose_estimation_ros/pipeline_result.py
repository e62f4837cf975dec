"""What the pipeline finds in one frame."""

from __future__ import annotations

from dataclasses import dataclass, field

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.tracking.object_pose import ObjectPose
from pose_estimation_ros.tracking.track_state import TrackState

STAGES = ("detection", "crops", "pose", "refinement", "verification", "tracking")


@dataclass(frozen=True)
class Trace:
    """What the methods were given, so that it can be drawn afterwards."""

    frame: Frame  # undistorted
    detections: list[Detection]  # the usable ones
    hypotheses: list[PoseHypothesis]  # as the refiner got them
    stages: int | None = None  # of the refiner; None for its own number
    refined: list[PoseHypothesis] = field(default_factory=list)  # as the refiner left them, or as they were without one


@dataclass(frozen=True)
class PipelineResult:
    """What the pipeline found in one frame."""

    poses: list[ObjectPose]  # best first
    detections: list[Detection]  # every usable box, also those without a pose; pixels of the undistorted image
    timings_s: dict[str, float] = field(default_factory=dict)  # STAGES, and the total with everything between them
    reason: str | None = None  # why there are no poses; None where there are
    trace: Trace | None = None
    tracks: list[TrackState] = field(default_factory=list)  # every known instance; none where nothing is tracked
