"""Does a higher score mean a better pose? Scores against the share of poses that are right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose_estimation_ros.evaluation import metrics
from pose_estimation_ros.evaluation.localisation import TargetErrors
from pose_estimation_ros.evaluation.metrics import ObjectPoints


@dataclass(frozen=True)
class Reliability:
    """Poses in groups of equal size, by rising score."""

    scores: np.ndarray  # (G,) mean score of each group
    right: np.ndarray  # (G,) share of its poses that are right
    counts: np.ndarray  # (G,)
    ranking: float  # chance that a right pose is scored above a wrong one, 0.5 is a guess; NaN where all are alike


def scored_poses(targets: list[TargetErrors], models: dict[int, ObjectPoints]) -> tuple[np.ndarray, np.ndarray]:
    """Return score and correctness of every estimate, shapes (N,): ADD(-S) to the nearest instance asked for."""
    scores, right = [], []
    for item in targets:
        limit = metrics.ADD_SHARE * models[item.target.object_id].diameter_m
        for row, estimate in enumerate(item.estimates):
            scores.append(estimate.score)
            right.append(bool(item.errors["add_s"][row].min(initial=np.inf) < limit))
    return np.array(scores, dtype=np.float64), np.array(right, dtype=bool)


def reliability(scores: np.ndarray, right: np.ndarray, groups: int = 8) -> Reliability:
    """Group poses by score.

    Args:
        scores: shape (N,).
        right: whether each pose is right, shape (N,).
        groups: most groups; fewer where there are fewer poses.

    Raises:
        ValueError: if there are no poses.
    """
    if len(scores) == 0:
        raise ValueError("reliability: no poses, expected at least one")
    order = np.argsort(scores, kind="stable")
    parts = np.array_split(order, min(groups, len(order)))
    good, bad = scores[right], scores[~right]
    above = (good[:, None] > bad[None, :]).mean() if len(good) and len(bad) else np.nan
    equal = (good[:, None] == bad[None, :]).mean() if len(good) and len(bad) else 0.0
    return Reliability(
        scores=np.array([scores[part].mean() for part in parts]),
        right=np.array([right[part].mean() for part in parts]),
        counts=np.array([len(part) for part in parts]),
        ranking=float(above + 0.5 * equal),
    )


def expected_calibration_error(scores: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Return by how much scores differ from the share of right poses, on average over bins of equal width.

    Args:
        scores: shape (N,), in [0, 1].
        right: whether each pose is right, shape (N,).
        bins: number of them.

    Returns:
        Weighted by the poses in each bin; NaN where there are none.
    """
    if len(scores) == 0:
        return float("nan")
    place = np.clip((scores * bins).astype(int), 0, bins - 1)
    gaps = [abs(float((scores[place == bin_] - right[place == bin_]).sum())) for bin_ in np.unique(place)]
    return sum(gaps) / len(scores)


def write_reliability(path: Path, result: Reliability, meaning: str = "share within 0.1 diameters") -> None:
    """Draw the share of right poses over the score.

    Args:
        path: of the picture.
        result: what is drawn.
        meaning: which poses are right.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.plot(result.scores, result.right, marker="o")
    axis.plot([0.0, 1.0], [0.0, 1.0], color="grey", linestyle=":", label="score = share")
    axis.set_xlabel("score")
    axis.set_ylabel(meaning)
    axis.set_title(f"{result.counts.sum()} poses, a right one scored above a wrong one: {result.ranking:.0%}")
    axis.set_xlim(0.0, 1.0)
    axis.set_ylim(0.0, 1.0)
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=110)
