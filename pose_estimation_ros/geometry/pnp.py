"""Pose from 2D-3D correspondences with outliers: RANSAC, then weighted refinement on the inliers.

`benchmarks/pnp.py` compares the robust solvers; docs/pnp.md has its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pose_estimation_ros.geometry.pose_refinement import (
    Matches,
    TranslationPrior,
    levenberg_marquardt,
    residuals_of,
    uncertainty,
)
from pose_estimation_ros.geometry.ransac import robust_pose

MIN_POINTS = 4  # three fix a pose up to four solutions, the fourth decides
_ROUNDS = 3  # of refinement and new selection of inliers
_SAMPLED = 600  # RANSAC looks at no more matches; the refinement at all


@dataclass(frozen=True)
class PnpResult:
    """A pose with what supports it."""

    camera_from_object: np.ndarray  # (4, 4) float64, metres
    inliers: np.ndarray  # (N,) bool
    covariance: np.ndarray  # (6, 6) of x y z rx ry rz in metres and radians, camera axes, about the object's origin
    reprojection_px: float  # root mean square distance of the inliers


def solve_pnp(
    pixels: np.ndarray,
    points: np.ndarray,
    intrinsics: np.ndarray,
    weights: np.ndarray | None = None,
    threshold_px: float = 3.0,
    iterations: int = 2000,
    seed: int = 0,
    initial: np.ndarray | None = None,
    translation_prior: TranslationPrior | None = None,
    known_deviations: bool = False,
) -> PnpResult | None:
    """Find the pose that most correspondences agree on.

    Args:
        pixels: image points, shape (N, 2). Rows that are not finite are ignored.
        points: object points in metres, shape (N, 3). Rows that are not finite are ignored.
        intrinsics: camera matrix in pixels, shape (3, 3).
        weights: inverse standard deviations of the pixel errors, shape (N,), any common factor; zero ignores a row.
        threshold_px: largest distance in pixels between an inlier and its projection.
        iterations: most RANSAC iterations, fewer where the share of inliers is high; 0 only refines `initial`.
        seed: of the random samples; same seed, same result.
        initial: a pose (4, 4) to consider beside the one from RANSAC.
        translation_prior: a point whose place is known from elsewhere; takes part in the refinement and in the
            covariance.
        known_deviations: the weights are inverse standard deviations in pixels, without a common factor. As such they
            are weighed against a translation prior, and the covariance is at least what follows from them, also where a
            few matches happen to agree better.

    Returns:
        The pose, or None where fewer than four correspondences agree on one.

    Raises:
        ValueError: if the shapes do not belong together, the threshold is not positive, or nothing to start from.

    Source: PoseLib's locally optimised RANSAC with P3P (Persson and Nordberg, Lambda Twist, ECCV 2018); then
    iteratively re-weighted least squares with Huber's weights on axis-angle increments in the camera's axes.
    """
    matches = _checked(pixels, points, intrinsics, weights, threshold_px)
    if iterations < 1 and initial is None:
        raise ValueError(f"solve_pnp: iterations = {iterations} without an initial pose, expected at least 1")
    usable = np.flatnonzero(
        np.isfinite(matches.pixels).all(axis=1)
        & np.isfinite(matches.points).all(axis=1)
        & np.isfinite(matches.weights)
        & (matches.weights > 0.0)
    )
    if len(usable) < MIN_POINTS:
        return None
    matches = matches.chosen(usable)
    starts = [] if initial is None else [np.asarray(initial, dtype=np.float64)]
    if iterations > 0:
        sampled = matches
        if len(usable) > _SAMPLED:
            sampled = matches.chosen(np.random.default_rng(seed).choice(len(usable), _SAMPLED, replace=False))
        starts.append(robust_pose(sampled.pixels, sampled.points, matches.intrinsics, threshold_px, iterations, seed))
    starts = [pose for pose in starts if np.isfinite(pose).all()]
    if not starts:
        return None
    best = min(starts, key=lambda pose: _truncated_cost(matches, pose, threshold_px))
    refined = _refine(matches, best, threshold_px, translation_prior, known_deviations)
    if refined is None:
        return None
    pose, rows = refined
    covariance, reprojection_px = uncertainty(matches.chosen(rows), pose, translation_prior, known_deviations)
    inliers = np.zeros(len(np.asarray(pixels)), dtype=bool)
    inliers[usable[rows]] = True
    return PnpResult(pose, inliers, covariance, reprojection_px)


def solve_pnp_batch(
    pixels: Sequence[np.ndarray],
    points: Sequence[np.ndarray],
    intrinsics: Sequence[np.ndarray],
    weights: Sequence[np.ndarray] | None = None,
    threshold_px: float = 3.0,
    iterations: int = 2000,
    seed: int = 0,
) -> list[PnpResult | None]:
    """Solve several problems of any size each; arguments and results as for `solve_pnp`, one entry per problem.

    Raises:
        ValueError: if the sequences have different lengths, or as `solve_pnp` does.
    """
    chosen = [None] * len(pixels) if weights is None else weights
    if not len(pixels) == len(points) == len(intrinsics) == len(chosen):
        raise ValueError(
            f"solve_pnp_batch: {len(pixels)} pixels, {len(points)} points, {len(intrinsics)} intrinsics, "
            f"{len(chosen)} weights, expected as many of each"
        )
    return [
        solve_pnp(*problem, threshold_px=threshold_px, iterations=iterations, seed=seed)
        for problem in zip(pixels, points, intrinsics, chosen, strict=True)
    ]


def _checked(
    pixels: np.ndarray, points: np.ndarray, intrinsics: np.ndarray, weights: np.ndarray | None, threshold_px: float
) -> Matches:
    pixels = np.asarray(pixels, dtype=np.float64)
    points = np.asarray(points, dtype=np.float64)
    intrinsics = np.asarray(intrinsics, dtype=np.float64)
    weights = np.ones(len(pixels)) if weights is None else np.asarray(weights, dtype=np.float64)
    if pixels.ndim != 2 or pixels.shape[1] != 2:
        raise ValueError(f"solve_pnp: pixels has shape {pixels.shape}, expected (N, 2)")
    if points.shape != (len(pixels), 3):
        raise ValueError(f"solve_pnp: points has shape {points.shape}, expected ({len(pixels)}, 3)")
    if weights.shape != (len(pixels),):
        raise ValueError(f"solve_pnp: weights has shape {weights.shape}, expected ({len(pixels)},)")
    if intrinsics.shape != (3, 3) or not np.isfinite(intrinsics).all():
        raise ValueError(f"solve_pnp: intrinsics of shape {intrinsics.shape}, expected a finite (3, 3) matrix")
    if not threshold_px > 0.0:
        raise ValueError(f"solve_pnp: threshold_px = {threshold_px!r}, expected positive pixels")
    return Matches(pixels, points, weights, intrinsics)


def _truncated_cost(matches: Matches, pose: np.ndarray, threshold_px: float) -> float:
    residuals, _, _ = residuals_of(matches, pose)
    return float(np.minimum((residuals**2).sum(axis=0), threshold_px**2).sum())


def _inliers(matches: Matches, pose: np.ndarray, threshold_px: float) -> np.ndarray:
    residuals, _, _ = residuals_of(matches, pose)
    return (residuals**2).sum(axis=0) < threshold_px**2


def _refine(
    matches: Matches,
    pose: np.ndarray,
    threshold_px: float,
    translation_prior: TranslationPrior | None,
    known_deviations: bool,
) -> tuple[np.ndarray, np.ndarray] | None:
    rows = _inliers(matches, pose, threshold_px)
    for _ in range(_ROUNDS):
        if rows.sum() < MIN_POINTS:
            return None
        pose = levenberg_marquardt(matches.chosen(rows), pose, translation_prior, known_deviations)
        before, rows = rows, _inliers(matches, pose, threshold_px)
        if (rows == before).all():
            break
    return (pose, rows) if rows.sum() >= MIN_POINTS else None
