"""Light on surfaces: ambient occlusion baked per vertex, and shading with random lights on whole batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.raycaster import RayEngine

_BURIED = 0.03  # less than this share of the rays gets out: they start inside a closed body


@dataclass(frozen=True)
class Lighting:
    """Lights and materials of B images, L directional lights each."""

    ambient: Tensor  # (B, 3) colour
    direction: Tensor  # (B, L, 3) unit, towards the light, camera frame
    color: Tensor  # (B, L, 3)
    specular: Tensor  # (B,) strength of the highlight
    shininess: Tensor  # (B,) exponent of the highlight


def bake_ambient_occlusion(
    engine: RayEngine, mesh_index: int, mesh: Mesh, rays: int = 48, reach: float = 0.5, seed: int = 0
) -> Tensor:
    """Return for every vertex the share of the sky that it sees, shape (V,), in [0, 1].

    Normals of CAD meshes may point inwards: where none of the rays gets out, it is the other side that is
    looked at.

    Args:
        engine: casts the rays.
        mesh_index: the mesh's place in the engine.
        mesh: the mesh.
        rays: rays per vertex, cosine-distributed about the normal.
        reach: how far an occluder counts, as a share of the box diagonal.
        seed: same seed, same result.
    """
    generator = torch.Generator().manual_seed(seed)
    low, high = mesh.bounds
    length = float(torch.tensor(high - low).norm())
    vertices = torch.from_numpy(mesh.vertices).to(engine.device)
    normals = torch.from_numpy(mesh.normals).to(engine.device)
    seen, free = torch.zeros(2, 2, len(vertices), device=engine.device)
    for _ in range(rays):
        noise = F.normalize(torch.randn(len(vertices), 3, generator=generator), dim=1).to(engine.device)
        for side, outwards in enumerate((normals, -normals)):
            direction = F.normalize(outwards + 0.999 * noise, dim=1)  # Lambert's cosine distribution
            hits = engine.cast(mesh_index, vertices + outwards * (1e-3 * length), direction)
            seen[side] += ~((hits.face >= 0) & (hits.distance < reach * length))
            free[side] += hits.face < 0
    return torch.where(free[0] < _BURIED * rays, seen[1], seen[0]) / rays


def random_lighting(count: int, generator: torch.Generator, device: torch.device, lights: int = 2) -> Lighting:
    """Draw lights from nearly flat to a single strong lamp, mostly from above, slightly coloured."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device) * (high - low) + low

    contrast = uniform(0.0, 1.0, count, 1)  # share of directed light
    tint = 1.0 + uniform(-0.08, 0.08, count, 3)
    ambient = (1.0 - 0.75 * contrast) * uniform(0.75, 1.15, count, 1) * tint
    direction = torch.randn(count, lights, 3, generator=generator, device=device)
    direction[..., 1] -= 0.7  # y points down
    direction[..., 2] = -direction[..., 2].abs() - 0.2  # from the camera's side
    strength = contrast[:, None] * uniform(0.3, 1.1, count, lights, 1)
    color = strength * (1.0 + uniform(-0.1, 0.1, count, lights, 3))
    specular = uniform(0.0, 0.5, count) * (uniform(0.0, 1.0, count) < 0.6)
    shininess = torch.exp(uniform(1.0, 4.0, count))
    return Lighting(ambient, F.normalize(direction, dim=-1), color, specular, shininess)


def shade(albedo: Tensor, occlusion: Tensor, normals: Tensor, lighting: Lighting) -> Tensor:
    """Shade surfaces: ambient light, Lambert's law and a Blinn-Phong highlight.

    Args:
        albedo: colours (B, 3, H, W) in [0, 1].
        occlusion: ambient occlusion (B, 1, H, W).
        normals: unit normals (B, 3, H, W), camera frame.
        lighting: lights of the B images.

    Returns:
        Colours (B, 3, H, W), not clipped.
    """
    light = lighting.ambient[:, :, None, None] * occlusion
    highlight = torch.zeros_like(occlusion)
    flat = normals.flatten(2)
    viewer = torch.tensor([0.0, 0.0, -1.0], device=normals.device)
    for index in range(lighting.direction.shape[1]):
        direction = lighting.direction[:, index]
        cosine = torch.bmm(direction[:, None], flat).clamp(min=0.0).reshape(occlusion.shape)
        light = light + lighting.color[:, index, :, None, None] * cosine * (0.5 + 0.5 * occlusion)
        half = F.normalize(direction + viewer, dim=1)
        glint = torch.bmm(half[:, None], flat).clamp(min=0.0).reshape(occlusion.shape)
        strength = lighting.color[:, index].mean(dim=1)[:, None, None, None]
        highlight = highlight + strength * glint.pow(lighting.shininess[:, None, None, None])
    return albedo * light + lighting.specular[:, None, None, None] * highlight


def headlight(albedo: Tensor, normal_z: Tensor) -> Tensor:
    """Shade colours (N, 3, ...) by a lamp at the camera; the normals' z (N, 1, ...) is -1 where they face it."""
    return albedo * (0.3 + 0.7 * (-normal_z).clamp(0.0, 1.0))
