"""Ray casting of meshes behind one interface with two engines: Embree on CPU, Warp on CUDA.

An engine answers one question: which face does a ray of the object frame hit, and where on it. Everything else is
torch, on the engine's device, the same for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.geometry.transfer import rows_to_visit
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.embree_engine import EmbreeEngine
from pose_estimation_ros.rendering.ray_engine import RayEngine
from pose_estimation_ros.rendering.surfaces import Surfaces


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
        self._meshes = len(meshes)
        self._surfaces = Surfaces(meshes, self.device)

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
        self._check_index(mesh_index)
        poses, mesh_index = camera_from_object.to(self.device).float(), mesh_index.to(self.device)
        origins, directions = object_rays(poses, intrinsics.to(self.device).float(), height, width)
        maps = _empty_maps(count, height * width, self.device)
        if count:
            self._fill(maps, mesh_index, origins, directions, poses)
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

    def _check_index(self, mesh_index: Tensor) -> None:
        """Refuse meshes that there are not; indices on a GPU are believed, a look at them would wait for it."""
        if mesh_index.device.type != "cpu" or not len(mesh_index):
            return
        if int(mesh_index.min()) < 0 or int(mesh_index.max()) >= self._meshes:
            raise ValueError(f"render: mesh_index up to {int(mesh_index.max())}, expected below {self._meshes}")

    def _fill(
        self, maps: dict[str, Tensor], mesh_index: Tensor, origins: Tensor, directions: Tensor, poses: Tensor
    ) -> None:
        pixels = directions.shape[1]
        flat_origins = origins[:, None].expand(-1, pixels, -1).reshape(-1, 3)
        flat_directions = directions.reshape(-1, 3)
        hits = self.engine.cast(mesh_index, flat_origins, flat_directions)
        rows = rows_to_visit(hits.face >= 0)
        image = rows // pixels
        mesh, known = mesh_index[image], hits.face[rows]
        face, weights = known.clamp(min=0), hits.barycentric[rows]

        def put(name: str, values: Tensor) -> None:
            if self.device.type != "cpu":  # all rays are visited
                values = torch.where((known >= 0)[:, None], values, 0.0)
            maps[name].view(len(hits.face), -1)[rows] = values

        maps["face"].view(-1)[rows] = known
        # Directions have unit depth in the camera, so the distance is the depth.
        distance = hits.distance[rows, None]
        put("depth", distance)
        put("barycentric", weights)
        put("coordinates", flat_origins[rows] + distance * flat_directions[rows])
        put("colors", self._surfaces.colors(mesh, face, weights))
        normals = F.normalize(self._surfaces.normals(mesh, face, weights), dim=1)
        away = (normals * flat_directions[rows]).sum(dim=1, keepdim=True) > 0
        put("normals", torch.where(away, -normals, normals))
        # Whole images are turned at once: one small product for each ray would cost more than all of the above.
        maps["normals"] = maps["normals"] @ poses[:, :3, :3].transpose(1, 2)


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
    in_camera = pixels @ torch.linalg.inv_ex(intrinsics).inverse.transpose(1, 2)
    rotation = camera_from_object[:, :3, :3]
    directions = in_camera @ rotation  # R^T applied to every direction
    origins = -torch.einsum("bji,bj->bi", rotation, camera_from_object[:, :3, 3])
    return origins, directions
