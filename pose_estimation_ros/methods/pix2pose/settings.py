"""Settings of the backend `pix2pose`."""

from __future__ import annotations

from pydantic import model_validator

from pose_estimation_ros.methods.covariance import ACROSS, ALONG, ROTATION, CovarianceScale
from pose_estimation_ros.methods.domain import DOMAIN, Domain
from pose_estimation_ros.settings import Settings, setting


class Pix2PoseCovarianceScale(CovarianceScale):
    """Errors over those expected, as seen on renderings of the demo's objects."""

    across: float = setting(0.58, ACROSS, gt=0.0)
    along: float = setting(0.5, ALONG, gt=0.0)
    rotation: float = setting(0.55, ROTATION, gt=0.0)


class Pix2PoseSettings(Settings):
    """How poses are read out of the maps. Errors are in units of the half box, as in the paper."""

    outlier_errors: tuple[float, ...] = setting(
        (0.15, 0.25, 0.35), "Expected errors above which the first stage drops pixels; one refined crop for each."
    )
    inlier_error: float = setting(
        0.35, "Pixels that are expected to be more wrong take no part in PnP (published: 0.15).", gt=0.0, le=1.0
    )
    mask_threshold: float = setting(0.5, "Probability from which a pixel counts as the object's.", ge=0.0, le=1.0)
    crop_padding: float = setting(1.5, "Side of the crop over the longer side of the box.", ge=1.0, le=4.0)
    ransac_threshold_ratio: float = setting(
        0.04, "Reprojection error of PnP's inliers, as a share of the crop's side in the image.", gt=0.0, le=1.0
    )
    ransac_iterations: int = setting(500, "Most iterations of RANSAC.", ge=1, le=100_000)
    redundancy: float = setting(
        100.0, "Number of pixels that err together; weighs them against the regressed translation.", ge=1.0
    )
    framing_scales: tuple[float, ...] = setting(
        (0.9, 1.1), "Further first-stage crops: their sides relative to the first one's."
    )
    framing_shifts_x: tuple[float, ...] = setting((0.05, -0.05), "How far each is moved right, in sides of the crop.")
    framing_shifts_y: tuple[float, ...] = setting((0.03, -0.03), "How far each is moved down, in sides of the crop.")
    covariance_scale: Pix2PoseCovarianceScale = Pix2PoseCovarianceScale()
    domain: Domain = setting("real", DOMAIN)
    seed: int = setting(0, "Of RANSAC's samples.", ge=0)

    @model_validator(mode="after")
    def _framings_are_complete(self) -> Pix2PoseSettings:
        counts = {len(self.framing_scales), len(self.framing_shifts_x), len(self.framing_shifts_y)}
        if len(counts) != 1:
            raise ValueError(
                f"framing_scales, framing_shifts_x and framing_shifts_y have {len(self.framing_scales)}, "
                f"{len(self.framing_shifts_x)} and {len(self.framing_shifts_y)} values: expected as many of each"
            )
        return self

    @property
    def framings(self) -> tuple[tuple[float, float, float], ...]:
        """Scale and shifts of every further crop."""
        return tuple(zip(self.framing_scales, self.framing_shifts_x, self.framing_shifts_y, strict=True))
