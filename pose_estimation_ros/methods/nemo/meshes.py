"""Coarse meshes whose vertices carry features: cuboids around objects or categories, or the object's own shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.outline import outline_points

Shape = Literal["cuboid", "multi", "detailed"]
_MOST = 4096  # about so many vertices of a finely modelled instance count
_SHARE = 0.99  # of the vertices lie inside a cuboid, per axis


@dataclass(frozen=True)
class NeuralMesh:
    """Vertices that carry features, and the faces between them."""

    vertices: np.ndarray  # (V, 3) float32, metres, object frame
    faces: np.ndarray  # (F, 3) int64
    normals: np.ndarray  # (V, 3) float32, unit length, outwards
    outline: np.ndarray  # (OUTLINE_POINTS, 3) float32, points of the shape itself that reach farthest in all directions


def shortest_interval(values: np.ndarray, share: float = _SHARE) -> tuple[float, float]:
    """Return the ends of the shortest interval that holds a share of values (N,)."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = max(1, int(np.ceil(share * len(ordered))))
    widths = ordered[count - 1 :] - ordered[: len(ordered) - count + 1]
    first = int(np.argmin(widths))
    return float(ordered[first]), float(ordered[first + count - 1])


def cuboid_mesh(points: np.ndarray, count: int = 1000) -> NeuralMesh:
    """Make a cuboid around points, each face a grid of its own; the few that stick out (mirrors) do not count.

    Args:
        points: vertices of one or of several meshes, shape (N, 3), metres.
        count: about how many vertices are wanted.

    Raises:
        ValueError: if the points lie in a plane, or there are too few.

    Source: Wang et al., NeMo, ICLR 2021: the shortest interval with 99 % of the vertices along every axis, and grids
    whose edges are the square root of the area per vertex.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) < 2:
        raise ValueError(f"cuboid_mesh: {len(points)} points, expected at least 2")
    ends = np.array([shortest_interval(points[:, axis]) for axis in range(3)])
    low, size = ends[:, 0], ends[:, 1] - ends[:, 0]
    if not (size > 0.0).all():
        raise ValueError(f"cuboid_mesh: points of size {size.tolist()} m, expected a volume")
    area = 2.0 * (size[0] * size[1] + size[1] * size[2] + size[2] * size[0])
    edge = np.sqrt(area / count)
    vertices: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    normals: list[np.ndarray] = []
    start = 0
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        for side in (0.0, 1.0):
            grid, triangles = _grid(max(2, round(size[first] / edge) + 1), max(2, round(size[second] / edge) + 1))
            corners = np.zeros((len(grid), 3))
            corners[:, axis], corners[:, first], corners[:, second] = side, grid[:, 0], grid[:, 1]
            vertices.append(low + corners * size)
            faces.append((triangles if side == 1.0 else triangles[:, ::-1]) + start)
            normal = np.zeros(3)
            normal[axis] = 2.0 * side - 1.0
            normals.append(np.tile(normal, (len(grid), 1)))
            start += len(grid)
    return NeuralMesh(
        np.concatenate(vertices).astype(np.float32),
        np.concatenate(faces).astype(np.int64),
        np.concatenate(normals).astype(np.float32),
        outline_points(points[((points >= low) & (points <= low + size)).all(axis=1)]),
    )


def _grid(columns: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points (N, 2) in the unit square, and triangles (F, 3) that turn left."""
    u, v = np.meshgrid(np.linspace(0.0, 1.0, columns), np.linspace(0.0, 1.0, rows), indexing="ij")
    number = np.arange(columns * rows).reshape(columns, rows)
    a, b, c, d = number[:-1, :-1].ravel(), number[1:, :-1].ravel(), number[1:, 1:].ravel(), number[:-1, 1:].ravel()
    triangles = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    return np.column_stack([u.ravel(), v.ravel()]), triangles


def detailed_mesh(mesh: Mesh, count: int = 1000) -> NeuralMesh:
    """Simplify an object's own mesh to about so many vertices.

    Meshes of fewer vertices are divided first, so that features lie about evenly.
    """
    from pose_estimation_ros.objects.light_open3d import open3d

    raw = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(mesh.vertices.astype(np.float64)),
        open3d.utility.Vector3iVector(mesh.faces.astype(np.int32)),
    )
    raw.remove_duplicated_vertices()
    raw.remove_degenerate_triangles()
    while len(raw.vertices) < 4 * count:  # sparse meshes have long edges where nothing would carry a feature
        raw = raw.subdivide_midpoint(1)
    cell = np.sqrt(raw.get_surface_area() / count)
    for _ in range(8):
        coarse = raw.simplify_vertex_clustering(cell, open3d.geometry.SimplificationContraction.Average)
        if 0.9 * count <= len(coarse.vertices) <= 1.1 * count:
            break
        cell *= float(np.sqrt(max(len(coarse.vertices), 1) / count))
    coarse.remove_degenerate_triangles()
    coarse.remove_unreferenced_vertices()
    coarse.compute_vertex_normals()
    normals = np.asarray(coarse.vertex_normals, dtype=np.float32)
    return NeuralMesh(
        np.asarray(coarse.vertices, dtype=np.float32),
        np.asarray(coarse.triangles, dtype=np.int64),
        normals,
        outline_points(mesh.vertices),
    )


def neural_meshes(instances: Sequence[Mesh], shape: Shape, count: int = 1000) -> list[NeuralMesh]:
    """Return the meshes that stand for an object (one instance) or a category (several).

    Args:
        instances: CAD meshes in the common frame.
        shape: `cuboid`, one around all; `multi`, one around each; `detailed`, every instance's own shape.
        count: about how many vertices each.
    """
    if shape == "cuboid":
        points = [mesh.vertices[:: max(1, len(mesh.vertices) // _MOST)] for mesh in instances]
        return [cuboid_mesh(np.concatenate(points), count)]
    if shape == "multi":
        return [cuboid_mesh(mesh.vertices, count) for mesh in instances]
    return [detailed_mesh(mesh, count) for mesh in instances]
