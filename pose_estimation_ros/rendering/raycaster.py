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


@dataclass(frozen=True)
class SurfaceHits:
    """What R rays of B images hit: on a CPU all that hit something, on a GPU all there are, as nobody counts there."""

    shape: tuple[int, int, int]  # B, H and W
    row: Tensor  # (R,) int64, the ray's number, image by image and line by line
    image: Tensor  # (R,) int64, its image
    face: Tensor  # (R,) int64, -1 for none
    barycentric: Tensor  # (R, 2)
    depth: Tensor  # (R,) metres along the optical axis
    point: Tensor  # (R, 3) metres, object frame
    normal: Tensor  # (R, 3) unit, object frame, towards the camera
    color: Tensor  # (R, 3) in [0, 1], unlit

    def images(self, values: Tensor) -> Tensor:
        """Return values (R, C) of the rays as images (B, H, W, C), zero where nothing was hit."""
        if values.device.type != "cpu":
            values = torch.where((self.face >= 0)[:, None], values, 0.0)
        count, height, width = self.shape
        maps = torch.zeros(count * height * width, values.shape[1], dtype=values.dtype, device=values.device)
        maps[self.row] = values
        return maps.reshape(count, height, width, values.shape[1])


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
        hits = self.hits(mesh_index, camera_from_object, intrinsics, height, width)
        face = torch.full((len(mesh_index) * height * width,), -1, dtype=torch.int64, device=self.device)
        face[hits.row] = hits.face
        face = face.reshape(hits.shape)
        # Whole images are turned at once: one small product for each ray would cost more than all else.
        normals = hits.images(hits.normal).flatten(1, 2) @ self._poses(camera_from_object)[:, :3, :3].transpose(1, 2)
        return Renders(
            depth=hits.images(hits.depth[:, None])[..., 0],
            mask=face >= 0,
            coordinates=hits.images(hits.point).permute(0, 3, 1, 2),
            normals=normals.unflatten(1, (height, width)).permute(0, 3, 1, 2),
            colors=hits.images(hits.color).permute(0, 3, 1, 2),
            face=face,
            barycentric=hits.images(hits.barycentric).permute(0, 3, 1, 2),
        )

    def hits(
        self, mesh_index: Tensor, camera_from_object: Tensor, intrinsics: Tensor, height: int, width: int
    ) -> SurfaceHits:
        """Return what the rays of images hit, for those who want other images of it than `render` makes; see there."""
        count = len(mesh_index)
        if not count == len(camera_from_object) == len(intrinsics):
            raise ValueError(
                f"render: batch sizes {count}, {len(camera_from_object)}, {len(intrinsics)}, expected equal"
            )
        self._check_index(mesh_index)
        poses, mesh_index = self._poses(camera_from_object), mesh_index.to(self.device)
        origins, directions = object_rays(poses, intrinsics.to(self.device).float(), height, width)
        pixels, ways = height * width, directions.reshape(-1, 3)
        found = self.engine.cast(mesh_index, origins[:, None].expand(-1, pixels, -1).reshape(-1, 3), ways)
        row = rows_to_visit(found.face >= 0)
        image = row // pixels
        face, weights, way = found.face[row], found.barycentric[row], ways[row]
        depth = found.distance[row]  # directions have unit depth in the camera
        normal, color = self._surfaces.appearance(mesh_index[image], face.clamp(min=0), weights)
        away = (normal * way).sum(dim=1, keepdim=True) > 0
        return SurfaceHits(
            shape=(count, height, width),
            row=row,
            image=image,
            face=face,
            barycentric=weights,
            depth=depth,
            point=torch.addcmul(origins[image], depth[:, None], way),
            normal=F.normalize(torch.where(away, -normal, normal), dim=1),
            color=color,
        )

    def _poses(self, camera_from_object: Tensor) -> Tensor:
        return camera_from_object.to(self.device).float()

    def _check_index(self, mesh_index: Tensor) -> None:
        """Refuse meshes that there are not; indices on a GPU are believed, a look at them would wait for it."""
        if mesh_index.device.type != "cpu" or not len(mesh_index):
            return
        if int(mesh_index.min()) < 0 or int(mesh_index.max()) >= self._meshes:
            raise ValueError(f"render: mesh_index up to {int(mesh_index.max())}, expected below {self._meshes}")


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
