"""Settings of the backend `heatmaps`."""

from __future__ import annotations

from typing import Literal

from pose_estimation_ros.methods.box_prior import BoxPriorSettings
from pose_estimation_ros.methods.covariance import ACROSS, ALONG, ROTATION, CovarianceScale
from pose_estimation_ros.methods.domain import DOMAIN, Domain
from pose_estimation_ros.settings import Settings, setting

Points = Literal["corners", "surface", "all"]


class HeatmapsBoxPriorSettings(BoxPriorSettings):
    """How far boxes are trusted to place the object, beside peaks of heatmaps."""

    redundancy: float = setting(4.0, "Number of correspondences that err together.", ge=1.0)


class HeatmapsCovarianceScale(CovarianceScale):
    """Errors over those expected, as seen on renderings of the demo's objects."""

    across: float = setting(0.9, ACROSS, gt=0.0)
    along: float = setting(2.0, ALONG, gt=0.0)
    rotation: float = setting(1.9, ROTATION, gt=0.0)


class HeatmapsSettings(Settings):
    """How poses are read out of the heatmaps.

    A patch that is not sure answers with a low and wide heatmap about the mean of what it could be, which lies too far
    inside; a plain sum of many of these draws the object together, and so away from the camera.
    """

    patches: int = setting(64, "Patches per crop, spread evenly.", ge=1, le=4096)
    points: Points = setting("all", "Control points that take part.")
    vote_exponent: float = setting(
        4.0, "Power that votes are raised to before they are added: sure patches count more (published: 1).", gt=0.0
    )
    peaks_per_point: int = setting(2, "Highest peaks of each control point that become correspondences.", ge=1, le=16)
    min_peak_ratio: float = setting(
        0.25, "Peaks lower than this share of the point's highest are dropped.", ge=0.0, le=1.0
    )
    ransac_threshold_ratio: float = setting(
        0.12, "Reprojection error of PnP's inliers, as a share of the box's longer side.", gt=0.0, le=1.0
    )
    ransac_iterations: int = setting(500, "Most iterations of RANSAC.", ge=1, le=100_000)
    box_prior: HeatmapsBoxPriorSettings = HeatmapsBoxPriorSettings()
    covariance_scale: HeatmapsCovarianceScale = HeatmapsCovarianceScale()
    domain: Domain = setting("real", DOMAIN)
    seed: int = setting(0, "Of RANSAC's samples.", ge=0)
