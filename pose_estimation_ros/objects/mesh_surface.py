"""The surface of a mesh as it is seen from outside: points on it with colours, and how far other points are from it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from pose_estimation_ros.objects.mesh import Mesh, diameter, doubled_areas
from pose_estimation_ros.objects.outline import even_directions

_LOOKS = 32  # directions from which a point may be seen
_NEIGHBOURS = 12  # points that are about a place


class Closest(NamedTuple):
    """Which of a surface's points are nearest to others."""

    points: np.ndarray  # (N, 3)
    normals: np.ndarray  # (N, 3) unit length
    distance: np.ndarray  # (N,) to the surface there, about, metres


class Surface:
    """Evenly drawn points on what is seen of a mesh from outside, and distances to all of it.

    Args:
        mesh: the mesh.
        count: of the points, about.
        seed: same seed, same points.
    """

    def __init__(self, mesh: Mesh, count: int = 8000, seed: int = 0) -> None:
        from pose_estimation_ros.objects.light_open3d import open3d

        self.mesh = mesh
        self.diameter_m = diameter(mesh.vertices)
        self._scene: Any = open3d.t.geometry.RaycastingScene(nthreads=1)
        self._tensor: Any = open3d.core.Tensor
        vertices, faces = mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32)
        self._scene.add_triangles(self._tensor(vertices), self._tensor(faces))
        points, face, weights = _drawn(mesh, count, seed)
        seen = self._is_seen(points)
        if seen.sum() < count // 10:  # a closed box around everything, or nothing but edges: take what there is
            seen[:] = True
        self.points = points[seen]  # (P, 3) metres
        self.colors = surface_colors(mesh, face[seen], weights[seen])  # (P, 3) in [0, 1]
        self.centre = self.points.mean(axis=0)
        self.normals = _face_normals(mesh)[face[seen]]  # (P, 3)
        self._tree = cKDTree(self.points)
        self._spacing = float(np.quantile(self._tree.query(self.points[::10], k=2)[0][:, 1], 0.9))

    def closest(self, points: np.ndarray) -> Closest:
        """Return which of the surface's points are nearest to points (N, 3), quickly."""
        distance, index = self._tree.query(points)
        normals = self.normals[index]
        above = ((points - self.points[index]) * normals).sum(axis=1)
        beside = np.sqrt(np.maximum(distance**2 - above**2, 0.0))
        return Closest(self.points[index], normals, np.hypot(above, np.maximum(beside - 1.5 * self._spacing, 0.0)))

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Return how far points (N, 3) are from the surface, metres; exactly, and slowly where they are far."""
        flat = np.ascontiguousarray(points, dtype=np.float32)
        return self._scene.compute_distance(self._tensor(flat), nthreads=1).numpy()

    def color_apart(self, points: np.ndarray, colors: np.ndarray) -> np.ndarray:
        """Return how far colours (N, 3) are from those of the surface about points (N, 3).

        It is the mean difference of red, green and blue from the nearest colour of a neighbourhood of a few hundredths
        of the diameter: what is smaller is not seen, and edges need not lie upon each other.
        """
        _, index = self._tree.query(points, k=min(_NEIGHBOURS, len(self.points)))
        around = self.colors[index.reshape(len(points), -1)]
        return np.abs(around - colors[:, None]).mean(axis=2).min(axis=1)

    def _is_seen(self, points: np.ndarray) -> np.ndarray:
        """Tell from which points (N, 3) a ray gets out."""
        seen = np.zeros(len(points), dtype=bool)
        for direction in even_directions(_LOOKS):
            rest = np.flatnonzero(~seen)
            start = points[rest] + direction * (1e-3 * self.diameter_m)
            rays = np.concatenate([start, np.broadcast_to(direction, start.shape)], axis=1).astype(np.float32)
            seen[rest] = ~self._scene.test_occlusions(self._tensor(rays), nthreads=1).numpy()
        return seen


def _face_normals(mesh: Mesh) -> np.ndarray:
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)


def surface_colors(mesh: Mesh, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the colours (N, 3) in [0, 1] of places on faces (N,) with weights (N, 3) of their corners."""
    if mesh.texture is None or mesh.corner_uv is None:
        return np.einsum("nc,nck->nk", weights, mesh.colors[mesh.faces[face]])
    uv = np.einsum("nc,nck->nk", weights, mesh.corner_uv[face])
    height, width = mesh.texture.shape[:2]
    column = np.minimum((uv[:, 0] % 1.0 * width).astype(int), width - 1)
    row = np.minimum(((1.0 - uv[:, 1] % 1.0) * height).astype(int), height - 1)
    return mesh.texture[row, column].astype(np.float64)


def _drawn(mesh: Mesh, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw points (N, 3) evenly over all faces; return with them the faces (N,) and weights (N, 3) of the corners."""
    generator = np.random.default_rng(seed)
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    area = doubled_areas(mesh).astype(np.float64)
    # Stratified: no patch of the surface is left out by chance.
    place = (np.arange(count) + generator.random(count)) / count
    face = np.minimum(np.searchsorted(np.cumsum(area) / area.sum(), place), len(area) - 1)
    u, v = generator.random((2, count))
    u, v = np.where(u + v > 1.0, 1.0 - u, u), np.where(u + v > 1.0, 1.0 - v, v)
    weights = np.stack([1.0 - u - v, u, v], axis=1)
    return np.einsum("nc,nck->nk", weights, corners[face]), face, weights
