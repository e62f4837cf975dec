"""Meshes that are nobody's object: they occlude and distract in training images."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from pose_estimation_ros.objects.mesh import Mesh, load_mesh

_LOG = logging.getLogger(__name__)
MESH_SUFFIXES = {".ply", ".obj", ".stl"}


def clutter_meshes(count: int = 24, seed: int = 0, folder: Path | None = None) -> list[Mesh]:
    """Make or read foreign objects with random proportions and colours, 5 to 25 cm.

    Args:
        count: how many.
        seed: same seed, same objects.
        folder: mesh files to draw from; boxes, cylinders, cones, balls and rings are made where there is none.

    Raises:
        FileNotFoundError: if the folder has no meshes.
        ValueError: if none of them can be read.
    """
    generator = np.random.default_rng(seed)
    if folder is None:
        return [_clutter_mesh(index, generator) for index in range(count)]
    meshes: list[Mesh] = []
    readable = mesh_files(folder)
    while len(meshes) < count:
        if not readable:
            raise ValueError(f"{folder}: none of its meshes can be read")
        for path in [readable[index] for index in generator.permutation(len(readable))][: count - len(meshes)]:
            try:
                meshes.append(_foreign_mesh(path, generator))
            except ValueError as error:  # clutter may come from anywhere
                _LOG.warning("left out: %s", error)
                readable.remove(path)
    return meshes


def mesh_files(folder: Path) -> list[Path]:
    """Return the mesh files in a folder and below, in order.

    Raises:
        FileNotFoundError: if there are none.
    """
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in MESH_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{folder}: no meshes ({', '.join(sorted(MESH_SUFFIXES))})")
    return files


def _foreign_mesh(path: Path, generator: np.random.Generator) -> Mesh:
    """Read a mesh, bring it to the size of a thing in a hand, and colour it."""
    mesh = load_mesh(path, any_size=True)
    low, high = mesh.bounds
    scale = generator.uniform(0.05, 0.25) / max(float(np.linalg.norm(high - low)), 1e-9)
    vertices = (mesh.vertices - (low + high) / 2.0) * scale
    return Mesh(vertices.astype(np.float32), mesh.faces, mesh.normals, _paint(vertices, generator))


def _clutter_mesh(index: int, generator: np.random.Generator) -> Mesh:
    from pose_estimation_ros.objects.light_open3d import open3d

    shapes = open3d.geometry.TriangleMesh
    makers = [
        lambda: shapes.create_box().subdivide_midpoint(4),
        lambda: shapes.create_cylinder(resolution=40, split=16),
        lambda: shapes.create_cone(resolution=40, split=16),
        lambda: shapes.create_sphere(resolution=30),
        lambda: shapes.create_torus(torus_radius=1.0, tube_radius=float(generator.uniform(0.15, 0.45))),
    ]
    raw = makers[index % len(makers)]()
    vertices = np.asarray(raw.vertices, dtype=np.float64)
    vertices -= (vertices.min(axis=0) + vertices.max(axis=0)) / 2.0
    vertices *= generator.uniform(0.3, 1.0, 3)
    vertices *= generator.uniform(0.05, 0.25) / np.linalg.norm(np.ptp(vertices, axis=0))
    raw.vertices = open3d.utility.Vector3dVector(vertices)
    raw.compute_vertex_normals()
    return Mesh(
        vertices.astype(np.float32),
        np.asarray(raw.triangles, dtype=np.int64),
        np.asarray(raw.vertex_normals, dtype=np.float32),
        _paint(vertices, generator),
    )


def _paint(vertices: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Colour vertices plainly, in bands, or in patches."""
    palette = generator.random((6, 3)) * generator.uniform(0.3, 1.0)
    style = generator.integers(3)
    if style == 0:
        shade = np.zeros(len(vertices), dtype=int)
    elif style == 1:
        axis = generator.normal(size=3)
        along = vertices @ (axis / np.linalg.norm(axis))
        shade = np.floor((along - along.min()) / np.ptp(along) * generator.integers(2, 9)).astype(int)
    else:
        seeds = vertices[generator.integers(len(vertices), size=12)]
        shade = np.argmin(((vertices[:, None] - seeds) ** 2).sum(-1), axis=1)
    noise = generator.normal(0.0, 0.03, (len(vertices), 1))
    return np.clip(palette[shade % len(palette)] + noise, 0.0, 1.0).astype(np.float32)
