"""Ray casting of meshes behind one interface with two engines: Embree on CPU, Warp on CUDA.

An engine answers one question: which face does a ray of the object frame hit, and where on it. Everything else is
torch, on the engine's device, the same for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.embree_engine import EmbreeEngine
from pose_estimation_ros.rendering.ray_engine import RayEngine


@dataclass(frozen=True)
class Renders:
    """Images of B objects, one object an image. Where nothing was hit all maps are zero."""

    depth: Tensor  # (B, H, W) metres along the optical axis
    mask: Tensor  # (B, H, W) bool
    coordinates: Tensor  # (B, 3, H, W) metres, object frame
    normals: Tensor  # (B, 3, H, W) unit, camera frame, towards the camera
    colors: Tensor  # (B, 3, H, W) in [0, 1], unlit
    face: Tensor  # (B, H, W) int64, -1 for none
    barycentric: Tensor  # (B, 2, H, W)


def make_engine(meshes: list[Mesh], engine: str = "auto", device: torch.device | str = "cpu") -> RayEngine:
    """Choose the engine: `embree` (CPU), `warp` (CUDA or CPU), `auto` by the device.

    Raises:
        ValueError: if the name is unknown or the engine cannot work on the device.
    """
    device = torch.device(device)
    if engine == "auto":
        engine = "warp" if device.type == "cuda" else "embree"
    if engine == "embree":
        if device.type != "cpu":
            raise ValueError(f"ray engine 'embree': device {device}, expected cpu (use 'warp' on CUDA)")
        return EmbreeEngine(meshes)
    if engine == "warp":
        from pose_estimation_ros.rendering.warp_engine import WarpEngine

        return WarpEngine(meshes, device)
    raise ValueError(f"ray engine {engine!r}: expected auto, embree or warp")


class RayCaster:
    """Renders meshes at given poses.

    Args:
        meshes: the meshes; poses refer to them by index.
        engine: auto, embree or warp.
        device: where the images are wanted.
    """

    def __init__(self, meshes: list[Mesh], engine: str = "auto", device: torch.device | str = "cpu") -> None:
        if not meshes:
            raise ValueError("RayCaster: no meshes")
        self.engine = make_engine(meshes, engine, device)
        self.device = self.engine.device
        self._meshes = [_MeshTensors(mesh, self.device) for mesh in meshes]

    def render(
        self, mesh_index: Tensor, camera_from_object: Tensor, intrinsics: Tensor, height: int, width: int
    ) -> Renders:
        """Render B images of one mesh each.

        Args:
            mesh_index: which mesh, shape (B,).
            camera_from_object: poses, shape (B, 4, 4), metres.
            intrinsics: camera matrices, shape (B, 3, 3), pixels; pixel centres at integers.
            height: image height.
            width: image width.

        Raises:
            ValueError: if the batch sizes differ or an index is out of range.
        """
        count = len(mesh_index)
        if not count == len(camera_from_object) == len(intrinsics):
            raise ValueError(
                f"render: batch sizes {count}, {len(camera_from_object)}, {len(intrinsics)}, expected equal"
            )
        if count and (int(mesh_index.min()) < 0 or int(mesh_index.max()) >= len(self._meshes)):
            raise ValueError(f"render: mesh_index up to {int(mesh_index.max())}, expected below {len(self._meshes)}")
        origins, directions = object_rays(
            camera_from_object.to(self.device).float(), intrinsics.to(self.device).float(), height, width
        )
        maps = _empty_maps(count, height * width, self.device)
        mesh_index = mesh_index.to(self.device)
        for index in torch.unique(mesh_index).tolist():
            rows = (mesh_index == index).nonzero()[:, 0]
            self._fill(maps, rows, index, origins[rows], directions[rows], camera_from_object.to(self.device)[rows])
        shape = (count, height, width)
        return Renders(
            depth=maps["depth"].reshape(shape),
            mask=maps["face"].reshape(shape) >= 0,
            coordinates=maps["coordinates"].reshape(count, height, width, 3).permute(0, 3, 1, 2),
            normals=maps["normals"].reshape(count, height, width, 3).permute(0, 3, 1, 2),
            colors=maps["colors"].reshape(count, height, width, 3).permute(0, 3, 1, 2),
            face=maps["face"].reshape(shape),
            barycentric=maps["barycentric"].reshape(count, height, width, 2).permute(0, 3, 1, 2),
        )

    def _fill(
        self, maps: dict[str, Tensor], rows: Tensor, index: int, origins: Tensor, directions: Tensor, poses: Tensor
    ) -> None:
        pixels = directions.shape[1]
        flat_origins = origins[:, None].expand(-1, pixels, -1).reshape(-1, 3)
        flat_directions = directions.reshape(-1, 3)
        hits = self.engine.cast(index, flat_origins, flat_directions)
        found = (hits.face >= 0).nonzero()[:, 0]
        image = found // pixels
        target = rows[image] * pixels + found % pixels
        mesh = self._meshes[index]
        face, weights = hits.face[found], hits.barycentric[found]
        # Directions have unit depth in the camera, so the distance is the depth.
        maps["depth"].view(-1)[target] = hits.distance[found]
        maps["face"].view(-1)[target] = face
        maps["barycentric"].view(-1, 2)[target] = weights
        maps["coordinates"].view(-1, 3)[target] = (
            flat_origins[found] + hits.distance[found, None] * flat_directions[found]
        )
        maps["colors"].view(-1, 3)[target] = mesh.colors_at(face, weights)
        normals = F.normalize(mesh.interpolate(mesh.normals, face, weights), dim=1)
        away = (normals * flat_directions[found]).sum(dim=1, keepdim=True) > 0
        normals = torch.where(away, -normals, normals)
        maps["normals"].view(-1, 3)[target] = torch.einsum("nij,nj->ni", poses[image, :3, :3].float(), normals)


class _MeshTensors:
    def __init__(self, mesh: Mesh, device: torch.device) -> None:
        self.faces = torch.from_numpy(mesh.faces).to(device)
        self.normals = torch.from_numpy(mesh.normals).to(device)
        self.colors = torch.from_numpy(mesh.colors).to(device)
        self.corner_uv = torch.from_numpy(mesh.corner_uv).to(device) if mesh.corner_uv is not None else None
        self.texture = torch.from_numpy(mesh.texture).to(device) if mesh.texture is not None else None

    def interpolate(self, values: Tensor, face: Tensor, weights: Tensor) -> Tensor:
        corners = values[self.faces[face]]
        return _mix(corners, weights)

    def colors_at(self, face: Tensor, weights: Tensor) -> Tensor:
        if self.texture is None or self.corner_uv is None:
            return self.interpolate(self.colors, face, weights)
        uv = _mix(self.corner_uv[face], weights)
        grid = torch.stack([uv[:, 0] % 1.0, 1.0 - uv[:, 1] % 1.0], dim=1) * 2.0 - 1.0
        texture = self.texture.permute(2, 0, 1)[None]
        return F.grid_sample(texture, grid[None, None], padding_mode="border", align_corners=False)[0, :, 0].T


def _mix(corners: Tensor, weights: Tensor) -> Tensor:
    u, v = weights[:, :1], weights[:, 1:]
    return (1.0 - u - v) * corners[:, 0] + u * corners[:, 1] + v * corners[:, 2]


def _empty_maps(count: int, pixels: int, device: torch.device) -> dict[str, Tensor]:
    return {
        "depth": torch.zeros(count, pixels, device=device),
        "face": torch.full((count, pixels), -1, dtype=torch.int64, device=device),
        "barycentric": torch.zeros(count, pixels, 2, device=device),
        "coordinates": torch.zeros(count, pixels, 3, device=device),
        "normals": torch.zeros(count, pixels, 3, device=device),
        "colors": torch.zeros(count, pixels, 3, device=device),
    }


def object_rays(camera_from_object: Tensor, intrinsics: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the rays of all pixels in the object frame.

    Args:
        camera_from_object: poses, shape (B, 4, 4).
        intrinsics: camera matrices, shape (B, 3, 3).
        height: image height.
        width: image width.

    Returns:
        Origins (B, 3), metres, and directions (B, H * W, 3) whose component along the optical axis is 1.
    """
    device, dtype = camera_from_object.device, camera_from_object.dtype
    v, u = torch.meshgrid(
        torch.arange(height, device=device, dtype=dtype),
        torch.arange(width, device=device, dtype=dtype),
        indexing="ij",
    )
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=-1).reshape(-1, 3)
    in_camera = pixels @ torch.linalg.inv(intrinsics).transpose(1, 2)
    rotation = camera_from_object[:, :3, :3]
    directions = in_camera @ rotation  # R^T applied to every direction
    origins = -torch.einsum("bji,bj->bi", rotation, camera_from_object[:, :3, 3])
    return origins, directions
