"""Solids whose symmetries are known, made of few triangles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.spatial import ConvexHull

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.mesh_parts import creased


def hull(points: np.ndarray, color: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> Mesh:
    """Return the convex hull of points (N, 3) as a mesh of one colour."""
    points = np.asarray(points, dtype=np.float64)
    found = ConvexHull(points)
    faces = []
    for face, plane in zip(found.simplices, found.equations, strict=True):
        across = np.cross(points[face[1]] - points[face[0]], points[face[2]] - points[face[0]])
        faces.append(face if across @ plane[:3] > 0 else face[::-1])
    vertices = points.astype(np.float32)
    colors = np.broadcast_to(np.asarray(color, dtype=np.float32), vertices.shape).copy()
    return creased(Mesh(vertices, np.array(faces, dtype=np.int64), np.zeros_like(vertices), colors))


def box(x: float, y: float, z: float) -> Mesh:
    """Return a box about the origin with these edges, metres."""
    return hull(np.array([[a, b, c] for a in (-x, x) for b in (-y, y) for c in (-z, z)]) / 2.0)


def prism(sides: int, radius: float, height: float) -> Mesh:
    """Return an upright prism; with many sides a cylinder."""
    angle = 2.0 * np.pi * np.arange(sides) / sides
    rim = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return hull(np.concatenate([np.c_[rim, np.full(sides, z)] for z in (-height / 2.0, height / 2.0)]))


def cone(radius: float, height: float) -> Mesh:
    """Return an upright cone."""
    angle = 2.0 * np.pi * np.arange(64) / 64
    rim = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(64)], axis=1)
    return hull(np.r_[rim, [[0.0, 0.0, height]]])


def ball(radius: float) -> Mesh:
    """Return a sphere of about a thousand triangles."""
    number = np.arange(600)
    z, angle = 1.0 - (2.0 * number + 1.0) / 600, np.pi * (1.0 + 5.0**0.5) * number
    ring = np.sqrt(1.0 - z**2)
    return hull(radius * np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1))


def together(*meshes: Mesh) -> Mesh:
    """Return meshes as one."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)])
    vertices, normals, colors = (
        np.concatenate([getattr(mesh, name) for mesh in meshes]) for name in ("vertices", "normals", "colors")
    )
    return Mesh(vertices, faces, normals, colors)


def moved(mesh: Mesh, rotation: np.ndarray, shift: tuple[float, float, float]) -> Mesh:
    """Return a mesh turned by a rotation (3, 3) and then moved, metres."""
    vertices = mesh.vertices @ rotation.T + np.asarray(shift)
    return replace(mesh, vertices=vertices.astype(np.float32), normals=(mesh.normals @ rotation.T).astype(np.float32))


def painted(mesh: Mesh, color: Callable[[np.ndarray], np.ndarray], cuts: int = 4) -> Mesh:
    """Cut every triangle into four as often as told, and give vertices (V, 3) the colours (V, 3) of a function."""
    corners = mesh.vertices[mesh.faces]
    for _ in range(cuts):
        a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
        ab, bc, ca = (a + b) / 2.0, (b + c) / 2.0, (c + a) / 2.0
        parts = ([a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca])
        corners = np.concatenate([np.stack(part, axis=1) for part in parts])
    vertices = corners.reshape(-1, 3)
    faces = np.arange(len(vertices)).reshape(-1, 3)
    return creased(Mesh(vertices, faces, np.zeros_like(vertices), color(vertices).astype(np.float32)))
