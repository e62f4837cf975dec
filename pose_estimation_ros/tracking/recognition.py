"""Which estimates of a frame are of instances that are known already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.catalog import ObjectModel
from pose_estimation_ros.tracking.association import assign, gated_costs, shared_pixels, turned_alike
from pose_estimation_ros.tracking.settings import TrackerSettings
from pose_estimation_ros.tracking.track import Track

_HIDDEN_COST = 0.3  # of one all hidden by another of its kind: half hidden ones are often found, and not their hiders


@dataclass(frozen=True)
class Surroundings:
    """What decides, beside the poses, whether an estimate can be of an instance."""

    model: ObjectModel
    transforms: np.ndarray  # symmetries of the object, (S, 4, 4)
    camera: Camera  # without distortion
    gate_diameters: float  # how far from where it is expected an instance may be
    settings: TrackerSettings


def recognised(
    scene: Surroundings, known: Sequence[Track], poses: Sequence[np.ndarray], are_sure: Sequence[bool]
) -> tuple[dict[int, Track], dict[int, Track]]:
    """Return the instance that an estimate is of, for those estimates of one object that are of a known one.

    Sure estimates choose first among the instances that have a number, then among the others. An unsure estimate of one
    with a number has to be where that is.

    Args:
        scene: see `Surroundings`.
        known: the instances.
        poses: of the estimates, (4, 4) each.
        are_sure: whether the estimate alone would be published.

    Returns:
        By place in the list of poses: instances where they are expected, and those that moved while they were unseen.
    """
    found: dict[int, Track] = {}
    sure = [number for number, flag in enumerate(are_sure) if flag]
    unsure = [number for number, flag in enumerate(are_sure) if not flag]
    numbered = [track for track in known if track.has_number]
    others = [track for track in known if not track.has_number]

    def pair(tracks: Sequence[Track], columns: Sequence[int], strictly: bool = False) -> None:
        left, free = _without(tracks, found), [column for column in columns if column not in found]
        pairs = _pairs(scene, left, [poses[column] for column in free], strictly)
        found.update({free[column]: left[row] for row, column in pairs})

    pair(numbered, sure)
    moved = _moved(scene, _without(numbered, found), {item: poses[item] for item in sure if item not in found})
    found |= moved
    pair(numbered, unsure, strictly=True)
    pair(others, sure)
    pair(others, unsure)
    return {column: track for column, track in found.items() if column not in moved}, moved


def _without(tracks: Sequence[Track], found: Mapping[int, Track]) -> list[Track]:
    return [track for track in tracks if track not in found.values()]


def _pairs(scene: Surroundings, tracks: list[Track], poses: list[np.ndarray], strictly: bool) -> list[tuple[int, int]]:
    """Pair tracks and estimates of one object by how near they are and how much of the image they share.

    Near is what is near to where the track is expected or to its newest estimate, which may not have been
    believed. Pixels are shared with the expected pose alone: a wrong estimate that was taken once does not keep
    the true one away when it comes back. What was not seen for some frames is not taken for what is turned quite
    otherwise elsewhere. Strictly, pairs share pixels and are turned alike, all of them.
    """
    if not tracks or not poses:
        return []
    model, transforms = scene.model, scene.transforms
    expected, newest = [track.expected for track in tracks], [track.estimate for track in tracks]
    of_newest, near_newest = gated_costs(model, newest, poses, transforms, scene.gate_diameters)
    if near_newest.size == 1 and near_newest.all() and not tracks[0].may_have_moved and not strictly:
        return [(0, 0)]
    of_expected, near_expected = gated_costs(model, expected, poses, transforms, scene.gate_diameters)
    overlaps, hidden = shared_pixels(model, expected, poses, scene.camera)
    costs = np.minimum(of_newest, of_expected) + 1.0 - overlaps + _HIDDEN_COST * hidden[:, None]
    same = overlaps >= scene.settings.same_overlap
    allowed = near_newest | near_expected | same
    unseen = np.array([track.may_have_moved for track in tracks])
    if strictly:
        allowed = same & turned_alike(expected, poses, transforms)
    elif unseen.any():
        allowed &= same | turned_alike(expected, poses, transforms) | ~unseen[:, None]
    return assign(costs, allowed)


def _moved(scene: Surroundings, unseen: list[Track], poses: Mapping[int, np.ndarray]) -> dict[int, Track]:
    """Pair instances that were unseen for some frames with estimates that no other explains.

    What is hidden may move by itself meanwhile. It is farther from where it is expected then, but turned alike.
    """
    tracks = [track for track in unseen if track.may_have_moved]
    if not tracks or not poses:
        return {}
    expected, columns = [track.expected for track in tracks], list(poses)
    some = [poses[column] for column in columns]
    costs, near = gated_costs(scene.model, expected, some, scene.transforms, scene.settings.gate_diameters)
    pairs = assign(costs, near & turned_alike(expected, some, scene.transforms))
    return {columns[column]: tracks[row] for row, column in pairs}
