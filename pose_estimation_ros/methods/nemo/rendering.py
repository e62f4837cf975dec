"""Differentiable rendering of features that sit on the vertices of a mesh.

The ray caster says which face each ray hits; where it hits is computed once more in torch, so that the rendering has
gradients with respect to the pose. What is hidden stays hidden: the gradient flows through the barycentric weights
alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pose_estimation_ros.rendering.raycaster import RayCaster, object_rays


class FeatureRenders(NamedTuple):
    """Rendered features of B poses."""

    features: Tensor  # (B, C, H, W), zeros where the mesh is not seen
    mask: Tensor  # (B, H, W) bool


def render_features(
    caster: RayCaster,
    mesh: Tensor,
    vertices: Tensor,
    faces: Tensor,
    features: Tensor,
    camera_from_object: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
) -> FeatureRenders:
    """Render the features of vertices at poses.

    Args:
        caster: knows the same meshes.
        mesh: their numbers, shape (B,).
        vertices: (B, V, 3) metres.
        faces: (B, F, 3).
        features: of the vertices, (B, V, C).
        camera_from_object: poses (B, 4, 4); gradients flow to them.
        intrinsics: camera matrices of the maps (B, 3, 3).
        height: rows of the maps.
        width: columns of the maps.

    Returns:
        Features between the vertices, not normalised, as in the paper.
    """
    with torch.no_grad():
        hits = caster.render(mesh, camera_from_object.detach(), intrinsics, height, width)
    found = hits.mask.flatten(1).nonzero()
    image, pixel = found.unbind(1)
    face = hits.face.flatten(1)[image, pixel].to(faces.device)
    corners = faces[image, face]  # (R, 3)
    origins, directions = object_rays(camera_from_object, intrinsics, height, width)
    weights = barycentric(vertices[image[:, None], corners], origins[image], directions[image, pixel])
    mixed = (features[image[:, None], corners] * weights[..., None]).sum(dim=1)
    flat = features.new_zeros(len(mesh), height * width, features.shape[2]).index_put((image, pixel), mixed)
    return FeatureRenders(flat.transpose(1, 2).unflatten(2, (height, width)), hits.mask)


def barycentric(corners: Tensor, origins: Tensor, directions: Tensor) -> Tensor:
    """Return where rays meet the planes of triangles, as weights of the corners.

    Args:
        corners: of the triangles (R, 3, 3).
        origins: of the rays (R, 3).
        directions: of the rays (R, 3).

    Returns:
        (R, 3), each row sums to one; differentiable.

    Source: Moeller and Trumbore, Fast, minimum storage ray-triangle intersection, 1997.
    """
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = torch.linalg.cross(directions, second)
    determinant = (first * across).sum(dim=1)
    safe = torch.where(determinant.abs() > 1e-12, determinant, torch.full_like(determinant, 1e-12))
    away = origins - corners[:, 0]
    u = (away * across).sum(dim=1) / safe
    v = (directions * torch.linalg.cross(away, first)).sum(dim=1) / safe
    return torch.stack([1.0 - u - v, u, v], dim=1)
