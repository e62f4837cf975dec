"""Depth and silhouettes of the objects of a data set in any pose."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.rendering.windows import corners_of, visible_window


class Silhouettes:
    """Renders one object at a time, only where it can be seen; meshes are loaded when they are first asked for.

    Args:
        models_dir: folder with the meshes of the catalog.
        catalog: the objects.
    """

    def __init__(self, models_dir: Path, catalog: Catalog) -> None:
        self._models_dir = Path(models_dir)
        self._catalog = catalog
        self._casters: dict[int, tuple] = {}

    def depth(self, object_id: int, camera_from_object: np.ndarray, camera: Camera) -> np.ndarray:
        """Return depth along z (H, W) in metres of an object in a pose (4, 4), zero where it is not."""
        import torch

        caster, corners = self._caster(object_id)
        depth = np.zeros((camera.height, camera.width), dtype=np.float32)
        window = visible_window(corners @ camera_from_object[:3, :3].T + camera_from_object[:3, 3], camera)
        if window is None:
            return depth
        x, y, width, height = window
        part = caster.render(
            torch.zeros(1, dtype=torch.int64),
            torch.from_numpy(np.asarray(camera_from_object, dtype=np.float64))[None],
            torch.from_numpy(camera.crop(x, y, width, height).intrinsics)[None],
            height,
            width,
        )
        depth[y : y + height, x : x + width] = part.depth[0].cpu().numpy()
        return depth

    def mask(self, object_id: int, camera_from_object: np.ndarray, camera: Camera) -> np.ndarray:
        """Return the pixels (H, W) bool of an object in a pose (4, 4)."""
        return self.depth(object_id, camera_from_object, camera) > 0

    def _caster(self, object_id: int):
        if object_id not in self._casters:
            from pose_estimation_ros.rendering.raycaster import RayCaster

            index = self._catalog.index_of_id(object_id)
            if index is None:
                raise ValueError(f"{self._models_dir}: no object {object_id} in models_info.json")
            model = self._catalog[index]
            mesh = load_mesh(self._models_dir / model.mesh, model.mesh_unit, model.diameter_m)
            self._casters[object_id] = (RayCaster([mesh], "embree"), corners_of(mesh))
        return self._casters[object_id]
