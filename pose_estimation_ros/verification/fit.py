"""Fit the weights of the score: a logistic regression whose signs are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pose_estimation_ros.objects.score_entry import ScoreTerm
from pose_estimation_ros.verification.probability import bounded

MIN_POSES = 100  # of which at least a tenth each must be right and wrong
_KNOWN = 0.2  # share of the poses of which a term has to be known at least; the others get its usual value
_RIDGE = 3.0  # penalty of squared weights, of standardised values
_TAIL = 0.02  # share of the values beyond each limit of a term


def fit_terms(
    evidence: Mapping[str, np.ndarray], right: np.ndarray, signs: Mapping[str, int]
) -> tuple[float, dict[str, ScoreTerm]]:
    """Return the intercept and the terms of the score under which what was seen is most likely.

    Every weight has the sign that makes sense, or is zero, so that chance in the data cannot turn evidence for a pose
    into evidence against it; and values are bounded to what was seen, so that nothing is extrapolated.

    Args:
        evidence: of N poses, (N,) each; not a number where unknown.
        right: which of them are right (N,) bool.
        signs: of the evidence to be used, 1 where more speaks for a pose, -1 where it speaks against it.

    Raises:
        ValueError: if there are too few poses, or hardly any right or wrong ones.
    """
    _check(right)
    terms = {name: _limits(evidence[name]) for name in signs if np.isfinite(evidence[name]).mean() > _KNOWN}
    values = np.column_stack([bounded(evidence[name], term) for name, term in terms.items()])
    mean, scale = values.mean(axis=0), values.std(axis=0)
    varied = scale > 1e-6
    names = [name for name, chosen in zip(terms, varied, strict=True) if chosen]
    mean, scale = mean[varied], scale[varied]
    intercept, weights = _logistic(
        (values[:, varied] - mean) / scale, right.astype(np.float64), [signs[name] for name in names]
    )
    weights = weights / scale
    intercept -= float(weights @ mean)
    found = {
        name: terms[name].model_copy(update={"weight": _rounded(float(weight))})
        for name, weight in zip(names, weights, strict=True)
        if weight != 0.0
    }
    return _rounded(intercept), found


def _rounded(value: float) -> float:
    """Keep as many digits as mean something, for people who read the bundle."""
    return float(f"{value:.5g}")


def _check(right: np.ndarray) -> None:
    share = float(right.mean()) if len(right) else 0.0
    if len(right) < MIN_POSES or not 0.03 <= share <= 0.97:
        raise ValueError(
            f"{len(right)} poses, {int(right.sum())} of them right: expected at least {MIN_POSES}, and 3 % of them "
            "right and 3 % wrong; make more scenes, or train the methods first"
        )


def _limits(values: np.ndarray) -> ScoreTerm:
    known = values[np.isfinite(values)]
    low, usual, high = (_rounded(float(value)) for value in np.quantile(known, [_TAIL, 0.5, 1.0 - _TAIL]))
    return ScoreTerm(weight=0.0, low=low, high=high, usual=usual)


def _logistic(values: np.ndarray, right: np.ndarray, signs: Sequence[int]) -> tuple[float, np.ndarray]:
    """Minimise the cross entropy plus half the ridge times the squared weights, weights keeping their signs."""
    from scipy.optimize import minimize

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        odds = parameters[0] + values @ parameters[1:]
        chance = 1.0 / (1.0 + np.exp(-odds))
        wrong = chance - right
        value = float(np.logaddexp(0.0, odds).sum() - right @ odds) + 0.5 * _RIDGE * float(
            parameters[1:] @ parameters[1:]
        )
        gradient = np.concatenate([[wrong.sum()], values.T @ wrong + _RIDGE * parameters[1:]])
        return value, gradient

    bounds = [(None, None), *[(0.0, None) if sign > 0 else (None, 0.0) for sign in signs]]
    start = np.zeros(values.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500})
    return float(found.x[0]), found.x[1:]
