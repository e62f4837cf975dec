"""What a pipeline remembers from one frame to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.tracking.camera_rest import CameraRest
from pose_estimation_ros.tracking.object_pose import ObjectPose
from pose_estimation_ros.tracking.score_memory import ScoreMemory
from pose_estimation_ros.tracking.settings import TrackingSettings
from pose_estimation_ros.tracking.track_state import TrackState
from pose_estimation_ros.tracking.tracker import Tracker, untracked


class Tracking:
    """Scores, identities and poses over time; where tracking is off, every frame alone.

    Args:
        catalog: the known objects.
        settings: whether and how.
    """

    def __init__(self, catalog: Catalog, settings: TrackingSettings) -> None:
        self._catalog, self._settings = catalog, settings
        self._tracker, self._scores = Tracker(catalog, settings), ScoreMemory(catalog, settings)
        self._camera_rest, self._rests = CameraRest(), False

    @property
    def states(self) -> list[TrackState]:
        """What is known of every instance that is not given up."""
        return self._tracker.states

    def reset(self) -> None:
        """Forget all instances."""
        self._tracker.reset()
        self._scores.reset()
        self._camera_rest.reset()

    def take_over(self, other: Tracking, index_there: Mapping[int, int]) -> None:
        """Go on with what another one knows, if both track.

        Args:
            other: is not used any more.
            index_there: of objects that both know, by their index here.
        """
        if self._settings.enabled and other._settings.enabled:
            self._tracker.take_over(other._tracker, index_there)
            self._scores.take_over(other._scores, index_there)
            self._camera_rest = other._camera_rest  # its images are still those of this camera

    def look(self, frame: Frame) -> None:
        """Begin a frame: tell whether the camera rests."""
        self._rests = self._settings.enabled and self._camera_rest.update(frame.rgb)

    def publishable(
        self, hypotheses: Sequence[PoseHypothesis], least_score: float, stamp_ns: int
    ) -> list[PoseHypothesis]:
        """Return the poses that score enough, while the camera rests in the mean of late.

        Args:
            hypotheses: all that were found in the frame.
            least_score: what is enough; where that is 0 there is nothing to decide, and scores stay as they are.
            stamp_ns: when the image was taken, nanoseconds.
        """
        if not self._settings.enabled or least_score <= 0.0:
            return [item for item in hypotheses if item.score >= least_score]
        return self._scores.published(hypotheses, least_score, stamp_ns, self._rests)

    def still_publishable(
        self, hypotheses: Sequence[PoseHypothesis], least_score: float, stamp_ns: int
    ) -> list[PoseHypothesis]:
        """Return the poses of followed instances that score enough to stay published; arguments as above."""
        self._scores.pass_over(stamp_ns)
        return [item for item in hypotheses if item.score >= self.lowest_score(least_score)]

    def lowest_score(self, least_score: float) -> float:
        """Return the score that is just enough for what is published to stay so."""
        return least_score * (self._settings.scores.keep_ratio if self._settings.enabled else 1.0)

    def track(
        self, hypotheses: Sequence[PoseHypothesis], detections: Sequence[Detection], frame: Frame
    ) -> list[ObjectPose]:
        """Return the instances that are published in a frame; arguments as of `Tracker.update`."""
        if not self._settings.enabled:
            return untracked(self._catalog, hypotheses, detections)
        return self._tracker.update(hypotheses, detections, frame.camera, frame.stamp_ns, self._rests)
