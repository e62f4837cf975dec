"""Settings that all methods share that render and compare."""

from __future__ import annotations

from pose_estimation_ros.methods.covariance import CovarianceScale
from pose_estimation_ros.methods.domain import DOMAIN, Domain
from pose_estimation_ros.settings import Settings, setting


class RenderCompareSettings(Settings):
    """Which of the poses that were compared is taken, and what is said of it."""

    similarity_margin: float = setting(
        0.01, "Of the poses compared, the last one is taken whose similarity is at most so far below the best.", ge=0.0
    )
    error_scale: float = setting(
        1.7, "Errors on camera images over those that a network trained on renderings expects of itself.", gt=0.0
    )
    accepted_error_diameters: float = setting(
        0.1, "Errors below count as right, in diameters; the score is the chance of that.", gt=0.0
    )
    covariance_scale: CovarianceScale = CovarianceScale()
    domain: Domain = setting("real", DOMAIN)
