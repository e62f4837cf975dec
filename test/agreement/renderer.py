"""Our depth renderer behind the interface of bop_toolkit's renderers: what VSD is compared on."""

from __future__ import annotations

import numpy as np

from pose_estimation_ros.evaluation.silhouettes import Silhouettes
from pose_estimation_ros.geometry.camera import Camera

from .conftest import MM


class Renderer:
    """Renders objects in millimetres with a camera's image size.

    Args:
        silhouettes: renders the objects.
        camera: how large the images are; their intrinsics come with every call.
    """

    def __init__(self, silhouettes: Silhouettes, camera: Camera) -> None:
        self.silhouettes, self.camera = silhouettes, camera

    def add_object(self, obj_id: int, model_path: str) -> None:
        """Do nothing: objects are loaded when they are first rendered."""

    def render_object(self, obj_id, R, t, fx, fy, cx, cy) -> dict[str, np.ndarray]:
        """Return the depth (H, W) in millimetres of an object, as bop_toolkit asks for it."""
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = R, t.reshape(3) / MM
        matrix = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        camera = Camera(matrix, self.camera.width, self.camera.height)
        return {"depth": self.silhouettes.depth(obj_id, pose, camera).astype(np.float64) * MM}
