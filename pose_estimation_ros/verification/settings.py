"""Settings of the check of poses against the image and each other, and of second looks."""

from __future__ import annotations

from pose_estimation_ros.settings import Settings, setting


class VerificationSettings(Settings):
    """Which detections get a chance, and which poses are the same thing twice."""

    enabled: bool = setting(
        True,
        "Publish the probability that a pose is right, where the bundle has a calibrated score for backend and "
        "refiner; false publishes detector's times method's score.",
    )
    candidate_threshold: float = setting(
        0.05,
        "Detections that score so much, but less than detector.score_threshold, get a pose, too; it is published if "
        "it proves likely.",
        ge=0.0,
        le=1.0,
    )
    max_poses: int = setting(
        8,
        "Detections below detector.score_threshold get a pose only until there are so many, but for the best one of "
        "each object of which none is above; of these as many get one, too.",
        ge=1,
        le=1000,
    )
    duplicate_overlap: float = setting(
        0.7,
        "Of two poses of one kind of object of which one covers more than this share of the other in the image, only "
        "the more probable is kept.",
        gt=0.0,
        le=1.0,
    )
    rival_overlap: float = setting(
        0.7,
        "Of two poses of different kinds whose silhouettes overlap by more (intersection over union), only the more "
        "probable is kept.",
        gt=0.0,
        le=1.0,
    )


class SecondLookSettings(Settings):
    """Which poses are looked at again, from other boxes."""

    enabled: bool = setting(
        True,
        "Estimate refined poses that are in doubt from other boxes, too, and take what most of them lead to; backends "
        "that search many poses in one look are not asked again.",
    )
    below: float = setting(0.3, "Poses whose own score, by the refiner, is below this are in doubt.", ge=0.0, le=1.0)
    hopeless_below: float = setting(
        0.0,
        "Poses that are right with a smaller probability are not looked at again, where the bundle has a calibrated "
        "score for backend and refiner; 0 looks at all that are in doubt.",
        ge=0.0,
        le=1.0,
    )
