"""Pose from correspondences: recovery of known poses, covariance against its spread, determinism, refusals."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pose_estimation_ros.geometry.pnp import solve_pnp, solve_pnp_batch
from pose_estimation_ros.geometry.pose_refinement import (
    Matches,
    TranslationPrior,
    _placement,
    moved_pose,
    projection_jacobian,
    residuals_of,
)

INTRINSICS = np.array([[572.0, 0.0, 325.0], [0.0, 573.0, 242.0], [0.0, 0.0, 1.0]])


def _pose(seed: int) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    pose[:3, 3] = np.random.default_rng(seed).uniform([-0.15, -0.15, 0.5], [0.15, 0.15, 1.2])
    return pose


def _project(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    homogeneous = (points @ pose[:3, :3].T + pose[:3, 3]) @ INTRINSICS.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def _problem(seed: int, count: int, noise_px: float = 0.0, outliers: float = 0.0):
    """Return pixels, points, pose and the mask of true matches; false matches fall into the object's box."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.06, 0.06, (count, 3))
    pose = _pose(seed)
    pixels = _project(points, pose) + rng.normal(0.0, noise_px, (count, 2))
    true = np.ones(count, dtype=bool)
    true[: round(outliers * count)] = False
    pixels[~true] = rng.uniform(pixels.min(axis=0) - 10, pixels.max(axis=0) + 10, ((~true).sum(), 2))
    return pixels, points, pose, true


def _errors(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    angle = Rotation.from_matrix(estimate[:3, :3].T @ truth[:3, :3]).magnitude()
    return math.degrees(angle), float(np.linalg.norm(estimate[:3, 3] - truth[:3, 3]))


@given(seed=st.integers(0, 10**6), count=st.integers(6, 60))
@settings(max_examples=60, deadline=None)
def test_exact_matches_give_the_exact_pose(seed, count):
    pixels, points, pose, _ = _problem(seed, count)
    result = solve_pnp(pixels, points, INTRINSICS)
    np.testing.assert_allclose(result.camera_from_object, pose, atol=1e-5)
    assert result.inliers.all()
    assert result.reprojection_px < 1e-3


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_noise_and_many_outliers(seed):
    pixels, points, pose, true = _problem(seed, 300, noise_px=1.0, outliers=0.6)
    result = solve_pnp(pixels, points, INTRINSICS)
    degrees, metres = _errors(result.camera_from_object, pose)
    assert degrees < 3.0 and metres < 0.02
    assert result.inliers[true].mean() > 0.9  # 3 px are three standard deviations
    assert result.inliers[~true].mean() < 0.1
    assert 1.0 < result.reprojection_px < 1.8  # sqrt(2) for unit noise, cut at 3 px


def test_points_on_a_plane():
    pixels, points, pose, _ = _problem(11, 100, noise_px=0.5)
    points[:, 2] = 0.0
    pixels = _project(points, pose) + np.random.default_rng(0).normal(0, 0.3, (100, 2))
    degrees, metres = _errors(solve_pnp(pixels, points, INTRINSICS).camera_from_object, pose)
    assert degrees < 2.0 and metres < 0.01


def test_weights_make_the_estimate_better():
    """Half of the matches are five times as noisy; who knows it does better on average."""
    plain, weighted = [], []
    for seed in range(30):
        pixels, points, pose, _ = _problem(seed, 80)
        deviation = np.where(np.arange(80) < 40, 0.3, 3.0)
        pixels = pixels + np.random.default_rng(seed + 99).normal(size=(80, 2)) * deviation[:, None]
        plain.append(_errors(solve_pnp(pixels, points, INTRINSICS, threshold_px=10.0).camera_from_object, pose)[0])
        result = solve_pnp(pixels, points, INTRINSICS, 1.0 / deviation, threshold_px=10.0)
        weighted.append(_errors(result.camera_from_object, pose)[0])
    assert np.mean(weighted) < 0.8 * np.mean(plain)


def test_a_common_factor_of_the_weights_changes_nothing():
    pixels, points, _, _ = _problem(4, 100, noise_px=1.0, outliers=0.3)
    weights = np.random.default_rng(0).uniform(0.5, 2.0, 100)
    one, other = (solve_pnp(pixels, points, INTRINSICS, factor * weights) for factor in (1.0, 1e-3))
    np.testing.assert_allclose(one.camera_from_object, other.camera_from_object, atol=1e-7)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-3)


def test_covariance_predicts_the_spread():
    """Over many draws of noise, errors in units of the stated covariance follow chi squared with 6 degrees."""
    pixels, points, pose, _ = _problem(21, 60)
    rng = np.random.default_rng(0)
    squared = []
    for _ in range(200):
        result = solve_pnp(pixels + rng.normal(0.0, 0.7, pixels.shape), points, INTRINSICS, threshold_px=5.0)
        estimate = result.camera_from_object
        turn = Rotation.from_matrix(pose[:3, :3] @ estimate[:3, :3].T).as_rotvec()
        error = np.concatenate([pose[:3, 3] - estimate[:3, 3], turn])
        squared.append(error @ np.linalg.solve(result.covariance, error))
    assert 5.0 < np.mean(squared) < 7.5
    assert 0.85 < np.mean(np.array(squared) < 12.59) <= 1.0  # 95 % quantile


def test_jacobian_against_finite_differences():
    pixels, points, pose, _ = _problem(31, 10, noise_px=2.0)
    matches = Matches(pixels, points, np.ones(10), INTRINSICS)
    _, in_camera, rotated = residuals_of(matches, pose)
    analytic = projection_jacobian(INTRINSICS, in_camera, rotated)
    for column in range(6):
        step = np.zeros(6)
        step[column] = 1e-6
        numeric = (
            residuals_of(matches, moved_pose(pose, step))[0] - residuals_of(matches, moved_pose(pose, -step))[0]
        ) / 2e-6
        np.testing.assert_allclose(analytic[column], numeric, rtol=1e-5, atol=1e-4)


def test_same_seed_same_result_to_the_last_bit():
    pixels, points, _, _ = _problem(8, 200, noise_px=1.5, outliers=0.5)
    first, second = (solve_pnp(pixels, points, INTRINSICS, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.camera_from_object, second.camera_from_object)
    np.testing.assert_array_equal(first.covariance, second.covariance)


def test_without_poselib_opencv_finds_the_same_poses(monkeypatch):
    problems = [_problem(seed, 200, noise_px=1.0, outliers=0.5) for seed in range(8)]
    expected = [solve_pnp(pixels, points, INTRINSICS) for pixels, points, _, _ in problems]
    monkeypatch.setitem(sys.modules, "poselib", None)
    for (pixels, points, _, _), with_poselib in zip(problems, expected, strict=True):
        found, again = (solve_pnp(pixels, points, INTRINSICS, seed=3) for _ in range(2))
        degrees, metres = _errors(found.camera_from_object, with_poselib.camera_from_object)
        assert degrees < 0.3 and metres < 0.003
        np.testing.assert_array_equal(found.camera_from_object, again.camera_from_object)
    for degenerate in (np.zeros((30, 3)), np.zeros((30, 3)) + np.arange(30)[:, None] * 0.001):
        result = solve_pnp(problems[0][0][:30], degenerate, INTRINSICS)
        assert result is None or np.isfinite(result.camera_from_object).all()


def test_batch_equals_single_problems_of_different_sizes():
    problems = [_problem(seed, count, 1.0, 0.3) for seed, count in ((1, 50), (2, 120), (3, 3))]
    results = solve_pnp_batch([p[0] for p in problems], [p[1] for p in problems], [INTRINSICS] * 3)
    for problem, result in zip(problems[:2], results[:2], strict=True):
        single = solve_pnp(problem[0], problem[1], INTRINSICS)
        np.testing.assert_array_equal(single.camera_from_object, result.camera_from_object)
    assert results[2] is None


def test_skewed_intrinsics():
    skewed = INTRINSICS.copy()
    skewed[0, 1] = 30.0
    _, points, pose, _ = _problem(9, 40)
    homogeneous = (points @ pose[:3, :3].T + pose[:3, 3]) @ skewed.T
    result = solve_pnp(homogeneous[:, :2] / homogeneous[:, 2:], points, skewed)
    np.testing.assert_allclose(result.camera_from_object, pose, atol=1e-6)


def test_initial_pose_helps_where_chance_fails_and_never_harms():
    pixels, points, pose, _ = _problem(12, 400, noise_px=0.5, outliers=0.9)
    near = moved_pose(pose, np.array([0.001, 0, 0.002, 0.01, 0.0, 0.01]))
    helped = solve_pnp(pixels, points, INTRINSICS, iterations=0, initial=near)
    assert _errors(helped.camera_from_object, pose)[0] < 2.0
    far = moved_pose(pose, np.array([0.1, 0, 0.2, 1.0, 0.0, 1.0]))
    pixels, points, pose, _ = _problem(13, 400, noise_px=0.5, outliers=0.3)
    assert _errors(solve_pnp(pixels, points, INTRINSICS, initial=far).camera_from_object, pose)[0] < 1.0


def test_rows_that_are_not_finite_or_have_no_weight_are_left_out():
    pixels, points, pose, _ = _problem(14, 50)
    weights = np.ones(50)
    pixels[0], points[1], weights[2], weights[3] = np.nan, np.inf, 0.0, np.nan
    pixels[2] += 100.0
    result = solve_pnp(pixels, points, INTRINSICS, weights)
    assert not result.inliers[:4].any() and result.inliers[4:].all()
    np.testing.assert_allclose(result.camera_from_object, pose, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_points_give_none(count):
    pixels, points, _, _ = _problem(15, 10)
    assert solve_pnp(pixels[:count], points[:count], INTRINSICS) is None


@pytest.mark.parametrize("kind", ["one point", "one line", "one pixel", "noise"])
def test_hopeless_input_gives_none_or_finite_values(kind):
    pixels, points, _, _ = _problem(16, 30, noise_px=1.0)
    if kind == "one point":
        points = np.zeros_like(points)
    elif kind == "one line":
        points[:, 1:] = 0.0
    elif kind == "one pixel":
        pixels = np.tile([320.0, 240.0], (30, 1))
    else:
        pixels = np.random.default_rng(0).uniform(0, 480, (30, 2))
    result = solve_pnp(pixels, points, INTRINSICS)
    if result is not None:
        assert np.isfinite(result.camera_from_object).all()
        assert np.isfinite(result.covariance).all()
        assert np.isfinite(result.reprojection_px)
        assert np.linalg.det(result.camera_from_object[:3, :3]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"pixels": np.zeros((5, 3))}, "pixels"),
        ({"points": np.zeros((4, 3))}, "points"),
        ({"weights": np.ones(4)}, "weights"),
        ({"intrinsics": np.full((3, 3), np.nan)}, "intrinsics"),
        ({"threshold_px": 0.0}, "threshold_px"),
        ({"iterations": 0}, "iterations"),
    ],
)
def test_wrong_arguments_are_named(change, name):
    arguments = {"pixels": np.zeros((5, 2)), "points": np.zeros((5, 3)), "intrinsics": INTRINSICS, **change}
    with pytest.raises(ValueError, match=name):
        solve_pnp(**arguments)


def test_gradient_of_a_placed_point_against_finite_differences():
    generator = np.random.default_rng(5)
    pose = moved_pose(np.eye(4), np.array([0.05, -0.03, 0.8, 0.4, -0.2, 0.3]))
    translation_prior = TranslationPrior(
        np.array([0.02, 0.01, -0.03]), np.array([300.0, 250.0]), 0.7, np.array([2.0, 3.0]), 0.05
    )
    term = _placement(translation_prior, INTRINSICS, pose)
    for axis in range(6):
        step = np.zeros(6)
        step[axis] = 1e-6
        ahead, behind = (
            _placement(translation_prior, INTRINSICS, moved_pose(pose, sign * step)).cost for sign in (1.0, -1.0)
        )
        assert term.gradient[axis] == pytest.approx((ahead - behind) / 2e-6, rel=1e-5, abs=1e-6)
    direction = generator.normal(size=6)
    assert direction @ term.hessian @ direction >= 0.0


def test_a_placed_point_corrects_the_depth_where_coordinates_shrink():
    generator = np.random.default_rng(6)
    truth = moved_pose(np.eye(4), np.array([0.05, -0.03, 0.8, 0.4, -0.2, 0.3]))
    points = generator.uniform(-0.05, 0.05, (200, 3))
    in_camera = points @ truth[:3, :3].T + truth[:3, 3]
    pixels = (in_camera @ INTRINSICS.T)[:, :2] / in_camera[:, 2:] + generator.normal(0.0, 0.5, (200, 2))
    shrunk = 0.9 * points  # the mean of an uncertain coordinate lies nearer to the centre
    alone = solve_pnp(pixels, shrunk, INTRINSICS)
    centre = INTRINSICS[:2] @ truth[:3, 3] / truth[2, 3]
    translation_prior = TranslationPrior(np.zeros(3), centre, truth[2, 3], np.full(2, 1.0), 0.01, redundancy=30.0)
    together = solve_pnp(pixels, shrunk, INTRINSICS, translation_prior=translation_prior)
    assert alone is not None and together is not None
    assert abs(alone.camera_from_object[2, 3] / 0.8 - 0.9) < 0.02
    assert abs(together.camera_from_object[2, 3] / 0.8 - 1.0) < 0.04
    assert together.covariance[2, 2] < 0.02**2


def test_exact_matches_need_no_placed_point():
    generator = np.random.default_rng(7)
    truth = moved_pose(np.eye(4), np.array([0.0, 0.02, 0.6, -0.3, 0.5, 0.1]))
    points = generator.uniform(-0.05, 0.05, (60, 3))
    in_camera = points @ truth[:3, :3].T + truth[:3, 3]
    pixels = (in_camera @ INTRINSICS.T)[:, :2] / in_camera[:, 2:]
    wrong = TranslationPrior(np.zeros(3), np.array([100.0, 100.0]), 0.9, np.full(2, 5.0), 0.1, redundancy=30.0)
    result = solve_pnp(pixels, points, INTRINSICS, translation_prior=wrong)
    assert result is not None
    assert np.allclose(result.camera_from_object, truth, atol=1e-4)


def test_known_deviations_are_weighed_against_a_translation_prior():
    rng = np.random.default_rng(5)
    points, pose = rng.uniform(-0.05, 0.05, (8, 3)), _pose(5)
    far = pose.copy()
    far[:3, 3] *= 1.1  # where all agree that the object is
    pixels = _project(points, far)
    depth, middle = pose[2, 3], (pixels.min(axis=0) + pixels.max(axis=0)) / 2.0
    prior = TranslationPrior(np.zeros(3), middle, depth, np.full(2, 50.0), 0.02)
    found = []
    for deviation in (0.01, 10.0):
        weights = np.full(8, 1.0 / deviation)
        known, unknown = (
            solve_pnp(pixels, points, INTRINSICS, weights, 50.0, translation_prior=prior, known_deviations=is_known)
            for is_known in (True, False)
        )
        found.append(known.camera_from_object[2, 3] / depth)
        assert unknown.camera_from_object[2, 3] / depth == pytest.approx(1.1, abs=1e-3), "agreement looks exact"
    assert found[0] == pytest.approx(1.1, abs=1e-3)
    assert found[1] == pytest.approx(1.0, abs=0.02)


def test_known_deviations_bound_the_covariance_from_below():
    rng = np.random.default_rng(5)
    points, pose = rng.uniform(-0.05, 0.05, (8, 3)), _pose(5)
    exact = _project(points, pose)
    weights = np.full(8, 1.0 / 2.0)  # two pixels
    agreeing = solve_pnp(
        exact + rng.normal(0.0, 0.01, exact.shape), points, INTRINSICS, weights, 10.0, known_deviations=True
    )
    twice = solve_pnp(exact, points, INTRINSICS, weights / 2.0, 10.0, known_deviations=True)
    blind = solve_pnp(exact + rng.normal(0.0, 0.01, exact.shape), points, INTRINSICS, weights, 10.0)
    np.testing.assert_allclose(np.diag(twice.covariance), 4.0 * np.diag(agreeing.covariance), rtol=0.02)
    assert (np.diag(blind.covariance) < 1e-3 * np.diag(agreeing.covariance)).all()
    apart = exact + rng.normal(0.0, 6.0, exact.shape)
    loud = solve_pnp(apart, points, INTRINSICS, weights, 50.0, known_deviations=True)
    np.testing.assert_allclose(loud.covariance, solve_pnp(apart, points, INTRINSICS, weights, 50.0).covariance)
    assert (np.diag(loud.covariance) > np.diag(agreeing.covariance)).all()
