"""What is published of a fit's covariance: scaled, symmetric, or nothing."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.methods.covariance import CovarianceScale, published_covariance

POSE = np.eye(4)
POSE[:3, 3] = [0.0, 0.0, 0.7]


def test_factors_apply_across_the_ray_along_it_and_to_rotations() -> None:
    found = published_covariance(np.eye(6), POSE, CovarianceScale(across=2.0, along=3.0, rotation=0.5))
    np.testing.assert_allclose(found, np.diag([4.0, 4.0, 9.0, 0.25, 0.25, 0.25]))


@pytest.mark.parametrize("unknown", [None, np.zeros((6, 6)), np.full((6, 6), np.nan), np.diag([1.0] * 5 + [np.inf])])
def test_what_a_fit_cannot_tell_is_none(unknown: np.ndarray | None) -> None:
    assert published_covariance(unknown, POSE, CovarianceScale()) is None
