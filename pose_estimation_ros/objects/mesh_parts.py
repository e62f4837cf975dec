"""Parts of a mesh, each with its own colours, and the one mesh that is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.texture_atlas import Skin, join_skins

CREASE_DEG = 40.0  # faces that meet at a larger angle have an edge between them


class Part(NamedTuple):
    """Faces of one material, metres, object frame."""

    vertices: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3)
    skin: Skin


def joined(parts: Sequence[Part]) -> Mesh:
    """Make one mesh of parts: with one texture if any of them has one, else with colours of vertices.

    Raises:
        ValueError: if there is no part with faces.
    """
    parts = [part for part in parts if len(part.faces)]
    if not parts:
        raise ValueError("no triangles; expected a triangle mesh")
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = np.concatenate([part.vertices for part in parts]).astype(np.float64)
    faces = np.concatenate([part.faces + start for part, start in zip(parts, offsets, strict=False)]).astype(np.int64)
    skins = [part.skin for part in parts]
    if any(skin.texture is not None for skin in skins):
        atlas = join_skins(skins)
        return _split(vertices, faces, np.zeros((len(faces), 3, 0)), atlas.corner_uv, atlas.texture)
    return _split(vertices, faces, np.concatenate([skin.colors for skin in skins]), None, None)


def creased(mesh: Mesh) -> Mesh:
    """Return a mesh with normals that are smooth but across edges, whatever it had."""
    colors = mesh.colors[mesh.faces] if mesh.texture is None else np.zeros((len(mesh.faces), 3, 0))
    texture = None if mesh.texture is None else np.round(mesh.texture * 255.0).astype(np.uint8)
    return _split(mesh.vertices.astype(np.float64), mesh.faces, colors, mesh.corner_uv, texture)


def _split(
    vertices: np.ndarray,
    faces: np.ndarray,
    corner_colors: np.ndarray,
    corner_uv: np.ndarray | None,
    texture: np.ndarray | None,
) -> Mesh:
    """Give every combination of place, normal and colour a vertex of its own; faces without area are left out."""
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    good = np.linalg.norm(across, axis=1) > 1e-14
    faces, across, corner_colors = faces[good], across[good], corner_colors[good]
    corner_uv = None if corner_uv is None else corner_uv[good]
    if not len(faces):
        raise ValueError("no triangles with an area; expected a triangle mesh")
    _, place = np.unique(np.round(vertices, 7), axis=0, return_inverse=True)  # a tenth of a micrometre
    place = place.reshape(-1)[faces.reshape(-1)]
    normals = corner_normals(place, across)
    key = np.concatenate(
        [place[:, None], np.round(normals, 2), np.round(corner_colors.reshape(len(place), -1), 3)], axis=1
    )
    _, first, index = np.unique(key, axis=0, return_index=True, return_inverse=True)
    position = vertices[faces.reshape(-1)][first].astype(np.float32)
    colors = corner_colors.reshape(len(place), -1)[first].astype(np.float32)
    return Mesh(
        vertices=position,
        faces=index.reshape(-1, 3).astype(np.int64),
        normals=normals[first].astype(np.float32),
        colors=colors if colors.shape[1] else np.full_like(position, 0.6),
        corner_uv=None if corner_uv is None else corner_uv.astype(np.float32),
        texture=None if texture is None else texture.astype(np.float32) / 255.0,
    )


def corner_normals(place: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Return a normal for every corner: the mean of those faces at its place that meet it without an edge.

    Args:
        place: of every corner (3 F,), equal for corners at one place.
        across: normals of the faces (F, 3), as long as twice their area.

    Returns:
        Unit normals (3 F, 3).
    """
    corner_face = np.repeat(np.arange(len(across)), 3)
    unit = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
    at = sparse.csr_matrix((np.ones(len(place)), (np.arange(len(place)), place)))
    pairs = (at @ at.T).tocoo()
    smooth = (unit[corner_face[pairs.row]] * unit[corner_face[pairs.col]]).sum(axis=1) > np.cos(np.deg2rad(CREASE_DEG))
    weights = sparse.csr_matrix((np.ones(int(smooth.sum())), (pairs.row[smooth], pairs.col[smooth])), shape=pairs.shape)
    summed = weights @ across[corner_face]
    length = np.linalg.norm(summed, axis=1, keepdims=True)
    return np.where(length > 1e-20, summed / np.maximum(length, 1e-30), unit[corner_face])
