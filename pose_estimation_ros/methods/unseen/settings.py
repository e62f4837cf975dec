"""Settings of the backend `unseen`."""

from __future__ import annotations

from pose_estimation_ros.methods.covariance import CovarianceScale
from pose_estimation_ros.methods.view_search_settings import ViewSearchSettings
from pose_estimation_ros.settings import setting


class UnseenSettings(ViewSearchSettings):
    """How densely rotations are tabled, and how many of them are looked at more closely."""

    compared: int = setting(16, "Of these, how many are compared at the full size.", ge=1, le=256)
    finished: int = setting(6, "Of these, how many are refined to the end.", ge=1, le=64)
    stages: int = setting(2, "Comparisons of each of the last ones.", ge=1, le=16)
    similarity_margin: float = setting(
        0.01, "Of the poses compared, the last one is taken whose similarity is at most so far below the best.", ge=0.0
    )
    error_scale: float = setting(1.7, "Errors on camera images over those that the network expects.", gt=0.0)
    accepted_error_diameters: float = setting(
        0.1, "Errors below count as right, in diameters; the score is the chance of that.", gt=0.0
    )
    covariance_scale: CovarianceScale = CovarianceScale()
