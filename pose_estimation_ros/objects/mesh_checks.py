"""What a user should know of a mesh before it is used: holes, no colours, a doubtful size, too many triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from pose_estimation_ros.objects.mesh import Mesh, diameter
from pose_estimation_ros.objects.mesh_parts import creased
from pose_estimation_ros.objects.mesh_surface import surface_colors

MOST_TRIANGLES, FEWER_TRIANGLES = 150_000, 100_000  # from which on a mesh is thinned, and to how many
_FLAT = 0.03  # thickness over diameter
_LARGE_M, _SMALL_M = 1.0, 0.02
_FEW_OPEN = 0.002  # share of edges
_PLAIN = 0.03  # standard deviation of colours that look like one


def mesh_notes(mesh: Mesh) -> list[str]:
    """Say what of a mesh makes its poses worse, or looks like a mistake."""
    notes = []
    size = diameter(mesh.vertices)
    low, high = mesh.bounds
    extents = ", ".join(f"{value * 1000:.0f}" for value in high - low)
    if not _SMALL_M <= size <= _LARGE_M:
        notes.append(f"is {extents} mm large: is the unit right?")
    share = open_share(mesh)
    if share > _FEW_OPEN:
        notes.append(
            f"is open: {share * 100:.1f} % of its edges belong to one triangle only. Where the camera looks through a "
            "hole it sees the back of the other side; poses from there are worse"
        )
    if is_plain(mesh):
        notes.append(
            "has no texture and one colour: only outline and shading tell how it is turned; expect worse rotations, "
            "and give it the colour of the real thing"
        )
    if thickness(mesh) < _FLAT * size:
        notes.append("is very thin: seen from the edge it cannot be found")
    return notes


def thickness(mesh: Mesh) -> float:
    """Return the least extent of a mesh along its principal axes, metres."""
    centred = mesh.vertices - mesh.vertices.mean(axis=0)
    axes = np.linalg.eigh(np.cov(centred.T))[1]
    return float(np.ptp(centred @ axes, axis=0).min())


def is_plain(mesh: Mesh) -> bool:
    """Tell whether a mesh has one colour all over."""
    face = np.arange(len(mesh.faces))
    colors = surface_colors(mesh, face, np.full((len(face), 3), 1.0 / 3.0))
    return bool(colors.std(axis=0).max() < _PLAIN)


def open_share(mesh: Mesh) -> float:
    """Return the share of edges that belong to an odd number of triangles; vertices at one place are one."""
    _, place = np.unique(np.round(mesh.vertices.astype(np.float64), 6), axis=0, return_inverse=True)
    corners = place.reshape(-1)[mesh.faces]
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), axis=1)
    edges = edges[edges[:, 0] != edges[:, 1]]
    _, count = np.unique(edges, axis=0, return_counts=True)
    return float((count % 2 == 1).mean()) if len(count) else 0.0


def thinned(mesh: Mesh, triangles: int = FEWER_TRIANGLES) -> Mesh:
    """Return a mesh of about so many triangles; a texture becomes colours of its many vertices first."""
    if len(mesh.faces) <= triangles:
        return mesh
    from pose_estimation_ros.objects.light_open3d import open3d

    raw: Any = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(mesh.vertices.astype(np.float64)), open3d.utility.Vector3iVector(mesh.faces)
    )
    raw.vertex_colors = open3d.utility.Vector3dVector(_vertex_colors(mesh).astype(np.float64))
    raw = raw.remove_duplicated_vertices().simplify_quadric_decimation(triangles)
    vertices = np.asarray(raw.vertices, dtype=np.float32)
    colors = np.clip(np.asarray(raw.vertex_colors, dtype=np.float32), 0.0, 1.0)
    faces = np.asarray(raw.triangles, dtype=np.int64)
    return creased(Mesh(vertices, faces, np.zeros_like(vertices), colors))


def _vertex_colors(mesh: Mesh) -> np.ndarray:
    """Return a colour for every vertex (V, 3): its own, or the mean of the texture at its corners."""
    if mesh.texture is None:
        return mesh.colors
    weights = np.tile(0.8 * np.eye(3) + 0.2 / 3.0, (len(mesh.faces), 1))  # a little inside, off the seams
    colors = surface_colors(mesh, np.repeat(np.arange(len(mesh.faces)), 3), weights)
    summed = np.zeros((len(mesh.vertices), 3))
    np.add.at(summed, mesh.faces.reshape(-1), colors)
    return summed / np.maximum(np.bincount(mesh.faces.reshape(-1), minlength=len(mesh.vertices)), 1)[:, None]
