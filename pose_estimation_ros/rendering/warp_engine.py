"""The ray engine for CUDA: Warp's bounding volume hierarchies, on torch's own memory. It runs on CPU too."""

from __future__ import annotations

import numpy as np
import torch
import warp as wp
from torch import Tensor

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.ray_engine import RayHits

wp.config.log_level = 30  # warnings, not every kernel that is loaded

FARTHEST_M = 1.0e6


@wp.kernel
def _cast_rays(
    meshes: wp.array(dtype=wp.uint64),
    rays_of_each: int,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    farthest: float,
    distance: wp.array(dtype=float),
    face: wp.array(dtype=wp.int64),
    barycentric: wp.array(dtype=wp.vec2),
) -> None:
    ray = wp.tid()
    length = wp.length(directions[ray])
    mesh = meshes[ray / rays_of_each]
    hit = wp.mesh_query_ray(mesh, origins[ray], directions[ray] / length, farthest)
    if hit.result:
        distance[ray] = hit.t / length
        face[ray] = wp.int64(hit.face)
        # Warp weighs the first and second corner, RayHits the second and third.
        barycentric[ray] = wp.vec2(hit.v, 1.0 - hit.u - hit.v)


class WarpEngine:
    """Warp meshes on one device; rays and hits stay there, without a copy.

    Raises:
        ValueError: if Warp cannot use the device.
    """

    def __init__(self, meshes: list[Mesh], device: torch.device | str = "cpu") -> None:
        wp.init()
        device = torch.device(device)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not wp.is_cuda_available()):
            raise ValueError(
                f"ray engine 'warp': device {device}: expected cpu, or cuda with a driver that Warp can use"
            )
        self.device = device
        self._warp_device = wp.device_from_torch(device)
        self._meshes = [
            wp.Mesh(
                points=wp.array(mesh.vertices.astype(np.float32), dtype=wp.vec3, device=self._warp_device),
                indices=wp.array(mesh.faces.astype(np.int32).ravel(), dtype=wp.int32, device=self._warp_device),
            )
            for mesh in meshes
        ]
        self._ids = torch.tensor([mesh.id for mesh in self._meshes], dtype=torch.int64).to(device)

    def cast(self, mesh_index: int | Tensor, origins: Tensor, directions: Tensor) -> RayHits:
        """Cast rays with one launch, see `RayEngine`."""
        origins = origins.to(self.device).float().contiguous()
        directions = directions.to(self.device).float().contiguous()
        count = len(origins)
        distance = torch.full((count,), float("inf"), device=self.device)
        face = torch.full((count,), -1, dtype=torch.int64, device=self.device)
        barycentric = torch.zeros(count, 2, device=self.device)
        if count == 0:
            return RayHits(distance, face, barycentric)
        chosen = self._ids[mesh_index : mesh_index + 1] if isinstance(mesh_index, int) else self._ids[mesh_index]
        wp.launch(
            _cast_rays,
            dim=count,
            inputs=[
                wp.from_torch(chosen, dtype=wp.uint64),
                count // len(chosen),
                wp.from_torch(origins, dtype=wp.vec3),
                wp.from_torch(directions, dtype=wp.vec3),
                FARTHEST_M,
            ],
            outputs=[wp.from_torch(distance), wp.from_torch(face), wp.from_torch(barycentric, dtype=wp.vec2)],
            device=self._warp_device,
            # Warp works in torch's stream, so neither has to wait for the other.
            stream=wp.stream_from_torch(self.device) if self.device.type == "cuda" else None,
        )
        return RayHits(distance, face, barycentric)
