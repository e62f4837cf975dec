"""Depth and silhouettes of the objects of a data set in any pose."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.mesh import load_mesh


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
        window = _window(corners @ camera_from_object[:3, :3].T + camera_from_object[:3, 3], camera)
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
            corners = np.array(list(product(*zip(*mesh.bounds, strict=True))))
            self._casters[object_id] = (RayCaster([mesh], "embree"), corners)
        return self._casters[object_id]


def _window(corners: np.ndarray, camera: Camera) -> tuple[int, int, int, int] | None:
    """Return x, y, width, height of the pixels that a box's corners (8, 3) span, None out of view."""
    if (corners[:, 2] <= 0).all():
        return None
    if (corners[:, 2] <= 1e-3).any():  # part of the box is behind the camera: its projection says nothing
        return 0, 0, camera.width, camera.height
    pixels = camera.project(corners)
    low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(pixels.max(axis=0)).astype(int) + 2, (camera.width, camera.height))
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])
