"""Keep the identities of object instances over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.pose_covariance import about_point
from pose_estimation_ros.geometry.symmetry import canonicalise, symmetry_transforms
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.tracking.association import assign, gated_costs, shared_pixels, turned_alike
from pose_estimation_ros.tracking.common_motion import common_motion
from pose_estimation_ros.tracking.object_pose import ObjectPose
from pose_estimation_ros.tracking.settings import TrackerSettings
from pose_estimation_ros.tracking.track import Track
from pose_estimation_ros.tracking.track_state import TrackState

_HIDDEN_COST = 0.3  # of one all hidden by another of its kind: half hidden ones are often found, and not their hiders


class Tracker:
    """Give every object instance a number that stays, and smooth its pose.

    Numbers count per object from 0. That of a lost instance is kept for it for some time: whatever is seen where it
    was, turned alike, is that instance. While none of its kind is known, a new one gets the lowest number, so that the
    only mug of a scene is mug 0 whenever it is seen. Where most instances move alike, the camera has moved: the others
    are expected to have done so, too, and an estimate far from that is another instance. Of the poses of a symmetric
    object that look the same, the one nearest to the expected one is taken, so that it neither flips nor spins.

    Args:
        catalog: the known objects.
        settings: see `TrackerSettings`.
    """

    def __init__(self, catalog: Catalog, settings: TrackerSettings | None = None) -> None:
        self._catalog = catalog
        self._settings = settings or TrackerSettings()
        self._transforms = [object_symmetries(model) for model in catalog]
        self._tracks: dict[int, list[Track]] = {}
        self._stamp_ns = 0  # of the newest frame
        self._is_at_rest = False  # the camera, as images or most instances say

    @property
    def states(self) -> list[TrackState]:
        """What is known of every instance that is not given up, by object and number."""
        return [
            track.state(self._catalog[index].name, self._stamp_ns)
            for index in sorted(self._tracks)
            for track in sorted(self._tracks[index], key=lambda item: item.track_id)
            if not track.is_lost
        ]

    def reset(self) -> None:
        """Forget all instances."""
        self._tracks = {}

    def take_over(self, other: Tracker, index_there: Mapping[int, int]) -> None:
        """Go on with the instances of another tracker.

        Args:
            other: is not used any more.
            index_there: of objects that both know, by their index here.
        """
        self._tracks = {here: other._tracks[there] for here, there in index_there.items() if there in other._tracks}
        for tracks in self._tracks.values():
            for track in tracks:
                track.settings = self._settings

    def update(
        self,
        hypotheses: Sequence[PoseHypothesis],
        detections: Sequence[Detection],
        camera: Camera,
        stamp_ns: int,
        camera_rests: bool = False,
    ) -> list[ObjectPose]:
        """Take in the estimates of a frame.

        Args:
            hypotheses: poses of this frame, at most one per detection.
            detections: what the hypotheses' `detection_index` counts in.
            camera: that took the image, without distortion.
            stamp_ns: when the image was taken, nanoseconds.
            camera_rests: whether it is known to, otherwise than from the instances.

        Returns:
            The instances seen in this frame, smoothed, in the order of the hypotheses.
        """
        self._stamp_ns = stamp_ns
        by_object: dict[int, list[int]] = {index: [] for index in self._tracks}
        for position, hypothesis in enumerate(hypotheses):
            by_object.setdefault(hypothesis.object_index, []).append(position)
        gate_diameters = self._expect(hypotheses, camera_rests)
        chosen: dict[int, Track] = {}
        for index, positions in by_object.items():
            poses = [hypotheses[position] for position in positions]
            own = self._update_object(index, poses, camera, stamp_ns, gate_diameters)
            chosen.update(zip(positions, own, strict=True))
        return [
            object_pose(self._catalog, track.smoothed(hypotheses[position]), detections, track.track_id)
            for position, track in sorted(chosen.items())
            if track.is_confirmed
        ]

    def _expect(self, hypotheses: Sequence[PoseHypothesis], camera_rests: bool) -> float:
        """Say where all instances are expected in this frame; return how far from that one may be, in diameters."""
        known = [
            (index, track.expected) for index, tracks in self._tracks.items() for track in tracks if not track.is_lost
        ]
        found = [(item.object_index, np.asarray(item.camera_from_object, dtype=np.float64)) for item in hypotheses]
        motion = common_motion(known, found, self._catalog, self._transforms)
        self._is_at_rest = camera_rests if motion is None else bool((motion == np.eye(4)).all())
        if motion is None:
            return self._settings.gate_diameters
        for tracks in self._tracks.values():
            for track in tracks:
                track.carry(motion)
        return min(self._settings.gate_diameters, self._settings.static_gate_diameters)

    def _update_object(
        self, index: int, hypotheses: list[PoseHypothesis], camera: Camera, stamp_ns: int, gate_diameters: float
    ) -> list[Track]:
        """Return the track of every hypothesis of one object; age and drop the tracks without one."""
        tracks = self._tracks.setdefault(index, [])
        poses = [np.asarray(item.camera_from_object, dtype=np.float64) for item in hypotheses]
        transforms = self._transforms[index]
        found = {column: tracks[row] for row, column in self._pairs(index, tracks, poses, camera, gate_diameters)}
        unseen = [track for track in tracks if track not in found.values()]
        moved = self._moved(index, unseen, {n: pose for n, pose in enumerate(poses) if n not in found})
        for column, track in (found | moved).items():
            hypothesis = _equivalent(hypotheses[column], transforms, track.expected)
            if track.is_lost or column in moved:
                track.resume(hypothesis, stamp_ns)
            else:
                track.follow(hypothesis, stamp_ns, self._is_at_rest)
        found |= moved
        for track in tracks:
            if track not in found.values():
                track.miss(stamp_ns)
        self._tracks[index] = tracks = [track for track in tracks if track.is_kept(stamp_ns)]
        # New instances get their numbers best first.
        for column in sorted(set(range(len(poses))) - set(found), key=lambda item: -hypotheses[item].score):
            found[column] = self._begin(index, tracks, _equivalent(hypotheses[column], transforms), stamp_ns)
        return [found[column] for column in range(len(poses))]

    def _pairs(
        self, index: int, tracks: list[Track], poses: list[np.ndarray], camera: Camera, gate_diameters: float
    ) -> list[tuple[int, int]]:
        """Pair tracks and estimates of one object by how near they are and how much of the image they share.

        Near is what is near to where the track is expected or to its newest estimate, which may not have been
        believed. Pixels are shared with the expected pose alone: a wrong estimate that was taken once does not keep
        the true one away when it comes back. What was not seen for some frames is not taken for what is turned quite
        otherwise elsewhere.
        """
        if not tracks or not poses:
            return []
        model, transforms = self._catalog[index], self._transforms[index]
        expected, newest = [track.expected for track in tracks], [track.estimate for track in tracks]
        of_newest, near_newest = gated_costs(model, newest, poses, transforms, gate_diameters)
        if near_newest.size == 1 and near_newest.all() and not tracks[0].may_have_moved:
            return [(0, 0)]
        of_expected, near_expected = gated_costs(model, expected, poses, transforms, gate_diameters)
        overlaps, hidden = shared_pixels(model, expected, poses, camera)
        costs = np.minimum(of_newest, of_expected) + 1.0 - overlaps + _HIDDEN_COST * hidden[:, None]
        same = overlaps >= self._settings.same_overlap
        allowed = near_newest | near_expected | same
        unseen = np.array([track.may_have_moved for track in tracks])
        if unseen.any():
            allowed &= same | turned_alike(expected, poses, transforms) | ~unseen[:, None]
        return assign(costs, allowed)

    def _moved(self, index: int, unseen: list[Track], poses: dict[int, np.ndarray]) -> dict[int, Track]:
        """Pair instances that were unseen for some frames with estimates that no other explains.

        What is hidden may move by itself meanwhile. It is farther from where it is expected then, but turned alike.
        """
        tracks = [track for track in unseen if track.may_have_moved]
        if not tracks or not poses:
            return {}
        model, transforms = self._catalog[index], self._transforms[index]
        expected, columns = [track.expected for track in tracks], list(poses)
        some = [poses[column] for column in columns]
        costs, near = gated_costs(model, expected, some, transforms, self._settings.gate_diameters)
        pairs = assign(costs, near & turned_alike(expected, some, transforms))
        return {columns[column]: tracks[row] for row, column in pairs}

    def _begin(self, index: int, tracks: list[Track], hypothesis: PoseHypothesis, stamp_ns: int) -> Track:
        """Add an instance; while others are known, no number is taken that is kept for one that is lost."""
        if all(track.is_lost for track in tracks):
            tracks.clear()
        taken = {track.track_id for track in tracks}
        free = next(number for number in range(len(tracks) + 1) if number not in taken)
        tracks.append(Track(free, hypothesis, stamp_ns, self._catalog[index].diameter_m, self._settings))
        return tracks[-1]


def _equivalent(
    hypothesis: PoseHypothesis, transforms: np.ndarray, reference: np.ndarray | None = None
) -> PoseHypothesis:
    """Return the one of the poses that look the same that lies nearest to a reference, see `canonicalise`."""
    before = np.asarray(hypothesis.camera_from_object, dtype=np.float64)
    pose, covariance = canonicalise(before, transforms, reference), hypothesis.covariance
    if covariance is not None:  # a symmetry about an axis beside the origin moves the origin
        covariance = about_point(covariance, pose[:3, 3] - before[:3, 3])
    return replace(hypothesis, camera_from_object=pose, covariance=covariance)


def object_symmetries(model: ObjectModel) -> np.ndarray:
    """Return the symmetries (S, 4, 4) of an object, continuous ones in steps of 1.1 degrees."""
    continuous = [(item.axis, item.offset_m) for item in model.continuous_symmetries]
    return symmetry_transforms(model.discrete_symmetries, continuous)


def object_pose(
    catalog: Catalog, hypothesis: PoseHypothesis, detections: Sequence[Detection], track_id: int
) -> ObjectPose:
    """Join an estimate, its detection and the instance it belongs to."""
    detection = detections[hypothesis.detection_index]
    return ObjectPose(
        name=catalog[hypothesis.object_index].name,
        object_index=hypothesis.object_index,
        track_id=track_id,
        camera_from_object=np.array(hypothesis.camera_from_object, dtype=np.float64),
        score=float(hypothesis.published_score),
        covariance=hypothesis.covariance,
        box=detection.box,
        mask=detection.mask,
        inliers=hypothesis.inliers,
        comparisons=hypothesis.comparisons,
    )


def untracked(
    catalog: Catalog, hypotheses: Sequence[PoseHypothesis], detections: Sequence[Detection]
) -> list[ObjectPose]:
    """Take the estimates as they are, in their order; number 0 of every object is the one that scores best."""
    counts: dict[int, int] = {}
    numbers = {}
    for position in sorted(range(len(hypotheses)), key=lambda item: -hypotheses[item].score):
        index = hypotheses[position].object_index
        numbers[position] = counts.get(index, 0)
        counts[index] = numbers[position] + 1
    return [object_pose(catalog, item, detections, numbers[position]) for position, item in enumerate(hypotheses)]
