"""How the node is, in one level and one sentence: the newest truth wins."""

from __future__ import annotations

from dataclasses import dataclass

from pose_estimation_ros.ros.diagnostics import ERROR, OK, WARN

SILENCE_S = 3.0  # without an image for so long, nothing older is of interest


@dataclass(frozen=True)
class Situation:
    """What is known at one moment."""

    state: str  # of the lifecycle
    problem: str | None = None  # of the newest image, or why the node is not configured
    is_enabled: bool = True
    image_topic: str = ""
    publishers: int = 0  # of that topic
    silent_s: float | None = None  # since the newest image, None when there was none
    missing: str | None = None  # why the newest image waits for its camera_info
    pose_count: int = 0  # of the newest frame
    reason: str | None = None  # why that has no poses
    on_demand: bool = False  # images come only when somebody calls ~/detect
    warnings: tuple[str, ...] = ()  # what should be mended although the node works

    @property
    def is_silent(self) -> bool:
        """Tell whether images have stopped to come although they are wanted."""
        if self.on_demand:
            return False
        return self.silent_s is None or self.silent_s > SILENCE_S

    @property
    def objects(self) -> int:
        """Number of objects that are seen now: none that were seen before the images stopped."""
        sees = self.state == "active" and self.is_enabled and not self.is_silent
        return self.pose_count if sees else 0


def judge(situation: Situation) -> tuple[int, str]:
    """Return level and message of the diagnostics."""
    level, message = _judge(situation)
    if level == OK and situation.warnings:
        return WARN, "; ".join([message, *situation.warnings])
    return level, message


def _judge(situation: Situation) -> tuple[int, str]:
    if situation.state != "active":
        if situation.problem:
            return ERROR, situation.problem
        return (OK if situation.state == "inactive" else WARN), situation.state
    if not situation.is_enabled:
        return OK, "disabled by the service enable"
    if situation.is_silent:
        return WARN, _silence(situation)
    if situation.missing:
        return WARN, situation.missing
    if situation.problem:
        return ERROR, situation.problem
    count = situation.pose_count
    found = f"{count} objects" if count else (situation.reason or "no objects")
    if situation.on_demand:
        return OK, "ready for a call of ~/detect" + ("" if situation.silent_s is None else f"; newest image: {found}")
    return OK, found


def _silence(situation: Situation) -> str:
    since = "" if situation.silent_s is None else f" for {situation.silent_s:.0f} s"
    before = f"; before that: {situation.problem}" if situation.problem else ""
    return f"no image on {situation.image_topic}{since} ({situation.publishers} publishers){before}"
