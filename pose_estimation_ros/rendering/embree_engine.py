"""The ray engine for CPUs: Embree, through Open3D."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.ray_engine import RayHits


class EmbreeEngine:
    """Open3D's RaycastingScene, one per mesh."""

    def __init__(self, meshes: list[Mesh]) -> None:
        from pose_estimation_ros.objects.light_open3d import open3d

        self._open3d = open3d
        self.device = torch.device("cpu")
        self._scenes = []
        for mesh in meshes:
            scene = open3d.t.geometry.RaycastingScene()
            scene.add_triangles(
                open3d.core.Tensor(mesh.vertices.astype("float32")), open3d.core.Tensor(mesh.faces.astype("uint32"))
            )
            self._scenes.append(scene)

    def cast(self, mesh_index: int | Tensor, origins: Tensor, directions: Tensor) -> RayHits:
        """Cast rays, see `RayEngine`."""
        meshes = torch.tensor([mesh_index]) if isinstance(mesh_index, int) else mesh_index
        rays = torch.cat([origins, directions], dim=1).float().numpy()
        rays = rays.reshape(len(meshes), -1, 6) if len(meshes) else rays[:0, None]
        distance = np.empty(rays.shape[:2], dtype=np.float32)
        face, barycentric = np.empty(rays.shape[:2], dtype=np.int64), np.empty((*rays.shape[:2], 2), dtype=np.float32)
        for index in torch.unique(meshes).tolist():
            mine = np.flatnonzero(meshes.numpy() == index)
            rows = mine if len(mine) < len(meshes) else slice(None)  # without a copy
            answer = self._scenes[index].cast_rays(self._open3d.core.Tensor(np.ascontiguousarray(rays[rows])))
            distance[rows] = answer["t_hit"].numpy()
            face[rows] = answer["primitive_ids"].numpy()
            barycentric[rows] = answer["primitive_uvs"].numpy()
        face[~np.isfinite(distance)] = -1
        found = (torch.from_numpy(item) for item in (distance.ravel(), face.ravel(), barycentric.reshape(-1, 2)))
        return RayHits(*found)
