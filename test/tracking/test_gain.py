"""Rest and motion are told apart whatever the noise is like: chance does not end an average, motion does at once."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.tracking.filter import PoseFilter
from pose_estimation_ros.tracking.gain import AdaptiveGain
from pose_estimation_ros.tracking.settings import FilterSettings

DIAMETER_M = 0.15
FRAME_NS = 33_000_000
ALONG_RAY = np.array([0.15, 0.15, 1.0])  # noise of poses from one image: depth is the least certain
SIGMA_M = 0.005


def _noisy(x: float, rng: np.random.Generator, shape: np.ndarray = ALONG_RAY) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = np.array([x, 0.0, 1.0]) + rng.normal(0.0, SIGMA_M, 3) * shape
    return pose


def _rested(rng: np.random.Generator, shape: np.ndarray = ALONG_RAY) -> tuple[PoseFilter, list[np.ndarray]]:
    """Return a filter after a hundred frames of rest, and its poses."""
    smoother = PoseFilter(_noisy(0.0, rng, shape), 0, DIAMETER_M)
    return smoother, [
        smoother.update(_noisy(0.0, rng, shape), frame * FRAME_NS, at_rest=True) for frame in range(1, 100)
    ]


def _lags(seed: int, step_m: float, shape: np.ndarray = ALONG_RAY) -> np.ndarray:
    """Return how far an instance that starts to move after rest is ahead of its filtered pose, frame by frame."""
    rng = np.random.default_rng(seed)
    smoother, _ = _rested(rng, shape)
    lags = []
    for frame in range(1, 40):
        pose = smoother.update(_noisy(step_m * frame, rng, shape), (99 + frame) * FRAME_NS, at_rest=True)
        lags.append(step_m * frame - pose[0, 3])
    return np.array(lags)


def test_noise_along_one_direction_does_not_end_rest():
    """Errors along a line point the same way often enough to look like motion where no direction is told apart."""
    depths = [[pose[2, 3] for pose in _rested(np.random.default_rng(seed))[1][30:]] for seed in range(12)]
    assert np.sqrt(np.mean((np.array(depths) - 1.0) ** 2)) < 0.22 * SIGMA_M  # averages of twenty: 0.16


def test_motion_across_is_seen_through_noise_of_depth():
    assert np.mean([np.abs(_lags(seed, 0.001)[8:]).mean() for seed in range(10)]) < 0.0019


@pytest.mark.parametrize("step_m", [0.01, 0.03])
def test_motion_after_rest_is_followed_at_once(step_m):
    lags = np.mean([_lags(seed, step_m, np.ones(3))[:12] for seed in range(6)], axis=0)
    assert lags.mean() < 0.0035 and lags[2:].max() < 0.006


def test_one_outlier_does_not_end_rest():
    """Of an object that rests, an estimate now and then is quite another; the pose hardly moves with it."""
    moved = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        smoother, poses = _rested(rng)
        after = smoother.update(_noisy(20.0 * 0.15 * SIGMA_M, rng), 100 * FRAME_NS, at_rest=True)
        moved.append((after[0, 3] - poses[-1][0, 3]) / (20.0 * 0.15 * SIGMA_M))
    assert np.median(moved) < 0.1


def test_two_estimates_of_a_new_instance_at_rest_are_averaged():
    estimates = [_noisy(0.0, np.random.default_rng(seed), np.ones(3)) for seed in range(2)]
    for at_rest, expected in ((True, (estimates[0] + estimates[1]) / 2.0), (False, estimates[1])):
        smoother = PoseFilter(estimates[0], 0, DIAMETER_M)
        np.testing.assert_allclose(smoother.update(estimates[1], FRAME_NS, at_rest=at_rest), expected, atol=1e-12)


def test_after_a_jump_the_second_estimate_is_followed():
    """What has just moved may still move: it is no new instance that nothing is known of."""
    smoother = PoseFilter(_noisy(0.0, np.random.default_rng(0)), 0, DIAMETER_M)
    there, further = np.eye(4), np.eye(4)
    there[:3, 3], further[:3, 3] = (0.2, 0.0, 1.0), (0.22, 0.0, 1.0)
    smoother.update(there, FRAME_NS, at_rest=True)
    np.testing.assert_allclose(smoother.update(further, 2 * FRAME_NS, at_rest=True), further, atol=1e-12)


def test_an_instance_that_is_estimated_exactly_rests_until_it_moves():
    gain = AdaptiveGain(FilterSettings(), is_new=True)
    for frame in range(2, 12):
        assert gain.take(np.zeros(3), at_rest=frame > 2) <= 1.0
    assert gain.take(np.array([1e-6, 0.0, 0.0]), at_rest=True) == 1.0


def test_first_estimates_that_differ_in_depth_alone_are_averaged():
    """Noise of depth has one direction: that two errors point the same way says nothing."""
    rng = np.random.default_rng(0)
    averaged = 0
    for _ in range(200):
        gain = AdaptiveGain(FilterSettings(), is_new=True)
        estimates = rng.normal(0.0, 0.005, 4)
        filtered = estimates[0]
        for estimate in estimates[1:]:
            filtered += gain.take(np.array([0.0, 0.0, estimate - filtered]), at_rest=True) * (estimate - filtered)
        averaged += bool(np.isclose(filtered, estimates.mean()))
    assert averaged > 130  # of 200; 79 where two errors that point the same way are a motion


@pytest.mark.parametrize("seed", range(8))
def test_a_new_instance_that_moves_is_followed_from_its_third_estimate(seed):
    rng = np.random.default_rng(seed)
    gain, filtered = AdaptiveGain(FilterSettings(), is_new=True), np.zeros(3)
    for frame in range(1, 8):
        estimate = np.array([0.02 * frame, 0.0, 0.0]) + rng.normal(0.0, 0.001, 3)
        filtered = filtered + gain.take(estimate - filtered, at_rest=True) * (estimate - filtered)
        if frame >= 2:
            assert np.linalg.norm(filtered - estimate) < 0.004
