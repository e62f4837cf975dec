"""A small coloured box and its bank of views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.data.view_bank import ViewBank, build_view_bank
from pose_estimation_ros.objects.bundle import PosePrior
from pose_estimation_ros.objects.catalog import ObjectModel
from pose_estimation_ros.objects.mesh import Mesh

HALF_SIZE = np.array([0.05, 0.04, 0.03])


def box_mesh(half_size: np.ndarray = HALF_SIZE) -> Mesh:
    """Return a box with six differently coloured sides."""
    sides = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            corners = np.zeros((4, 3))
            corners[:, axis] = sign
            corners[:, u] = [-1, 1, 1, -1]
            corners[:, v] = [-1, -1, 1, 1]
            sides.append((corners if sign > 0 else corners[::-1], np.eye(3)[axis] * sign))
    vertices = np.concatenate([corners for corners, _ in sides]) * half_size
    normals = np.repeat([normal for _, normal in sides], 4, axis=0)
    faces = np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * number for number in range(6)])
    colors = np.repeat(np.random.default_rng(3).uniform(0.1, 0.9, (6, 3)), 4, axis=0)
    return Mesh(vertices.astype(np.float32), faces, normals.astype(np.float32), colors.astype(np.float32))


def box_model(**changes: object) -> ObjectModel:
    """Return the box as a catalog object."""
    arguments: dict = {
        "object_id": 1,
        "name": "box",
        "diameter_m": float(2.0 * np.linalg.norm(HALF_SIZE)),
        "bounds_m": (tuple(-HALF_SIZE), tuple(HALF_SIZE)),
        "mesh": Path("box.ply"),
    }
    return ObjectModel(**{**arguments, **changes})


@pytest.fixture(scope="session")
def bank() -> ViewBank:
    prior = PosePrior(elevation_deg=(10.0, 80.0), roll_deg=(-30.0, 30.0), distance_m=(0.4, 1.0), other=0.0)
    return build_view_bank([box_model()], [box_mesh()], prior, 24, [box_mesh()], 4, size=64)


@pytest.fixture(scope="session")
def two_objects() -> ViewBank:
    """Return views of two boxes of different size."""
    prior = PosePrior(elevation_deg=(10.0, 80.0), roll_deg=(-30.0, 30.0), distance_m=(0.4, 1.0), other=0.0)
    half = HALF_SIZE * 0.7
    small = box_model(object_id=2, name="small", bounds_m=(tuple(-half), tuple(half)))
    return build_view_bank([box_model(), small], [box_mesh(), box_mesh(half)], prior, 12, [], 4, size=64)
