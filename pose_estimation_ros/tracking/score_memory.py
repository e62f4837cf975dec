"""Scores over time: what rests is published by the mean of its scores, so that it does not flicker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite

import numpy as np

from pose_estimation_ros.geometry.symmetry import symmetric_distances
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.tracking.settings import TrackerSettings
from pose_estimation_ros.tracking.tracker import object_symmetries

_FORGOTTEN = 3  # frames in a row in which nothing was at a place


@dataclass(eq=False)
class _Place:
    """Where estimates of an object have been, whether they were published or not."""

    object_index: int
    pose: np.ndarray  # (4, 4), the newest of them
    score: float  # the mean of theirs
    count: int
    seen_ns: int
    missed: int = 0  # frames since it was seen
    published_from: float = -inf  # the threshold that the mean reached last; minus infinity if it did not


class ScoreMemory:
    """Average the scores of estimates that stay where they are before a camera that rests; say which are published.

    The first estimate of a place has its own score, so that what is sure is published at once. Whatever moves farther
    from one frame to the next than the settings say begins anew, all of it where the camera moves, and so does what was
    not seen for a few frames, or for as long as smoothing starts afresh after. Nothing here has a say in identities or
    poses: a tracker sees what is published alone, each with its own score.

    Args:
        catalog: the known objects.
        settings: `scores` of them, and `filter.gap_s`.
    """

    def __init__(self, catalog: Catalog, settings: TrackerSettings) -> None:
        self._catalog, self._settings = catalog, settings
        self._transforms = [object_symmetries(model) for model in catalog]
        self._places: list[_Place] = []

    def reset(self) -> None:
        """Forget everything."""
        self._places = []

    def take_over(self, other: ScoreMemory, index_there: Mapping[int, int]) -> None:
        """Go on with what another one remembers.

        Args:
            other: is not used any more.
            index_there: of objects that both know, by their index here.
        """
        index_here = {there: here for here, there in index_there.items()}
        known = [item for item in other._places if item.object_index in index_here]
        self._places = [replace(item, object_index=index_here[item.object_index]) for item in known]

    def pass_over(self, stamp_ns: int) -> None:
        """Count a frame in which nobody looked for objects as one in which all is where it was."""
        for item in self._places:
            item.seen_ns = stamp_ns

    def published(
        self, hypotheses: Sequence[PoseHypothesis], least_score: float, stamp_ns: int, camera_rests: bool
    ) -> list[PoseHypothesis]:
        """Take in the estimates of a frame; return those to publish, each with its mean score, in the same order.

        Args:
            hypotheses: all estimates, unsure ones too.
            least_score: from which mean score on they are published.
            stamp_ns: when the image was taken, nanoseconds.
            camera_rests: whether it did since the frame before.
        """
        oldest_ns = stamp_ns - round(self._settings.filter.gap_s * 1e9)
        known = [item for item in self._places if camera_rests and oldest_ns <= item.seen_ns <= stamp_ns]
        for item in known:
            item.missed += 1
        self._places, chosen = [item for item in known if item.missed <= _FORGOTTEN], []
        known = list(self._places)
        finite = [number for number, item in enumerate(hypotheses) if isfinite(item.score)]
        for number in sorted(finite, key=lambda item: -hypotheses[item].score):
            hypothesis = hypotheses[number]
            place = self._place_of(hypothesis, known)
            if place is None:
                place = _Place(hypothesis.object_index, hypothesis.camera_from_object, 0.0, 0, stamp_ns)
                self._places.append(place)
            else:
                known.remove(place)
            if self._take(place, hypothesis, least_score, stamp_ns):
                chosen.append((number, replace(hypothesis, mean_score=place.score)))
        return [hypothesis for _, hypothesis in sorted(chosen, key=lambda item: item[0])]

    def _place_of(self, hypothesis: PoseHypothesis, known: Sequence[_Place]) -> _Place | None:
        """Return the nearest of the places that an estimate may be of."""
        index, settings = hypothesis.object_index, self._settings.scores
        of_kind = [item for item in known if item.object_index == index]
        if not of_kind:
            return None
        angles, metres = symmetric_distances(
            np.stack([item.pose for item in of_kind]),
            np.asarray(hypothesis.camera_from_object, dtype=np.float64)[None],
            self._transforms[index],
        )
        reach_m = settings.reach_diameters * self._catalog[index].diameter_m
        metres = np.where((metres <= reach_m) & (angles <= settings.reach_rad), metres, inf)[:, 0]
        return of_kind[int(np.argmin(metres))] if np.isfinite(metres).any() else None

    def _take(self, place: _Place, hypothesis: PoseHypothesis, least_score: float, stamp_ns: int) -> bool:
        """Take an estimate into its place; tell whether it is published."""
        settings, own = self._settings.scores, float(hypothesis.score)
        place.pose = np.asarray(hypothesis.camera_from_object, dtype=np.float64)
        place.seen_ns, place.missed = stamp_ns, 0
        place.count += 1
        place.score += max(1.0 / place.count, settings.gain) * (own - place.score)
        # A threshold that was raised since has to be reached anew.
        ratio = settings.keep_ratio if least_score <= place.published_from else 1.0
        reaches = place.score >= least_score * ratio
        place.published_from = least_score if reaches else -inf
        return reaches and own >= least_score * settings.least_ratio
