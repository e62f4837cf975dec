"""From what a least squares fit says of its pose to the covariance that is published."""

from __future__ import annotations

import numpy as np

from pose_estimation_ros.geometry.pose_covariance import scaled
from pose_estimation_ros.settings import Settings, setting

ACROSS = "Factor of the standard deviations of translations across the ray."
ALONG = "Factor of the standard deviation of the translation along the ray."
ROTATION = "Factor of the standard deviations of rotations."


class CovarianceScale(Settings):
    """Errors as they are seen, over those that the fit expects of itself.

    A fit takes its measurements for right on average, and most of them for independent. Networks are neither, and by
    how much depends on what they were trained on and what they look at: `benchmarks/covariance.py --fit` finds it on
    images with known poses.
    """

    across: float = setting(1.0, ACROSS, gt=0.0)
    along: float = setting(1.0, ALONG, gt=0.0)
    rotation: float = setting(1.0, ROTATION, gt=0.0)


def published_covariance(
    covariance: np.ndarray | None, camera_from_object: np.ndarray, scale: CovarianceScale
) -> np.ndarray | None:
    """Return the covariance (6, 6) of a pose, None where the fit could not tell.

    Args:
        covariance: as the fit expects it, x y z rx ry rz in camera axes about the object's origin.
        camera_from_object: the pose (4, 4), metres.
        scale: errors that are seen over those expected.
    """
    if covariance is None or not np.isfinite(covariance).all() or not (np.diag(covariance) > 0.0).all():
        return None
    wide = scaled(covariance, camera_from_object[:3, 3], scale.across, scale.along, scale.rotation)
    return (wide + wide.T) / 2.0
