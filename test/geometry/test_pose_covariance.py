"""Covariances of poses: about another point of the object, and with other standard deviations."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from pose_estimation_ros.geometry.pose_covariance import about_point, scaled, skew


def _covariance(seed: int) -> np.ndarray:
    factor = np.random.default_rng(seed).normal(size=(6, 6))
    return factor @ factor.T


def test_another_origin_scatters_as_said() -> None:
    rng = np.random.default_rng(0)
    offset, covariance = np.array([0.3, -0.2, 0.1]), 1e-6 * _covariance(1)
    drawn = rng.multivariate_normal(np.zeros(6), covariance, 50_000)
    moved = drawn[:, :3] + Rotation.from_rotvec(drawn[:, 3:]).apply(offset) - offset
    seen = np.cov(np.hstack([moved, drawn[:, 3:]]).T)
    units = np.sqrt(np.diag(seen))
    np.testing.assert_allclose(
        about_point(covariance, offset) / np.outer(units, units), seen / np.outer(units, units), atol=0.03
    )


def test_there_and_back_changes_nothing() -> None:
    covariance, offset = _covariance(2), np.array([0.1, 0.5, -0.4])
    np.testing.assert_allclose(about_point(about_point(covariance, offset), -offset), covariance, atol=1e-10)


def test_directions_are_scaled_each_by_its_factor() -> None:
    covariance, ray = _covariance(3), np.array([0.2, -0.3, 0.9])
    wide = scaled(covariance, ray, 2.0, 5.0, 0.5)
    along = np.append(ray, np.zeros(3))
    across = np.append(np.cross(ray, [0.0, 1.0, 0.0]), np.zeros(3))
    turn = np.array([0.0, 0.0, 0.0, 0.4, -0.1, 0.7])
    for direction, factor in ((along, 5.0), (across, 2.0), (turn, 0.5)):
        before, after = direction @ covariance @ direction, direction @ wide @ direction
        np.testing.assert_allclose(after, factor**2 * before)
    both = along @ covariance @ turn
    np.testing.assert_allclose(along @ wide @ turn, 5.0 * 0.5 * both)  # correlations stay
    np.testing.assert_allclose(scaled(covariance, ray, 1.0, 1.0, 1.0), covariance)


def test_skew_is_the_cross_product() -> None:
    a, b = np.array([1.0, -2.0, 3.0]), np.array([0.3, 0.2, 0.7])
    np.testing.assert_allclose(skew(a) @ b, np.cross(a, b))
