"""The ray engine for CPUs: Embree, through Open3D."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.ray_engine import RayHits


class EmbreeEngine:
    """Open3D's RaycastingScene, one per mesh."""

    def __init__(self, meshes: list[Mesh]) -> None:
        import open3d

        self._open3d = open3d
        self.device = torch.device("cpu")
        self._scenes = []
        for mesh in meshes:
            scene = open3d.t.geometry.RaycastingScene()
            scene.add_triangles(
                open3d.core.Tensor(mesh.vertices.astype("float32")), open3d.core.Tensor(mesh.faces.astype("uint32"))
            )
            self._scenes.append(scene)

    def cast(self, mesh_index: int, origins: Tensor, directions: Tensor) -> RayHits:
        """Cast rays (R, 3), (R, 3) of the object frame at one mesh."""
        rays = torch.cat([origins, directions], dim=1).float().contiguous().numpy()
        answer = self._scenes[mesh_index].cast_rays(self._open3d.core.Tensor(rays))
        distance = torch.from_numpy(answer["t_hit"].numpy())
        face = torch.from_numpy(answer["primitive_ids"].numpy().astype("int64"))
        face = torch.where(torch.isfinite(distance), face, torch.full_like(face, -1))
        return RayHits(distance, face, torch.from_numpy(answer["primitive_uvs"].numpy()))
