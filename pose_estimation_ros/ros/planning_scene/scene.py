"""What has to change in a planning scene: poses in, operations out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np


class Operation(Enum):
    """What happens to an object of the scene."""

    ADD = "add"  # with its shape; replaces one that is there
    MOVE = "move"
    REMOVE = "remove"


@dataclass(frozen=True)
class PlacedObject:
    """One instance at a pose."""

    id: str  # its frame on TF
    name: str  # of the object
    frame_id: str  # in which the pose is
    frame_from_object: np.ndarray  # (4, 4), metres


@dataclass(frozen=True)
class Change:
    """An operation on one object of the scene."""

    operation: Operation
    placed: PlacedObject  # as it is now, or, of one that is removed, as it was last


class SceneObjects:
    """Know what was said of the objects of a scene, and say what is new.

    What the robot holds is left alone: MoveIt takes an attached object out of the world, and one that is added there
    again collides with the gripper.

    Args:
        tolerance_m: an object that moved less, in metres,
        tolerance_deg: and by a smaller angle, in degrees, is not moved.
    """

    def __init__(self, tolerance_m: float, tolerance_deg: float) -> None:
        self._tolerance_m, self._tolerance_deg = tolerance_m, tolerance_deg
        self._said: dict[str, PlacedObject] = {}
        self.held: frozenset[str] = frozenset()  # ids that are attached to the robot

    @property
    def ids(self) -> frozenset[str]:
        """Ids of all objects that were added and not removed."""
        return frozenset(self._said)

    def see(self, objects: Sequence[PlacedObject]) -> list[Change]:
        """Take in the objects of an image; return those that are new, and those that moved."""
        changes = []
        for item in objects:
            before = self._said.get(item.id)
            if item.id in self.held:
                continue
            if before is None or before.name != item.name:
                changes.append(Change(Operation.ADD, item))
            elif self._has_moved(before, item):
                changes.append(Change(Operation.MOVE, item))
            else:
                continue
            self._said[item.id] = item
        return changes

    def keep(self, ids: Collection[str]) -> list[Change]:
        """Return the removal of all objects but these, and of what the robot holds."""
        gone = [item for item in self._said.values() if item.id not in ids and item.id not in self.held]
        for item in gone:
            del self._said[item.id]
        return [Change(Operation.REMOVE, item) for item in gone]

    def again(self) -> list[Change]:
        """Return the addition of every object, for somebody who has heard nothing yet."""
        return [Change(Operation.ADD, item) for item in self._said.values() if item.id not in self.held]

    def _has_moved(self, before: PlacedObject, now: PlacedObject) -> bool:
        if before.frame_id != now.frame_id:
            return True
        step = np.linalg.inv(before.frame_from_object) @ now.frame_from_object
        angle = np.arccos(np.clip((np.trace(step[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))
        return bool(np.linalg.norm(step[:3, 3]) > self._tolerance_m or np.degrees(angle) > self._tolerance_deg)


def worst_std(covariance: np.ndarray) -> tuple[float, float]:
    """Return the standard deviations along the worst axes of position, metres, and rotation, degrees.

    Args:
        covariance: (6, 6) of x y z rx ry rz, metres and radians.
    """
    position, rotation = (
        float(np.sqrt(max(np.linalg.eigvalsh(covariance[part, part])[-1], 0.0))) for part in (slice(0, 3), slice(3, 6))
    )
    return position, float(np.degrees(rotation))


def held_after(held: frozenset[str], operations: Mapping[str, bool], is_whole: bool) -> frozenset[str]:
    """Return the ids of what the robot holds after a message about it.

    Args:
        held: ids of before.
        operations: ids of the message, and whether they are attached.
        is_whole: the message names everything that is attached.
    """
    attached = {name for name, is_attached in operations.items() if is_attached}
    return frozenset(attached | (set() if is_whole else held - operations.keys()))
