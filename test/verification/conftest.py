"""Two boxes in front of a camera, one of them hiding a part of the other."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.windows import corners_of
from pose_estimation_ros.verification.silhouettes import SilhouetteRenderer

CAMERA = Camera(np.array([[200.0, 0.0, 79.5], [0.0, 200.0, 59.5], [0.0, 0.0, 1.0]]), 160, 120)
_FACES = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6],
                   [0, 6, 4], [1, 5, 7], [1, 7, 3]])  # fmt: skip


def box_mesh(half_m: float) -> Mesh:
    """Return a cube."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float32)
    return Mesh((half_m * corners).astype(np.float32), _FACES, corners / np.sqrt(3.0), np.ones((8, 3), np.float32))


def at(x_m: float, z_m: float) -> np.ndarray:
    """Return a pose (4, 4) without rotation."""
    pose = np.eye(4)
    pose[:3, 3] = [x_m, 0.0, z_m]
    return pose


def rectangle(x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    """Return a mask (120, 160) of the pixels whose centres lie inside."""
    rows, columns = np.mgrid[:120, :160]
    return (columns > x0) & (columns < x1) & (rows > y0) & (rows < y1)


def detected(kind: int, mask: np.ndarray, score: float = 0.8) -> Detection:
    """Return a detection whose box is that of its mask."""
    rows, columns = np.nonzero(mask)
    box = np.array([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])
    return Detection(kind, score, box, mask)


def hypothesis(kind: int, number: int, pose: np.ndarray, score: float = 0.4) -> PoseHypothesis:
    """Return a pose with a covariance of a centimetre and a tenth of a radian."""
    return PoseHypothesis(kind, number, pose, score, covariance=np.diag([1e-4] * 3 + [1e-2] * 3))


@pytest.fixture(scope="session")
def renderer() -> SilhouetteRenderer:
    """Render cubes of 10 cm (object 0) and 6 cm (object 1)."""
    meshes = [box_mesh(0.05), box_mesh(0.03)]
    assert corners_of(meshes[0]).shape == (8, 3)
    return SilhouetteRenderer(meshes)
