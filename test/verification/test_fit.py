"""The fit finds the odds that made the data, keeps its signs, extrapolates nothing, refuses what cannot be fitted."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from pose_estimation_ros.evaluation.reliability import expected_calibration_error
from pose_estimation_ros.objects.score_entry import ScoreEntry, ScoreTerm
from pose_estimation_ros.verification.fit import fit_terms
from pose_estimation_ros.verification.probability import probabilities


def _data(count: int = 4000) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    evidence = {"detection": random.normal(size=count), "rivals": random.uniform(0.0, 2.0, count)}
    chance = 1.0 / (1.0 + np.exp(-(0.5 + 1.5 * evidence["detection"] - 1.0 * evidence["rivals"])))
    return evidence, random.random(count) < chance, chance


def _entry(intercept: float, terms: dict[str, ScoreTerm]) -> ScoreEntry:
    return ScoreEntry(backend="b", refiner="none", detector="d", intercept=intercept, terms=terms)


def test_the_odds_behind_the_data_are_found():
    evidence, right, chance = _data()
    intercept, terms = fit_terms(evidence, right, {"detection": 1, "rivals": -1})
    assert terms["detection"].weight == pytest.approx(1.5, abs=0.15)
    assert terms["rivals"].weight == pytest.approx(-1.0, abs=0.15)
    scores = probabilities(_entry(intercept, terms), evidence)
    assert np.abs(scores - chance).mean() < 0.02
    assert expected_calibration_error(scores, right) < 0.03


def test_evidence_for_a_pose_never_speaks_against_it():
    evidence, right, _ = _data()
    _, terms = fit_terms(evidence, right, {"detection": -1, "rivals": -1})
    assert "detection" not in terms  # it would have to be positive
    assert terms["rivals"].weight < 0.0


def test_nothing_is_extrapolated_and_the_unknown_counts_as_usual():
    evidence, right, _ = _data()
    entry = _entry(*fit_terms(evidence, right, {"detection": 1, "rivals": -1}))
    high, usual = entry.terms["detection"].high, entry.terms["detection"].usual
    found = probabilities(entry, {"detection": np.array([high, 1e6, np.nan, usual]), "rivals": np.full(4, 1.0)})
    assert found[0] == found[1]
    assert found[2] == found[3]


def test_evidence_that_is_mostly_unknown_or_always_the_same_is_left_out():
    evidence, right, _ = _data()
    evidence |= {"refiner": np.full(len(right), np.nan), "rejected": np.zeros(len(right))}
    _, terms = fit_terms(evidence, right, {"detection": 1, "refiner": 1, "rejected": -1})
    assert set(terms) == {"detection"}


@pytest.mark.parametrize("right", [np.ones(200, dtype=bool), np.zeros(200, dtype=bool), np.arange(50) % 2 == 0])
def test_what_cannot_be_fitted_is_refused(right):
    with pytest.raises(ValueError, match=r"poses, \d+ of them right: expected at least 100, and 3 %"):
        fit_terms({"detection": np.arange(len(right), dtype=float)}, right, {"detection": 1})


def test_unknown_evidence_is_named():
    term = ScoreTerm(weight=1.0, low=0.0, high=1.0, usual=0.5)
    with pytest.raises(ValueError, match="score of b and none: terms.luck: expected one of detection"):
        probabilities(_entry(0.0, {"luck": term}), {"detection": np.zeros(1)})


def test_limits_in_the_wrong_order_are_refused():
    with pytest.raises(ValidationError, match="low 1, usual 0.5, high 2: expected rising values"):
        ScoreTerm(weight=1.0, low=1.0, high=2.0, usual=0.5)
