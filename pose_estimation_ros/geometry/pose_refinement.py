"""Refinement of a pose on its inliers: Levenberg-Marquardt with Huber's weights, and what the pose is worth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_STEPS = 10  # of Levenberg-Marquardt
_HUBER = 2.0  # residuals beyond this many standard deviations count linearly
_NEAREST_M = 1e-6  # points nearer to the camera plane cannot be inliers


@dataclass(frozen=True)
class TranslationPrior:
    """A point of the object of which is known, more or less, where it is in the image and how far away."""

    point: np.ndarray  # (3,) on the object, metres
    pixel: np.ndarray  # (2,)
    depth_m: float
    pixel_deviation: np.ndarray  # (2,) standard deviations, pixels
    log_depth_deviation: float  # standard deviation of the logarithm of the depth
    redundancy: float = 1.0  # so many correspondences are worth one independent of the others


@dataclass(frozen=True)
class Matches:
    """Correspondences between an image and an object."""

    pixels: np.ndarray  # (N, 2)
    points: np.ndarray  # (N, 3)
    weights: np.ndarray  # (N,) inverse standard deviations
    intrinsics: np.ndarray  # (3, 3)

    def chosen(self, rows: np.ndarray) -> Matches:
        """Keep some rows."""
        return Matches(self.pixels[rows], self.points[rows], self.weights[rows], self.intrinsics)

    def scaled(self, factor: float) -> Matches:
        """Multiply the weights."""
        return Matches(self.pixels, self.points, self.weights * factor, self.intrinsics)


def residuals_of(matches: Matches, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return residuals (2, N) in pixels, camera points (3, N) and rotated object points (3, N)."""
    rotated = pose[:3, :3] @ matches.points.T
    in_camera = rotated + pose[:3, 3:]
    ahead = in_camera[2] > _NEAREST_M
    projected = matches.intrinsics[:2] @ (in_camera / np.where(ahead, in_camera[2], 1.0))
    return np.where(ahead, projected - matches.pixels.T, np.inf), in_camera, rotated


def levenberg_marquardt(
    matches: Matches, pose: np.ndarray, translation_prior: TranslationPrior | None, known_deviations: bool = False
) -> np.ndarray:
    """Refine a pose (4, 4) on matches that are inliers, and on a placed point where there is one.

    The scale of the matches' errors is estimated from their residuals at the start. A translation prior is taken as it
    stands, and then so are weights that are the inverse standard deviations themselves: both can be weighed against
    each other.
    """
    residuals, in_camera, rotated = residuals_of(matches, pose)
    lengths = matches.weights * np.sqrt((residuals**2).sum(axis=0))
    # The median length of a 2D Gaussian error is 1.177 standard deviations.
    deviation = max(float(np.median(lengths)) / 1.177, 1e-9 * float(matches.weights.max()))
    if known_deviations and translation_prior is not None:
        deviation = 1.0
    redundancy = 1.0 if translation_prior is None else translation_prior.redundancy
    knee = _HUBER / np.sqrt(redundancy)
    matches = matches.scaled(1.0 / (deviation * np.sqrt(redundancy)))
    lengths = matches.weights * np.sqrt((residuals**2).sum(axis=0))
    place = _placement(translation_prior, matches.intrinsics, pose)
    cost, damping = _huber_cost(lengths, knee) + place.cost, 1e-4
    for _ in range(_STEPS):
        robust = np.minimum(1.0, knee / np.maximum(lengths, 1e-300))
        hessian, gradient = _normal_equations(matches, residuals, in_camera, rotated, robust)
        hessian, gradient = hessian + place.hessian, gradient + place.gradient
        scale = np.diag(np.diag(hessian) + 1e-12 * np.trace(hessian))
        step = np.linalg.solve(hessian + damping * scale, -gradient)
        candidate = moved_pose(pose, step)
        residuals_next, in_camera_next, rotated_next = residuals_of(matches, candidate)
        lengths_next = matches.weights * np.sqrt((residuals_next**2).sum(axis=0))
        place_next = _placement(translation_prior, matches.intrinsics, candidate)
        cost_next = _huber_cost(lengths_next, knee) + place_next.cost
        if not cost_next <= cost:
            damping *= 10.0
            continue
        small = cost - cost_next <= 1e-6 * cost
        pose, residuals, in_camera, rotated = candidate, residuals_next, in_camera_next, rotated_next
        cost, lengths, place, damping = cost_next, lengths_next, place_next, damping * 0.1
        if small:
            break
    return pose


@dataclass(frozen=True)
class _Term:
    """Half the squared residual of a placed point, with its derivatives by the pose."""

    cost: float
    gradient: np.ndarray  # (6,)
    hessian: np.ndarray  # (6, 6), Gauss-Newton's


def _placement(translation_prior: TranslationPrior | None, intrinsics: np.ndarray, pose: np.ndarray) -> _Term:
    if translation_prior is None:
        return _Term(0.0, np.zeros(6), np.zeros((6, 6)))
    match = Matches(translation_prior.pixel[None], translation_prior.point[None], np.ones(1), intrinsics)
    residuals, in_camera, rotated = residuals_of(match, pose)
    depth = float(in_camera[2, 0])
    if depth <= _NEAREST_M:
        return _Term(np.inf, np.zeros(6), np.zeros((6, 6)))
    inverse = 1.0 / np.append(translation_prior.pixel_deviation, translation_prior.log_depth_deviation)
    residual = np.append(residuals[:, 0], np.log(depth / translation_prior.depth_m)) * inverse
    by_depth = np.array([0.0, 0.0, 1.0, rotated[1, 0], -rotated[0, 0], 0.0]) / depth
    jacobian = np.column_stack([projection_jacobian(intrinsics, in_camera, rotated)[:, :, 0], by_depth]) * inverse
    return _Term(0.5 * float(residual @ residual), jacobian @ residual, jacobian @ jacobian.T)


def _huber_cost(lengths: np.ndarray, knee: float) -> float:
    return float(np.where(lengths <= knee, 0.5 * lengths**2, knee * (lengths - 0.5 * knee)).sum())


def _normal_equations(
    matches: Matches, residuals: np.ndarray, in_camera: np.ndarray, rotated: np.ndarray, robust: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return J^T W J (6, 6) and J^T W r (6,) for increments x y z rx ry rz in camera axes about the origin."""
    jacobian = projection_jacobian(matches.intrinsics, in_camera, rotated)
    weighted = (jacobian * (robust * matches.weights**2)).reshape(6, -1)
    return weighted @ jacobian.reshape(6, -1).T, weighted @ residuals.reshape(-1)


def projection_jacobian(intrinsics: np.ndarray, in_camera: np.ndarray, rotated: np.ndarray) -> np.ndarray:
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


def moved_pose(pose: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return a pose (4, 4) after an increment x y z rx ry rz in camera axes about the object's origin."""
    moved = np.eye(4)
    moved[:3, :3] = cv2.Rodrigues(step[3:])[0] @ pose[:3, :3]
    moved[:3, 3] = pose[:3, 3] + step[:3]
    return moved


def uncertainty(
    matches: Matches, pose: np.ndarray, translation_prior: TranslationPrior | None, known_deviations: bool = False
) -> tuple[np.ndarray, float]:
    """Return the covariance (6, 6) from (J^T W J)^-1 times the residual variance, and the RMS error in pixels.

    Where the weights are the inverse standard deviations themselves that variance is 1, or more if residuals say so.
    """
    residuals, in_camera, rotated = residuals_of(matches, pose)
    squared = (residuals**2).sum(axis=0)
    hessian, _ = _normal_equations(matches, residuals, in_camera, rotated, np.ones(len(squared)))
    freedom = max(2 * len(squared) - 6, 1)
    variance = float((matches.weights**2 * squared).sum()) / freedom
    if known_deviations:
        variance = max(variance, 1.0)
    if translation_prior is not None:
        variance *= translation_prior.redundancy
        hessian = hessian + max(variance, 1e-300) * _placement(translation_prior, matches.intrinsics, pose).hessian
    # Unit diagonal first: metres and radians differ by orders of magnitude. Directions that nothing
    # constrains get a large variance instead of an infinite one.
    scale = 1.0 / np.sqrt(np.maximum(np.diag(hessian), 1e-300))
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    inverse = (vectors / np.maximum(values, 1e-12)) @ vectors.T
    covariance = variance * inverse * np.outer(scale, scale)
    return (covariance + covariance.T) / 2.0, float(np.sqrt(squared.mean()))
