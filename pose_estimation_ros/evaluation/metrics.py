"""Errors between an estimated and a true pose, and the scores made of them.

Poses are camera_from_object (4, 4) in metres, points are the model's vertices (N, 3) in metres, symmetries are
(S, 4, 4) with the identity first. Definitions follow thodan/bop_toolkit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pose_estimation_ros.geometry.camera import Camera

ADD_SHARE = 0.1  # of the diameter
PROJECTION_PX = 5.0
AUC_LIMIT_M = 0.1
BOP_SHARES = np.arange(0.05, 0.51, 0.05)  # thresholds theta and tau of MSSD and VSD, to the last bit those of BOP
MSPD_PX = np.arange(1, 11) * 5.0
MSPD_WIDTH = 640.0  # MSPD is scaled to images of this width
VSD_DELTA_M = 0.015
_CHUNK = 2_000_000  # transformed points held at once


@dataclass(frozen=True)
class ObjectPoints:
    """What errors of one object are measured on."""

    points: np.ndarray  # (N, 3) float64 vertices, metres
    diameter_m: float
    symmetries: np.ndarray  # (S, 4, 4) float64, identity first
    is_symmetric: bool

    @cached_property
    def hull(self) -> np.ndarray:
        """Corners (M, 3) of the convex hull, metres; all points where they are flat."""
        from scipy.spatial import ConvexHull, QhullError

        try:
            return self.points[ConvexHull(self.points).vertices]
        except QhullError:
            return self.points


def add_error(points: np.ndarray, estimate: np.ndarray, truth: np.ndarray) -> float:
    """Return ADD: the mean distance between corresponding vertices, metres."""
    difference = estimate - truth
    return float(np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1).mean())


def adi_error(points: np.ndarray, estimate: np.ndarray, truth: np.ndarray) -> float:
    """Return ADI (ADD-S): the mean distance from the true vertices to the nearest estimated one, metres."""
    from scipy.spatial import cKDTree

    distances, _ = cKDTree(_apply(estimate, points)).query(_apply(truth, points))
    return float(distances.mean())


def projection_error(points: np.ndarray, estimate: np.ndarray, truth: np.ndarray, intrinsics: np.ndarray) -> float:
    """Return the mean distance between projected vertices in pixels; infinity if a vertex is behind the camera."""
    error = _project(_apply(estimate, points), intrinsics) - _project(_apply(truth, points), intrinsics)
    return _finite(np.linalg.norm(error, axis=1).mean())


def mssd(model: ObjectPoints, estimate: np.ndarray, truth: np.ndarray) -> float:
    """Return the maximum symmetry-aware surface distance in metres.

    The distance is a convex function of the vertex, so its maximum lies on the convex hull: no other vertex is needed.
    """
    difference = estimate - truth @ model.symmetries  # (S, 4, 4)
    distances = model.hull @ difference[:, :3, :3].transpose(0, 2, 1) + difference[:, None, :3, 3]
    return float(np.linalg.norm(distances, axis=2).max(axis=1).min())


def mspd(
    model: ObjectPoints, estimate: np.ndarray, truth: np.ndarray, intrinsics: np.ndarray, image_width: int
) -> float:
    """Return the maximum symmetry-aware projection distance in pixels of a 640 pixels wide image.

    The maximum over the hull's corners bounds that over all vertices from below; symmetries are then tried in that
    order with all vertices until no bound can beat the best: exact, at a fraction of the cost.
    """
    poses = truth @ model.symmetries
    bounds = _projection_maxima(model.hull, estimate, poses, intrinsics)
    best = np.inf
    for index in np.argsort(bounds, kind="stable"):
        if bounds[index] >= best:
            break
        best = min(best, float(_projection_maxima(model.points, estimate, poses[index : index + 1], intrinsics)[0]))
    return best * MSPD_WIDTH / image_width


def vsd(
    estimated_m: np.ndarray,
    true_m: np.ndarray,
    measured_m: np.ndarray,
    intrinsics: np.ndarray,
    diameter_m: float,
    shares: np.ndarray = BOP_SHARES,
    delta_m: float = VSD_DELTA_M,
) -> np.ndarray:
    """Return the visible surface discrepancy for every misalignment tolerance.

    Args:
        estimated_m: depth of the model in the estimated pose, (H, W) along z, zero where it is not.
        true_m: depth of the model in the true pose, (H, W).
        measured_m: depth of the sensor, (H, W), zero where unknown.
        intrinsics: camera matrix (3, 3).
        diameter_m: of the object.
        shares: tolerances tau as shares of the diameter, (T,).
        delta_m: how far behind the measured surface a point still counts as visible.

    Returns:
        Errors in [0, 1], shape (T,).
    """
    stretch = _ray_lengths(intrinsics, true_m.shape)
    estimated, true, measured = estimated_m * stretch, true_m * stretch, measured_m * stretch
    visible_true = (true > 0) & ((true - measured <= delta_m) | (measured == 0))
    visible_estimate = (estimated > 0) & ((estimated - measured <= delta_m) | (measured == 0))
    visible_estimate |= visible_true & (estimated > 0)
    union = int((visible_true | visible_estimate).sum())
    if union == 0:
        return np.ones(len(shares))
    both = visible_true & visible_estimate
    distances = np.abs(true[both] - estimated[both]) / diameter_m
    # One division of whole numbers, so that an error of exactly 3/10 is the same number as a threshold of 0.3.
    return np.array([(union - int((distances < share).sum())) / union for share in shares])


def rotation_error(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Return the angle between two rotations of poses in radians, precise near zero."""
    relative = truth[:3, :3].T @ estimate[:3, :3]
    skew = np.array([relative[2, 1] - relative[1, 2], relative[0, 2] - relative[2, 0], relative[1, 0] - relative[0, 1]])
    return float(np.arctan2(np.linalg.norm(skew) / 2.0, (np.trace(relative) - 1.0) / 2.0))


def symmetric_rotation_error(model: ObjectPoints, estimate: np.ndarray, truth: np.ndarray) -> float:
    """Return the smallest angle in radians to any pose that looks like the true one."""
    relative = np.einsum("sji,jk->sik", (truth @ model.symmetries)[:, :3, :3], estimate[:3, :3])
    nearest = int(np.argmax(np.trace(relative, axis1=1, axis2=2)))
    return rotation_error(estimate, truth @ model.symmetries[nearest])


def translation_error(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Return the distance between two object origins in metres."""
    return float(np.linalg.norm(estimate[:3, 3] - truth[:3, 3]))


def area_under_curve(errors_m: np.ndarray, limit_m: float = AUC_LIMIT_M) -> float:
    """Return the area under the accuracy-threshold curve up to a limit, in percent: 100 mean(max(0, 1 - e / limit)).

    This is the exact integral; missing poses enter as infinity.
    """
    errors = np.asarray(errors_m, dtype=np.float64)
    if not len(errors):
        return float("nan")
    return float(100.0 * np.clip(1.0 - errors / limit_m, 0.0, None).mean())


def rotation_scores(errors_rad: np.ndarray) -> dict[str, float]:
    """Return ACC_pi/6 and ACC_pi/18 in [0, 1] and the median error in degrees; what is not finite counts as pi/2."""
    errors = np.where(np.isfinite(errors_rad), errors_rad, np.pi / 2.0)
    if not len(errors):
        return {"acc_pi_6": float("nan"), "acc_pi_18": float("nan"), "median_rotation_deg": float("nan")}
    return {
        "acc_pi_6": float((errors < np.pi / 6.0).mean()),
        "acc_pi_18": float((errors < np.pi / 18.0).mean()),
        "median_rotation_deg": float(np.degrees(np.median(errors))),
    }


DepthRenderer = Callable[[int, np.ndarray, Camera], np.ndarray]
"""Renders an object id in a pose (4, 4) with a Camera to depth (H, W) in metres, zero where it is not."""


def _apply(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ transform[:3, :3].T + transform[:3, 3]


def _project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    homogeneous = points @ intrinsics.T
    depth = homogeneous[..., 2:]
    safe = np.where(depth > 0, depth, 1.0)
    return np.where(depth > 0, homogeneous[..., :2] / safe, np.nan)


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else float("inf")


def _projection_maxima(
    points: np.ndarray, estimate: np.ndarray, poses: np.ndarray, intrinsics: np.ndarray
) -> np.ndarray:
    """Return the largest pixel distance of any point for every pose (S, 4, 4); infinity behind the camera."""
    target = _project(_apply(estimate, points), intrinsics)
    maxima = np.empty(len(poses))
    step = max(1, _CHUNK // len(points))
    for start in range(0, len(poses), step):
        part = poses[start : start + step]
        moved = points @ part[:, :3, :3].transpose(0, 2, 1) + part[:, None, :3, 3]
        distance = np.linalg.norm(_project(moved, intrinsics) - target, axis=2)
        maxima[start : start + step] = np.where(np.isnan(distance), np.inf, distance).max(axis=1)
    return maxima


def _ray_lengths(intrinsics: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the length of the ray through each pixel whose z is one, (H, W)."""
    rows, columns = np.indices(shape, dtype=np.float64)
    rays = np.stack([columns, rows, np.ones(shape)], axis=-1) @ np.linalg.inv(intrinsics).T
    return np.linalg.norm(rays, axis=-1)
