"""What the node `planning_scene` says of itself on /diagnostics."""

from __future__ import annotations

from dataclasses import dataclass

from pose_estimation_ros.ros.diagnostics import OK, WARN


@dataclass(frozen=True)
class SceneSituation:
    """What is known at one moment."""

    objects: int  # in the scene
    held: int  # by the robot
    detections_topic: str
    publishers: int  # of that topic
    silent_s: float | None  # since the newest detections, None when there were none
    is_silent: bool  # for too long
    scene_topic: str
    subscribers: int  # of that topic
    problem: str | None = None  # of the newest detections


def judge_scene(situation: SceneSituation) -> tuple[int, str]:
    """Return level and message of the diagnostics."""
    if situation.is_silent:
        since = "" if situation.silent_s is None else f" for {situation.silent_s:.0f} s"
        return WARN, f"nothing on {situation.detections_topic}{since} ({situation.publishers} publishers)"
    if situation.problem:
        return WARN, situation.problem
    if not situation.subscribers:
        return WARN, f"nobody subscribes to {situation.scene_topic}: does MoveIt's move_group run?"
    held = f", {situation.held} held by the robot" if situation.held else ""
    return OK, f"{situation.objects} objects in the planning scene{held}"
