"""Reliability: groups by score, and the chance that the order is right."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.evaluation.reliability import (
    expected_calibration_error,
    reliability,
    write_reliability,
)


def test_scores_that_tell_right_from_wrong() -> None:
    scores = np.array([0.9, 0.1, 0.8, 0.2])
    result = reliability(scores, np.array([True, False, True, False]), groups=2)
    np.testing.assert_allclose(result.scores, [0.15, 0.85])
    np.testing.assert_allclose(result.right, [0.0, 1.0])
    assert result.counts.tolist() == [2, 2]
    assert result.ranking == 1.0


def test_scores_that_say_nothing() -> None:
    generator = np.random.default_rng(0)
    result = reliability(generator.random(4000), generator.random(4000) < 0.3)
    assert result.ranking == pytest.approx(0.5, abs=0.03)
    np.testing.assert_allclose(result.right, 0.3, atol=0.07)
    tied = reliability(np.full(6, 0.5), np.array([True, False] * 3))
    assert tied.ranking == 0.5


def test_the_ranking_is_unknown_where_all_poses_are_alike(tmp_path) -> None:
    result = reliability(np.array([0.2, 0.4]), np.array([True, True]))
    assert np.isnan(result.ranking)
    write_reliability(tmp_path / "reliability.png", result)
    assert (tmp_path / "reliability.png").stat().st_size > 1000


def test_no_poses_are_refused() -> None:
    with pytest.raises(ValueError, match="no poses"):
        reliability(np.zeros(0), np.zeros(0, dtype=bool))


def test_the_calibration_error_is_the_mean_gap_of_the_bins():
    scores = np.array([0.95, 0.95, 0.05, 0.05])
    right = np.array([True, True, False, True])
    assert expected_calibration_error(scores, right) == pytest.approx((2 * 0.05 + 2 * 0.45) / 4)
    generator = np.random.default_rng(1)
    honest = generator.random(20000)
    assert expected_calibration_error(honest, generator.random(20000) < honest) < 0.02
    assert expected_calibration_error(np.ones(3), np.ones(3, dtype=bool)) == 0.0
    assert np.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, dtype=bool)))
