"""The pose that most correspondences agree on: PoseLib's RANSAC, or OpenCV's where PoseLib is not installed."""

from __future__ import annotations

import cv2
import numpy as np


def robust_pose(
    pixels: np.ndarray, points: np.ndarray, intrinsics: np.ndarray, threshold_px: float, iterations: int, seed: int
) -> np.ndarray:
    """Find the pose that most correspondences agree on, to be refined by `solve_pnp`.

    Args:
        pixels: image points, finite, shape (N, 2) with N >= 4.
        points: object points in metres, finite, shape (N, 3).
        intrinsics: camera matrix in pixels, shape (3, 3).
        threshold_px: largest distance in pixels between an inlier and its projection.
        iterations: most iterations.
        seed: of the random samples.

    Returns:
        camera_from_object, shape (4, 4); NaN where there is none.
    """
    matrix = intrinsics
    if matrix[0, 1] != 0.0:  # neither solver's camera has skew
        pixels = pixels - np.outer(pixels[:, 1] - matrix[1, 2], [matrix[0, 1] / matrix[1, 1], 0.0])
        matrix = matrix * np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    try:
        import poselib
    except ImportError:  # there are no wheels for ARM boards
        return _with_opencv(pixels, points, matrix, threshold_px, iterations, seed)
    camera = {
        "model": "PINHOLE",
        "width": 0,
        "height": 0,
        "params": [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]],
    }
    options = {
        "max_reproj_error": threshold_px,
        "min_iterations": min(100, iterations),
        "max_iterations": iterations,
        "seed": seed,
    }
    # PoseLib's own refinement is cut short: ours knows the weights.
    found, _ = poselib.estimate_absolute_pose(pixels, points, camera, options, {"max_iterations": 5})
    pose = np.eye(4)
    pose[:3] = found.Rt
    return pose


def _with_opencv(
    pixels: np.ndarray, points: np.ndarray, matrix: np.ndarray, threshold_px: float, iterations: int, seed: int
) -> np.ndarray:
    """Do the same with OpenCV, more slowly."""
    options = cv2.UsacParams()
    options.threshold = threshold_px
    options.maxIterations = iterations
    options.confidence = 0.9999
    options.randomGeneratorState = seed
    options.score = cv2.SCORE_METHOD_MSAC
    options.loMethod = cv2.LOCAL_OPTIM_INNER_LO
    options.loIterations = 10
    options.loSampleSize = 14
    pose = np.full((4, 4), np.nan)
    try:
        found, _, turn, shift, _ = cv2.solvePnPRansac(points, pixels, matrix, None, params=options)
    except cv2.error:  # degenerate points
        return pose
    if found and turn is not None:
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], shift.ravel()
    return pose
