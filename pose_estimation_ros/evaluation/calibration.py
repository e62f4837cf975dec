"""How honest stated covariances are: errors against what was said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from pose_estimation_ros.geometry.symmetry import canonicalise

ONE_SIGMA, TWO_SIGMA = 0.6827, 0.9545  # of a Gaussian


@dataclass(frozen=True)
class Calibration:
    """N poses of known truth with their covariances, axes in the order x y z rx ry rz."""

    errors: np.ndarray  # (N, 6) metres and radians, camera axes
    covariances: np.ndarray  # (N, 6, 6)
    rays: np.ndarray  # (N, 3) from the camera to the objects

    @property
    def in_sigmas(self) -> np.ndarray:
        """Errors over their stated standard deviations, (N, 6)."""
        return np.abs(self.errors) / np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))

    def inside(self, sigmas: float) -> np.ndarray:
        """Return the share of poses (6,) whose true value lies within so many standard deviations, per axis."""
        return (self.in_sigmas <= sigmas).mean(axis=0)

    def squared_distances(self, axes: slice) -> np.ndarray:
        """Return squared Mahalanobis distances (N,) of some axes; on average as many as there are axes."""
        errors, covariances = self.errors[:, axes], self.covariances[:, axes, axes]
        return np.einsum("ni,ni->n", errors, np.linalg.solve(covariances, errors[:, :, None])[:, :, 0])

    def factors(self) -> tuple[float, float, float]:
        """Return by how much the stated standard deviations are too small: across the ray, along it, of rotations.

        Of the factors with which as many errors as of a Gaussian lie within one and within two standard deviations,
        each is the geometric mean: errors of networks have heavy tails, and a few gross ones shall not decide.
        """
        frames = np.stack([_ray_frame(ray) for ray in self.rays])
        both = np.zeros((len(frames), 6, 6))
        both[:, :3, :3], both[:, 3:, 3:] = frames, np.eye(3)
        turned = Calibration(
            np.einsum("nij,nj->ni", both, self.errors), both @ self.covariances @ both.transpose(0, 2, 1), self.rays
        )
        across, along, rotation = (turned.in_sigmas[:, axes].ravel() for axes in ([0, 1], [2], [3, 4, 5]))
        return _factor(across), _factor(along), _factor(rotation)


def _factor(in_sigmas: np.ndarray) -> float:
    one, two = np.quantile(in_sigmas, [ONE_SIGMA, TWO_SIGMA])
    return float(np.sqrt(one * two / 2.0))


def _ray_frame(ray: np.ndarray) -> np.ndarray:
    """Return a rotation (3, 3) from camera axes to ones whose third points along a ray (3,)."""
    along = ray / np.linalg.norm(ray)
    first = np.cross([0.0, 1.0, 0.0] if abs(along[1]) < 0.9 else [1.0, 0.0, 0.0], along)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(along, first), along])


def pose_error(estimate: np.ndarray, truth: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Return what leads from the truth to an estimate: x y z rx ry rz in camera axes (6,), metres and radians.

    Args:
        estimate: pose (4, 4).
        truth: pose (4, 4); of the poses that look the same the one turned most like the estimate counts.
        transforms: symmetries from `symmetry_transforms`, shape (S, 4, 4).
    """
    equivalent = canonicalise(truth, transforms, estimate)
    turn = Rotation.from_matrix(estimate[:3, :3] @ equivalent[:3, :3].T).as_rotvec()
    return np.concatenate([estimate[:3, 3] - equivalent[:3, 3], turn])


def calibration(
    errors: Sequence[np.ndarray], covariances: Sequence[np.ndarray], poses: Sequence[np.ndarray]
) -> Calibration:
    """Join errors (6,), covariances (6, 6) and estimated poses (4, 4) of N objects."""
    return Calibration(
        np.reshape(errors, (-1, 6)), np.reshape(covariances, (-1, 6, 6)), np.reshape(poses, (-1, 4, 4))[:, :3, 3]
    )
