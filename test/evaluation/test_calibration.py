"""Honesty of covariances: errors drawn from what is stated pass, others are told by how much they are off."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation

from pose_estimation_ros.evaluation.calibration import Calibration, calibration, pose_error
from pose_estimation_ros.geometry.pose_covariance import scaled
from pose_estimation_ros.geometry.symmetry import rotation_about

COUNT = 4000


def _drawn(across: float, along: float, rotation: float) -> Calibration:
    """Return poses whose standard deviations are so many times larger than stated."""
    rng = np.random.default_rng(0)
    errors, covariances, poses = [], [], []
    for _ in range(COUNT):
        factor = rng.normal(size=(6, 6)) * 0.01
        stated, pose = factor @ factor.T, np.eye(4)
        pose[:3, 3] = rng.uniform([-0.3, -0.3, 0.4], [0.3, 0.3, 1.0])
        errors.append(rng.multivariate_normal(np.zeros(6), scaled(stated, pose[:3, 3], across, along, rotation)))
        covariances.append(stated)
        poses.append(pose)
    return calibration(errors, covariances, poses)


def test_errors_as_stated_lie_inside_as_those_of_a_gaussian() -> None:
    said = _drawn(1.0, 1.0, 1.0)
    np.testing.assert_allclose(said.inside(1.0), 0.683, atol=0.03)
    np.testing.assert_allclose(said.inside(2.0), 0.954, atol=0.02)
    assert abs(said.squared_distances(slice(0, 3)).mean() - 3.0) < 0.15
    np.testing.assert_allclose(said.factors(), 1.0, rtol=0.05)


def test_the_factors_by_which_errors_are_larger_are_found() -> None:
    np.testing.assert_allclose(_drawn(3.0, 0.5, 2.0).factors(), [3.0, 0.5, 2.0], rtol=0.05)


def test_the_error_is_what_leads_from_the_nearest_true_pose_to_the_estimate() -> None:
    truth = rotation_about((0.3, 1.0, 0.2), (0.0, 0.0, 0.0), 0.8)
    truth[:3, 3] = [0.1, -0.2, 0.9]
    half = rotation_about((0.0, 0.0, 1.0), (0.02, 0.0, 0.0), math.pi)
    estimate = truth @ half
    turn = np.array([0.01, -0.02, 0.03])
    estimate[:3, :3] = Rotation.from_rotvec(turn).as_matrix() @ estimate[:3, :3]
    estimate[:3, 3] += [0.001, 0.002, -0.003]
    transforms = np.stack([np.eye(4), half])
    np.testing.assert_allclose(pose_error(estimate, truth, transforms), [0.001, 0.002, -0.003, *turn], atol=1e-12)
    assert np.linalg.norm(pose_error(estimate, truth, transforms[:1])[3:]) > 3.0
