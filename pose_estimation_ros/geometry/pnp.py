"""Pose from 2D-3D correspondences with outliers: RANSAC, then weighted refinement on the inliers.

`benchmarks/pnp.py` compares the robust solvers; docs/pnp.md has its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pose_estimation_ros.geometry.ransac import robust_pose

MIN_POINTS = 4  # three fix a pose up to four solutions, the fourth decides
_ROUNDS = 3  # of refinement and new selection of inliers
_STEPS = 10  # of Levenberg-Marquardt per round
_HUBER = 2.0  # residuals beyond this many standard deviations count linearly
_SAMPLED = 600  # RANSAC looks at no more matches; the refinement at all
_NEAREST_M = 1e-6  # points nearer to the camera plane cannot be inliers


@dataclass(frozen=True)
class PnpResult:
    """A pose with what supports it."""

    camera_from_object: np.ndarray  # (4, 4) float64, metres
    inliers: np.ndarray  # (N,) bool
    covariance: np.ndarray  # (6, 6) of x y z rx ry rz in metres and radians, camera axes, about the object's origin
    reprojection_px: float  # root mean square distance of the inliers


@dataclass(frozen=True)
class _Matches:
    pixels: np.ndarray  # (N, 2)
    points: np.ndarray  # (N, 3)
    weights: np.ndarray  # (N,)
    intrinsics: np.ndarray  # (3, 3)

    def chosen(self, rows: np.ndarray) -> _Matches:
        return _Matches(self.pixels[rows], self.points[rows], self.weights[rows], self.intrinsics)


def solve_pnp(
    pixels: np.ndarray,
    points: np.ndarray,
    intrinsics: np.ndarray,
    weights: np.ndarray | None = None,
    threshold_px: float = 3.0,
    iterations: int = 2000,
    seed: int = 0,
    initial: np.ndarray | None = None,
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
    refined = _refine(matches, best, threshold_px)
    if refined is None:
        return None
    pose, rows = refined
    covariance, reprojection_px = _uncertainty(matches.chosen(rows), pose)
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
) -> _Matches:
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
    return _Matches(pixels, points, weights, intrinsics)


def _residuals(matches: _Matches, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return residuals (2, N) in pixels, camera points (3, N) and rotated object points (3, N)."""
    rotated = pose[:3, :3] @ matches.points.T
    in_camera = rotated + pose[:3, 3:]
    ahead = in_camera[2] > _NEAREST_M
    projected = matches.intrinsics[:2] @ (in_camera / np.where(ahead, in_camera[2], 1.0))
    return np.where(ahead, projected - matches.pixels.T, np.inf), in_camera, rotated


def _truncated_cost(matches: _Matches, pose: np.ndarray, threshold_px: float) -> float:
    residuals, _, _ = _residuals(matches, pose)
    return float(np.minimum((residuals**2).sum(axis=0), threshold_px**2).sum())


def _inliers(matches: _Matches, pose: np.ndarray, threshold_px: float) -> np.ndarray:
    residuals, _, _ = _residuals(matches, pose)
    return (residuals**2).sum(axis=0) < threshold_px**2


def _refine(matches: _Matches, pose: np.ndarray, threshold_px: float) -> tuple[np.ndarray, np.ndarray] | None:
    rows = _inliers(matches, pose, threshold_px)
    for _ in range(_ROUNDS):
        if rows.sum() < MIN_POINTS:
            return None
        pose = _levenberg_marquardt(matches.chosen(rows), pose)
        before, rows = rows, _inliers(matches, pose, threshold_px)
        if (rows == before).all():
            break
    return (pose, rows) if rows.sum() >= MIN_POINTS else None


def _levenberg_marquardt(matches: _Matches, pose: np.ndarray) -> np.ndarray:
    residuals, in_camera, rotated = _residuals(matches, pose)
    lengths = matches.weights * np.sqrt((residuals**2).sum(axis=0))
    # The median length of a 2D Gaussian error is 1.177 standard deviations.
    knee = _HUBER * max(float(np.median(lengths)) / 1.177, 1e-9 * float(matches.weights.max()))
    cost, damping = _huber_cost(lengths, knee), 1e-4
    for _ in range(_STEPS):
        robust = np.minimum(1.0, knee / np.maximum(lengths, 1e-300))
        hessian, gradient = _normal_equations(matches, residuals, in_camera, rotated, robust)
        scale = np.diag(np.diag(hessian) + 1e-12 * np.trace(hessian))
        step = np.linalg.solve(hessian + damping * scale, -gradient)
        candidate = _moved(pose, step)
        residuals_next, in_camera_next, rotated_next = _residuals(matches, candidate)
        lengths_next = matches.weights * np.sqrt((residuals_next**2).sum(axis=0))
        cost_next = _huber_cost(lengths_next, knee)
        if not cost_next <= cost:
            damping *= 10.0
            continue
        small = cost - cost_next <= 1e-9 * cost
        pose, residuals, in_camera, rotated = candidate, residuals_next, in_camera_next, rotated_next
        cost, lengths, damping = cost_next, lengths_next, damping * 0.1
        if small:
            break
    return pose


def _huber_cost(lengths: np.ndarray, knee: float) -> float:
    return float(np.where(lengths <= knee, 0.5 * lengths**2, knee * (lengths - 0.5 * knee)).sum())


def _normal_equations(
    matches: _Matches, residuals: np.ndarray, in_camera: np.ndarray, rotated: np.ndarray, robust: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return J^T W J (6, 6) and J^T W r (6,) for increments x y z rx ry rz in camera axes about the origin."""
    jacobian = _jacobian(matches.intrinsics, in_camera, rotated)
    weighted = (jacobian * (robust * matches.weights**2)).reshape(6, -1)
    return weighted @ jacobian.reshape(6, -1).T, weighted @ residuals.reshape(-1)


def _jacobian(intrinsics: np.ndarray, in_camera: np.ndarray, rotated: np.ndarray) -> np.ndarray:
    """Return the derivative (6, 2, N) of the projections by translation and by rotation, X = exp(w) R p + t."""
    inverse = 1.0 / in_camera[2]
    jacobian = np.empty((6, 2, in_camera.shape[1]))
    jacobian[0] = intrinsics[:2, 0, None] * inverse
    jacobian[1] = intrinsics[:2, 1, None] * inverse
    jacobian[2] = intrinsics[:2, :2] @ in_camera[:2] * -(inverse**2)
    # d(exp(w) q)/dw = -[q]x: the rows by rotation are q x (rows by translation).
    x, y, z = rotated
    jacobian[3] = y * jacobian[2] - z * jacobian[1]
    jacobian[4] = z * jacobian[0] - x * jacobian[2]
    jacobian[5] = x * jacobian[1] - y * jacobian[0]
    return jacobian


def _moved(pose: np.ndarray, step: np.ndarray) -> np.ndarray:
    moved = np.eye(4)
    moved[:3, :3] = cv2.Rodrigues(step[3:])[0] @ pose[:3, :3]
    moved[:3, 3] = pose[:3, 3] + step[:3]
    return moved


def _uncertainty(matches: _Matches, pose: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the covariance (6, 6) from (J^T W J)^-1 times the residual variance, and the RMS error in pixels."""
    residuals, in_camera, rotated = _residuals(matches, pose)
    squared = (residuals**2).sum(axis=0)
    hessian, _ = _normal_equations(matches, residuals, in_camera, rotated, np.ones(len(squared)))
    freedom = max(2 * len(squared) - 6, 1)
    variance = float((matches.weights**2 * squared).sum()) / freedom
    # Unit diagonal first: metres and radians differ by orders of magnitude. Directions that nothing
    # constrains get a large variance instead of an infinite one.
    scale = 1.0 / np.sqrt(np.maximum(np.diag(hessian), 1e-300))
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    inverse = (vectors / np.maximum(values, 1e-12)) @ vectors.T
    covariance = variance * inverse * np.outer(scale, scale)
    return (covariance + covariance.T) / 2.0, float(np.sqrt(squared.mean()))
