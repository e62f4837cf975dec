"""Covariances (6, 6) of poses: x y z rx ry rz in camera axes, metres and radians, about the object's origin."""

from __future__ import annotations

import numpy as np


def about_point(covariance: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Return the covariance of a pose whose origin is another point of the same rigid object.

    Args:
        covariance: about the old origin, shape (6, 6).
        offset: from the old origin to the new one in camera axes, shape (3,), metres.
    """
    # A rotation by w about the old origin moves the new one by w x offset.
    moved = np.eye(6)
    moved[:3, 3:] = -skew(offset)
    return moved @ covariance @ moved.T


def scaled(covariance: np.ndarray, ray: np.ndarray, across: float, along: float, rotation: float) -> np.ndarray:
    """Multiply the standard deviations of a pose; what is correlated stays so.

    Args:
        covariance: shape (6, 6).
        ray: from the camera to the object, shape (3,).
        across: factor of translations across the ray.
        along: factor of translations along it.
        rotation: factor of rotations.
    """
    direction = ray / np.linalg.norm(ray)
    factors = np.eye(6) * rotation
    factors[:3, :3] = across * np.eye(3) + (along - across) * np.outer(direction, direction)
    return factors @ covariance @ factors.T


def skew(vector: np.ndarray) -> np.ndarray:
    """Return the matrix (3, 3) that a vector (3,) multiplies others with from the left in a cross product."""
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
