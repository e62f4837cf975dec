"""The filter: quieter than its input on a static scene, no lag in motion, afresh after jumps and pauses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pose_estimation_ros.tracking.filter import PoseFilter, blended
from pose_estimation_ros.tracking.settings import FilterSettings

DIAMETER_M = 0.15
FRAME_NS = 33_000_000


def _pose(position, turn=(0.0, 0.0, 0.0)) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    pose[:3, 3] = position
    return pose


def _angle(pose_a: np.ndarray, pose_b: np.ndarray) -> float:
    return float(Rotation.from_matrix(pose_a[:3, :3].T @ pose_b[:3, :3]).magnitude())


def _noisy(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noisy = truth.copy()
    noisy[:3, 3] += rng.normal(0.0, 0.005, 3)
    noisy[:3, :3] = Rotation.from_rotvec(rng.normal(0.0, 0.03, 3)).as_matrix() @ truth[:3, :3]
    return noisy


def test_noise_on_a_static_scene_is_at_least_halved_without_bias():
    rng = np.random.default_rng(0)
    truth = _pose([0.1, -0.05, 0.8], [1.0, 0.4, -2.0])
    smoother = PoseFilter(_noisy(truth, rng), 0, DIAMETER_M)
    raw, smoothed = [], []
    for index in range(1, 400):
        estimate = _noisy(truth, rng)
        result = smoother.update(estimate, index * FRAME_NS)
        raw.append([*(estimate[:3, 3] - truth[:3, 3]), _angle(estimate, truth)])
        smoothed.append([*(result[:3, 3] - truth[:3, 3]), _angle(result, truth)])
    raw, smoothed = np.array(raw), np.array(smoothed[:])
    assert (smoothed[:, :3].std(axis=0) < 0.6 * raw[:, :3].std(axis=0)).all()
    assert smoothed[:, 3].mean() < 0.6 * raw[:, 3].mean()
    assert np.abs(smoothed[:, :3].mean(axis=0)).max() < 0.001


def test_at_rest_many_frames_are_averaged():
    rng = np.random.default_rng(0)
    truth = _pose([0.1, -0.05, 0.8], [1.0, 0.4, -2.0])
    smoother = PoseFilter(_noisy(truth, rng), 0, DIAMETER_M)
    errors = []
    for index in range(1, 400):
        result = smoother.update(_noisy(truth, rng), index * FRAME_NS, at_rest=True)
        errors.append([*(result[:3, 3] - truth[:3, 3]), _angle(result, truth)])
    settled = np.array(errors)[20:]
    assert (np.sqrt((settled[:, :3] ** 2).mean(axis=0)) < 0.3 * 0.005).all()
    assert settled[:, 3].mean() < 0.3 * 0.03 * np.sqrt(8.0 / np.pi)


@pytest.mark.parametrize("step_m", [0.001, 0.003, 0.01, 0.03])
@pytest.mark.parametrize("seed", range(4))
def test_one_that_moves_while_the_camera_rests_is_followed(step_m, seed):
    rng = np.random.default_rng(seed)
    smoother = PoseFilter(_pose([0, 0, 1.0]), 0, DIAMETER_M)
    for index in range(1, 100):
        smoother.update(_noisy(_pose([0, 0, 1.0]), rng), index * FRAME_NS, at_rest=True)
    lags = []
    for index in range(1, 60):
        truth = _pose([step_m * index, 0, 1.0])
        result = smoother.update(_noisy(truth, rng), (99 + index) * FRAME_NS, at_rest=True)
        lags.append(truth[0, 3] - result[0, 3])
    assert np.abs(lags[8:]).mean() < 0.008  # with estimates that are off by 0.005 themselves


def test_steady_motion_is_followed_without_lag():
    smoother = PoseFilter(_pose([0, 0, 1.0]), 0, DIAMETER_M)
    for index in range(1, 30):
        truth = _pose([0.01 * index, 0, 1.0], [0, 0.05 * index, 0])
        result = smoother.update(truth, index * FRAME_NS)
        np.testing.assert_allclose(result, truth, atol=1e-9)


def test_motion_that_begins_after_rest_is_caught_up_within_a_few_frames():
    rng = np.random.default_rng(1)
    rest = _pose([0, 0, 1.0])
    smoother = PoseFilter(rest, 0, DIAMETER_M)
    for index in range(1, 100):
        smoother.update(_noisy(rest, rng), index * FRAME_NS)
    for index in range(1, 8):
        truth = _pose([0.03 * index, 0, 1.0])
        result = smoother.update(_noisy(truth, rng), (99 + index) * FRAME_NS)
    assert np.linalg.norm(result[:3, 3] - truth[:3, 3]) < 0.03  # less than one frame's way


@pytest.mark.parametrize(
    "jump", [_pose([0.1, 0, 1.0]), _pose([0, 0, 1.0], [0.0, 0.9, 0.0]), _pose([0, 0, 1.0], [np.pi, 0, 0])]
)
def test_jumps_are_taken_as_they_are_and_leave_no_trace(jump):
    smoother = PoseFilter(_pose([0, 0, 1.0]), 0, DIAMETER_M)
    smoother.update(_pose([0.001, 0, 1.0]), FRAME_NS)
    np.testing.assert_array_equal(smoother.update(jump, 2 * FRAME_NS), jump)
    np.testing.assert_allclose(smoother.update(jump, 3 * FRAME_NS), jump, atol=1e-12)


def test_after_a_pause_nothing_old_is_mixed_in():
    smoother = PoseFilter(_pose([0, 0, 1.0]), 0, DIAMETER_M)
    later = _pose([0.01, 0, 1.0], [0.1, 0, 0])
    np.testing.assert_array_equal(smoother.update(later, 5_000_000_000), later)


@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=40, deadline=None)
def test_result_lies_between_old_and_new_and_is_rigid(seed):
    rng = np.random.default_rng(seed)
    before = _pose(rng.uniform(-0.1, 0.1, 3), rng.uniform(-1, 1, 3))
    smoother = PoseFilter(before, 0, DIAMETER_M, FilterSettings(error_memory=0.5))
    for index in range(1, 10):
        estimate = _noisy(before, rng)
        old = smoother.pose
        result = smoother.update(estimate, index * FRAME_NS)
        assert _angle(old, result) <= _angle(old, estimate) + 1e-9
        step, whole = result[:3, 3] - old[:3, 3], estimate[:3, 3] - old[:3, 3]
        assert np.linalg.norm(np.cross(step, whole)) < 1e-12 and 0 <= step @ whole <= whole @ whole * (1 + 1e-9)
        np.testing.assert_allclose(result[:3, :3] @ result[:3, :3].T, np.eye(3), atol=1e-12)


def test_unchanging_input_stays_exactly():
    truth = _pose([0.3, 0.1, 0.9], [0.5, 0.2, 0.1])
    smoother = PoseFilter(truth, 0, DIAMETER_M)
    for index in range(5):
        np.testing.assert_allclose(smoother.update(truth, index * FRAME_NS), truth, atol=1e-12)


def _covariance(rng: np.random.Generator, size: int = 6) -> np.ndarray:
    factor = rng.normal(size=(size, size))
    return factor @ factor.T


@given(seed=st.integers(0, 2**31 - 1), gain=st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_no_correlation_of_two_errors_makes_their_mean_worse_than_said(seed, gain):
    joint = _covariance(np.random.default_rng(seed), 12)  # of both errors, correlated somehow
    mean = np.hstack([(1.0 - gain) * np.eye(6), gain * np.eye(6)])
    said = blended(joint[:6, :6], joint[6:, 6:], np.full(6, gain))
    assert np.linalg.eigvalsh(said - mean @ joint @ mean.T).min() > -1e-9


def test_errors_that_are_one_stay_as_large_whatever_the_gains():
    covariance = _covariance(np.random.default_rng(0))
    found = blended(covariance, covariance, np.repeat([0.2, 0.7], 3))
    np.testing.assert_allclose(found[:3, :3], covariance[:3, :3])
    np.testing.assert_allclose(found[3:, 3:], covariance[3:, 3:])
    assert np.linalg.eigvalsh(found).min() > 0.0


def test_a_smoothed_pose_has_the_covariance_of_the_smoothed_pose():
    """Errors of which a part stays and a part is new in every frame: they are as large as said, not as one frame's."""
    rng = np.random.default_rng(3)
    lasting, new = 0.003, 0.004
    truth, squared, said = _pose([0.1, 0.0, 0.8]), [], []
    for _ in range(40):
        offset = rng.normal(0.0, lasting, 3)
        smoother = None
        for index in range(40):
            estimate = _pose(truth[:3, 3] + offset + rng.normal(0.0, new, 3))
            covariance = np.diag([lasting**2 + new**2] * 3 + [1e-4] * 3)
            if smoother is None:
                smoother = PoseFilter(estimate, 0, DIAMETER_M, covariance=covariance)
                np.testing.assert_array_equal(smoother.covariance, covariance)
            else:
                smoother.update(estimate, index * FRAME_NS, covariance)
        error = smoother.pose[:3, 3] - truth[:3, 3]
        squared.append(error @ np.linalg.solve(smoother.covariance[:3, :3], error))
        said.append(np.trace(smoother.covariance[:3, :3]))
    assert 0.5 < np.mean(squared) < 3.3  # cautious, but not by much
    assert np.mean(said) < 2.5 * 3.0 * (lasting**2 + new**2)


def test_a_pose_that_lags_behind_says_so():
    covariance = np.diag([1e-8] * 6)
    smoother = PoseFilter(_pose([0, 0, 1.0]), 0, DIAMETER_M, covariance=covariance)
    rng = np.random.default_rng(4)
    for index in range(1, 60):  # noise first, so that the gain is low
        smoother.update(_pose(rng.normal([0.0, 0.0, 1.0], 0.002)), index * FRAME_NS, covariance)
    result = smoother.update(_pose([0.03, 0.0, 1.0]), 60 * FRAME_NS, covariance)
    behind = 0.03 - result[0, 3]
    assert behind > 0.005
    assert np.sqrt(smoother.covariance[0, 0]) >= 0.9 * behind


def test_an_unknown_covariance_stays_unknown_until_the_filter_starts_afresh():
    known = np.diag([1e-6] * 6)
    smoother = PoseFilter(_pose([0, 0, 1.0]), 0, DIAMETER_M, covariance=known)
    smoother.update(_pose([0.001, 0, 1.0]), FRAME_NS)
    assert smoother.covariance is None
    smoother.update(_pose([0.001, 0, 1.0]), 2 * FRAME_NS, known)
    assert smoother.covariance is None  # a part of the pose is still the one of which nothing is known
    smoother.update(_pose([0.2, 0, 1.0]), 3 * FRAME_NS, known)
    np.testing.assert_array_equal(smoother.covariance, known)
