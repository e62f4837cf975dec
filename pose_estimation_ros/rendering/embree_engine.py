"""The ray engine for CPUs: Embree, through Open3D."""

from __future__ import annotations

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
        if isinstance(mesh_index, int):
            return self._cast(mesh_index, origins, directions)
        found: RayHits | None = None
        starts, ways = (item.unflatten(0, (len(mesh_index), -1)) for item in (origins, directions))
        for index in torch.unique(mesh_index).tolist():
            rows = (mesh_index == index).nonzero()[:, 0]
            hits = self._cast(index, starts[rows].flatten(0, 1), ways[rows].flatten(0, 1))
            if len(rows) == len(mesh_index):
                return hits
            found = _nothing(len(origins)) if found is None else found
            for name in ("distance", "face", "barycentric"):
                target, values = getattr(found, name), getattr(hits, name)
                target.unflatten(0, (len(mesh_index), -1))[rows] = values.unflatten(0, (len(rows), -1))
        return _nothing(len(origins)) if found is None else found

    def _cast(self, mesh_index: int, origins: Tensor, directions: Tensor) -> RayHits:
        rays = torch.cat([origins, directions], dim=1).float().contiguous().numpy()
        answer = self._scenes[mesh_index].cast_rays(self._open3d.core.Tensor(rays))
        distance = torch.from_numpy(answer["t_hit"].numpy())
        face = torch.from_numpy(answer["primitive_ids"].numpy().astype("int64"))
        face = torch.where(torch.isfinite(distance), face, torch.full_like(face, -1))
        return RayHits(distance, face, torch.from_numpy(answer["primitive_uvs"].numpy()))


def _nothing(rays: int) -> RayHits:
    """Return what rays find that hit nothing."""
    return RayHits(torch.full((rays,), torch.inf), torch.full((rays,), -1, dtype=torch.int64), torch.zeros(rays, 2))
