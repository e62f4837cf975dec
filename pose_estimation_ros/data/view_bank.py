"""A bank of ray-cast views from which endless training images are composed.

Casting rays is done once for a few thousand views an object. A training image then is a warp of a stored view:
rolling, shifting, scaling and turning the camera about its centre are homographies of the image, so that only the
direction from which the object is seen is discrete. The warp and all shading run as batched tensor operations on
any device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from scipy.spatial.transform import Rotation
from torch import Tensor
from tqdm import tqdm

from pose_estimation_ros.geometry.symmetry import rotation_about
from pose_estimation_ros.geometry.virtual_camera import look_at
from pose_estimation_ros.objects.bundle import PosePrior
from pose_estimation_ros.objects.catalog import ContinuousSymmetry, ObjectModel
from pose_estimation_ros.objects.mesh import Mesh, sample_surface
from pose_estimation_ros.rendering.raycaster import RayCaster
from pose_estimation_ros.rendering.shading import bake_ambient_occlusion

OUTLINE_POINTS = 256
MARGIN_PX = 2.0


class ClusterConfig(BaseModel):
    """Views that come together: few views of an object still are near enough to each other to be told apart closely."""

    model_config = ConfigDict(extra="forbid")

    views: int = Field(default=10, ge=2)  # from nearly the same direction
    spread_deg: float = Field(default=24.0, gt=0.0, lt=90.0)  # largest angle to the first of them
    log_distance: float = Field(default=0.06, ge=0.0)  # deviation of the logarithm of the distance


@dataclass(frozen=True)
class ViewBank:
    """V views of O objects, S x S pixels each, the object's box centre on the optical axis.

    `surface` holds colour (3), ambient occlusion, camera-frame normal (3, 128 is zero) and mask (0 or 255).
    """

    coordinates: Tensor  # (V, 3, S, S) float16, [-1, 1] over the object's box
    surface: Tensor  # (V, 8, S, S) uint8
    camera_from_object: Tensor  # (V, 4, 4) float32
    focal_px: Tensor  # (V,) float32
    object_index: Tensor  # (V,) int64; from `known` on: clutter
    mesh_index: Tensor  # (V,) int64; the meshes of a category share its object_index
    outline: Tensor  # (M, P, 3) float32 surface points of every mesh, metres
    known: int  # number of catalog objects; what comes after them is clutter

    @property
    def size(self) -> int:
        """Side of the stored views in pixels."""
        return self.surface.shape[-1]

    def to(self, device: torch.device | str) -> ViewBank:
        """Return the bank with all tensors on a device."""
        tensors = {f.name: getattr(self, f.name).to(device) for f in fields(self) if f.name != "known"}
        return replace(self, **tensors)

    def save(self, path: Path) -> None:
        """Write the bank to one file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        torch.save({f.name: getattr(self, f.name) for f in fields(self)}, temporary)
        temporary.replace(path)

    @staticmethod
    def load(path: Path) -> ViewBank:
        """Read a bank written by `save` into main memory, whatever device it was made on; processes share it."""
        return ViewBank(**torch.load(path, map_location="cpu", weights_only=True, mmap=True))


def sample_directions(prior: PosePrior, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw unit vectors (count, 3) from the object to the camera, even on the sphere within the prior."""
    low, high = (math.sin(math.radians(value)) for value in prior.elevation_deg)
    anywhere = generator.random(count) < prior.other
    height = np.where(anywhere, generator.uniform(-1.0, 1.0, count), generator.uniform(low, high, count))
    azimuth = generator.uniform(0.0, 2.0 * math.pi, count)
    flat = np.sqrt(1.0 - height**2)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), height], axis=1)


def build_view_bank(
    models: list[ObjectModel],
    meshes: list[Mesh],
    prior: PosePrior,
    views: int,
    clutter: list[Mesh],
    clutter_views: int = 40,
    size: int = 112,
    seed: int = 0,
    device: torch.device | str = "cpu",
    owner: Sequence[int] | None = None,
    cluster: ClusterConfig | None = None,
    occlusion_rays: int = 48,
) -> ViewBank:
    """Ray-cast the views of all objects.

    Args:
        models: the catalog's objects.
        meshes: their meshes, metres; of a category several.
        prior: from where they are seen.
        views: views per object, shared by the meshes of a category.
        clutter: meshes that only occlude and distract.
        clutter_views: views per clutter mesh.
        size: side of a view in pixels.
        seed: same seed, same bank.
        device: where to cast; the bank stays on it.
        owner: whose mesh each is, as an index of `models`; one each where absent.
        cluster: how views come together; each by itself where absent.
        occlusion_rays: by which every vertex feels how much of the sky it sees.
    """
    owners = list(range(len(models)) if owner is None else owner)
    generator = np.random.default_rng(seed)
    parts = []
    everything = PosePrior(distance_m=prior.distance_m, other=1.0)
    for index, mesh in enumerate(tqdm([*meshes, *clutter], desc="views", unit="mesh")):
        known = index < len(owners)
        low, high = mesh.bounds
        model = models[owners[index]] if known else None
        centre = (low + high) / 2.0 if model is None else model.centre_m
        half = (high - low) / 2.0 if model is None else model.half_size_m
        count = clutter_views if model is None else max(1, views // owners.count(owners[index]))
        near = cluster.views if cluster and known else 1
        poses = _sample_poses(prior if known else everything, math.ceil(count / near), centre, generator)
        if cluster and known:
            poses = _clustered(poses, cluster, centre, generator)[:count]
        for symmetry in () if model is None else model.continuous_symmetries:
            poses = _facing(poses, symmetry)
        caster = RayCaster([mesh], device=device)  # one at a time: hundreds of meshes may be large
        occlusion = bake_ambient_occlusion(caster.engine, 0, mesh, occlusion_rays, seed=seed)
        cast = _cast_views(caster, mesh, poses, centre, half, occlusion, size)
        parts.append({**cast, "mesh_index": torch.full_like(cast["mesh_index"], index)})
    outline = np.stack([sample_surface(mesh, OUTLINE_POINTS, seed) for mesh in [*meshes, *clutter]])
    joined = {key: torch.cat([part.pop(key) for part in parts]) for key in list(parts[0])}  # lets go of what it joined
    shows = torch.tensor([*owners, *range(len(models), len(models) + len(clutter))], device=joined["mesh_index"].device)
    return ViewBank(
        **joined,
        object_index=shows[joined["mesh_index"]],
        outline=torch.from_numpy(outline).to(device),
        known=len(models),
    )


def _sample_poses(prior: PosePrior, count: int, centre: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    rotation = look_at(sample_directions(prior, count, generator))
    # Even in the logarithm: perspective changes with the ratio of distances.
    low, high = np.log(prior.distance_m)
    distance = np.exp(generator.uniform(low, high, count))
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = rotation
    poses[:, :3, 3] = np.array([0.0, 0.0, 1.0]) * distance[:, None] - rotation @ centre
    return poses


def _clustered(
    poses: np.ndarray, config: ClusterConfig, centre: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return poses (N * views, 4, 4) that see the object from about where poses (N, 4, 4) see it, those first."""
    together = np.repeat(poses, config.views, axis=0)
    first = np.arange(len(together)) % config.views == 0
    # More near ones than far ones: late stages of a refinement see small errors.
    angle = np.radians(config.spread_deg) * generator.random(len(together)) ** 1.5
    azimuth = generator.uniform(0.0, 2.0 * np.pi, len(together))
    ratio = np.exp(config.log_distance * generator.normal(size=len(together)).clip(-2.0, 2.0))
    angle[first], ratio[first] = 0.0, 1.0
    across = np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros(len(together))], axis=1)
    tilt = Rotation.from_rotvec(across * angle[:, None]).as_matrix()
    rotation = tilt @ together[:, :3, :3]
    distance = (together[:, 2, :3] @ centre + together[:, 2, 3]) * ratio
    together[:, :3, :3] = rotation
    together[:, :3, 3] = np.array([0.0, 0.0, 1.0]) * distance[:, None] - rotation @ centre
    return together


def _facing(poses: np.ndarray, symmetry: ContinuousSymmetry) -> np.ndarray:
    """Turn objects (N, 4, 4) about their symmetry axis so that the same side always faces the camera.

    Poses that look the same then have the same coordinates, as Pix2Pose prepares its targets.
    """
    axis = np.asarray(symmetry.axis) / np.linalg.norm(symmetry.axis)
    first = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    first /= np.linalg.norm(first)
    rotation, shift = poses[:, :3, :3], poses[:, :3, 3]
    camera = -np.einsum("nji,nj->ni", rotation, shift) - np.asarray(symmetry.offset_m)
    angle = np.arctan2(camera @ np.cross(axis, first), camera @ first)
    turns = np.stack([rotation_about(axis, symmetry.offset_m, value) for value in angle])
    return poses @ turns


def _cast_views(
    caster: RayCaster,
    mesh: Mesh,
    poses: np.ndarray,
    centre: np.ndarray,
    half: np.ndarray,
    occlusion: Tensor,
    size: int,
) -> dict[str, Tensor]:
    device = caster.device
    transforms = torch.from_numpy(poses).float().to(device)
    vertices = torch.from_numpy(mesh.vertices).to(device)
    origin, extent = (torch.from_numpy(np.asarray(value)).float().to(device)[:, None, None] for value in (centre, half))
    faces = torch.from_numpy(mesh.faces).to(device)
    focals, surfaces, coordinates = [], [], []
    for chunk in transforms.split(32):
        in_camera = vertices @ chunk[:, :3, :3].transpose(1, 2) + chunk[:, None, :3, 3]
        radius = (in_camera[..., :2] / in_camera[..., 2:]).norm(dim=-1).amax(dim=1)
        focal = (size / 2.0 - MARGIN_PX) / radius
        intrinsics = bank_intrinsics(focal, size)
        which = torch.zeros(len(chunk), dtype=torch.int64, device=device)
        renders = caster.render(which, chunk, intrinsics, size, size)
        corners = occlusion[faces[renders.face.clamp(min=0)]]  # (B, S, S, 3)
        u, v = renders.barycentric[:, 0], renders.barycentric[:, 1]
        ambient = (1.0 - u - v) * corners[..., 0] + u * corners[..., 1] + v * corners[..., 2]
        mask = renders.mask[:, None].float()
        layers = [renders.colors, (ambient[:, None] * mask).clamp(0.0, 1.0)]
        surface = torch.cat([*layers, renders.normals * (127.0 / 255.0) + 128.0 / 255.0, mask], dim=1)
        surfaces.append((surface * 255.0).round().clamp(0, 255).to(torch.uint8))
        coordinates.append((((renders.coordinates - origin) / extent.clamp(min=1e-6)) * mask).half())
        focals.append(focal)
    return {
        "coordinates": torch.cat(coordinates),
        "surface": torch.cat(surfaces),
        "camera_from_object": transforms,
        "focal_px": torch.cat(focals),
        "mesh_index": torch.zeros(len(transforms), dtype=torch.int64, device=device),
    }


def bank_intrinsics(focal_px: Tensor, size: int) -> Tensor:
    """Return camera matrices (B, 3, 3) of stored views with focal lengths (B,)."""
    matrix = torch.zeros(len(focal_px), 3, 3, device=focal_px.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = focal_px
    matrix[:, 0, 2] = matrix[:, 1, 2] = (size - 1) / 2.0
    matrix[:, 2, 2] = 1.0
    return matrix


def warp_grid(source_from_target: Tensor, target_pixels: Tensor, source_size: int) -> Tensor:
    """Return a grid for `grid_sample` (align_corners=False) that applies homographies.

    Args:
        source_from_target: homographies between pixel coordinates, shape (B, 3, 3).
        target_pixels: pixel coordinates of the target along one side, shape (S,).
        source_size: side of the source in pixels.

    Returns:
        Grid (B, S, S, 2).
    """
    v, u = torch.meshgrid(target_pixels, target_pixels, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=-1).reshape(-1, 3)
    mapped = pixels @ source_from_target.transpose(1, 2)
    source = mapped[..., :2] / mapped[..., 2:].clamp(min=1e-6)
    side = len(target_pixels)
    return ((2.0 * source + 1.0) / source_size - 1.0).reshape(-1, side, side, 2)


def sample_maps(maps: Tensor, grid: Tensor) -> Tensor:
    """Sample (B, C, S, S) maps bilinearly; zero outside."""
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
