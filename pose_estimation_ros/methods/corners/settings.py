"""Settings of the backend `corners`."""

from __future__ import annotations

from pose_estimation_ros.methods.box_prior import BoxPriorSettings
from pose_estimation_ros.methods.covariance import CovarianceScale
from pose_estimation_ros.methods.domain import DOMAIN, Domain
from pose_estimation_ros.settings import Settings, setting


class CornersSettings(Settings):
    """How poses are read out of the corners."""

    crop_padding: float = setting(1.5, "Side of the crop over the longer side of the box.", ge=1.0, le=4.0)
    ransac_threshold_ratio: float = setting(
        0.15, "Reprojection error of PnP's inliers, as a share of the crop's side in the image.", gt=0.0, le=1.0
    )
    ransac_iterations: int = setting(200, "Most iterations of RANSAC.", ge=1, le=100_000)
    redundancy: float = setting(
        4.0,
        "Number of corners that err together: they weigh so much less beside the box, and their covariance is so much "
        "larger.",
        ge=1.0,
        le=8.0,
    )
    score_error_ratio: float = setting(
        0.03,
        "Error of a corner that counts as right in the score, as a share of the crop's side.",
        gt=0.0,
        le=1.0,
    )
    box_prior: BoxPriorSettings = BoxPriorSettings()
    covariance_scale: CovarianceScale = CovarianceScale()
    domain: Domain = setting("real", DOMAIN)
    seed: int = setting(0, "Of RANSAC's samples.", ge=0)
