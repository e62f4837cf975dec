"""Two objects as the bridge to MoveIt describes them: one with a mesh and a frame on it, one that is a box alone."""

from __future__ import annotations

import numpy as np

from pose_estimation_ros.objects.catalog import ObjectFrame
from pose_estimation_ros.ros.planning_scene.shapes import CollisionShape

from .conftest import rigid

HANDLE = rigid("y", 90.0, (0.05, 0.0, 0.02))
VERTICES = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 0.3]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
SHAPES = {
    "mug": CollisionShape(np.zeros(3), np.ones(3), VERTICES, FACES, (ObjectFrame("handle", HANDLE),)),
    "bin": CollisionShape(np.array([0.0, 0.0, 0.1]), np.array([0.3, 0.4, 0.2])),
}
