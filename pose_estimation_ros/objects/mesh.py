"""Triangle meshes of objects, in metres."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pose_estimation_ros.objects.catalog import UNITS_M
from pose_estimation_ros.objects.mesh_limits import refuse_large_mesh, refuse_many
from pose_estimation_ros.objects.textured_ply import read_textured_ply, texture_file

_log = logging.getLogger(__name__)
GREY = 0.6  # colour of meshes without any
FORMATS = (".ply", ".obj", ".stl", ".off")


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh with one colour and one normal per vertex, or a texture."""

    vertices: np.ndarray  # (V, 3) float32, metres, object frame
    faces: np.ndarray  # (F, 3) int64
    normals: np.ndarray  # (V, 3) float32, unit length
    colors: np.ndarray  # (V, 3) float32 in [0, 1]
    corner_uv: np.ndarray | None = None  # (F, 3, 2) float32, texture coordinates with v upwards
    texture: np.ndarray | None = None  # (H, W, 3) float32 in [0, 1]

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the corners (3,), (3,) of the axis-aligned box, metres."""
        return self.vertices.min(axis=0), self.vertices.max(axis=0)


def load_mesh(path: Path | str, unit: str = "m", diameter_m: float | None = None, any_size: bool = False) -> Mesh:
    """Read a PLY or OBJ (with texture), STL or OFF file.

    Args:
        path: the file.
        unit: unit of the file's coordinates, one of m, cm, mm.
        diameter_m: the expected diameter in metres; checked where given.
        any_size: take it however large or small it is.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the file has no triangles, is too large, holds values that are not finite, or its size does not
            fit the diameter or a plausible object.
    """
    raw = _read(path, unit)
    if _has_texture(Path(path)):
        textured = mesh_of_ply(Path(path), unit)
        if not any_size:
            check_scale(textured.vertices, Path(path), unit, diameter_m)
        return _finite(textured, Path(path))
    if not raw.has_vertex_normals():
        raw.compute_vertex_normals()
    vertices = np.asarray(raw.vertices, dtype=np.float32) * np.float32(UNITS_M[unit])
    if not any_size:
        check_scale(vertices, Path(path), unit, diameter_m)
    colors = (
        np.asarray(raw.vertex_colors, dtype=np.float32) if raw.has_vertex_colors() else np.full_like(vertices, GREY)
    )
    corner_uv = texture = None
    if raw.has_triangle_uvs() and raw.has_textures() and np.asarray(raw.textures[0]).size > 0:
        corner_uv = np.asarray(raw.triangle_uvs, dtype=np.float32).reshape(-1, 3, 2)
        # Open3D turns the picture upside down on reading; here its first row is the top one, v = 1.
        texture = np.ascontiguousarray(np.asarray(raw.textures[0])[::-1, :, :3], dtype=np.float32) / 255.0
    normals = np.asarray(raw.vertex_normals, dtype=np.float32)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    faces = np.asarray(raw.triangles, dtype=np.int64)
    return _finite(Mesh(vertices, faces, normals, colors, corner_uv, texture), Path(path))


def _finite(mesh: Mesh, path: Path) -> Mesh:
    """Return a mesh whose normals are zero where they are none, as files have them for faces without area.

    Raises:
        ValueError: if colours or texture coordinates are not finite.
    """
    for name, values in (("colours", mesh.colors), ("texture coordinates", mesh.corner_uv)):
        if values is not None and not np.isfinite(values).all():
            raise ValueError(f"{path}: contains NaN or infinite {name}")
    is_normal = np.isfinite(mesh.normals).all(axis=1, keepdims=True)
    return mesh if is_normal.all() else replace(mesh, normals=np.where(is_normal, mesh.normals, np.float32(0.0)))


def mesh_of_ply(path: Path, unit: str) -> Mesh:
    """Read a PLY file whose colours are in a picture.

    Raises:
        FileNotFoundError: if file or picture are missing.
        ValueError: if the file is damaged.
    """
    content = read_textured_ply(path)
    vertices = (content.vertices * UNITS_M[unit]).astype(np.float32)
    normals = vertex_normals(vertices, content.faces) if content.normals is None else content.normals
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    grey = np.full_like(vertices, GREY)
    texture = content.texture.astype(np.float32) / 255.0
    return Mesh(vertices, content.faces, normals.astype(np.float32), grey, content.corner_uv, texture)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return unit normals (V, 3) that are the mean of the faces' at every vertex, weighted by area."""
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    summed = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(summed, faces[:, corner], across)
    return (summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-30)).astype(np.float32)


def _has_texture(path: Path) -> bool:
    picture = texture_file(path) if path.suffix.lower() == ".ply" else None
    if picture is not None and not picture.is_file():
        _log.warning("%s: texture %s not found; the mesh is grey", path, picture)
        return False
    return picture is not None


def load_vertices(path: Path | str, unit: str = "m", diameter_m: float | None = None) -> np.ndarray:
    """Read the vertices of a mesh in double precision, to measure errors on.

    Args:
        path: the file.
        unit: unit of the file's coordinates, one of m, cm, mm.
        diameter_m: the expected diameter in metres; checked where given.

    Returns:
        Vertices (V, 3) float64, metres; those of `load_mesh` before they are rounded.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: as `load_mesh`.
    """
    vertices = np.asarray(_read(path, unit).vertices, dtype=np.float64) * UNITS_M[unit]
    check_scale(vertices, Path(path), unit, diameter_m)
    return vertices


def _read(path: Path | str, unit: str) -> Any:
    """Read a file as Open3D's triangle mesh, in the file's own unit."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: mesh not found")
    if unit not in UNITS_M:
        raise ValueError(f"{path}: unit {unit!r}, expected one of {', '.join(UNITS_M)}")
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: {path.suffix or 'no ending'}: expected a mesh, one of {', '.join(FORMATS)}")
    refuse_large_mesh(path)
    from pose_estimation_ros.objects.light_open3d import open3d

    raw = open3d.io.read_triangle_mesh(str(path), enable_post_processing=path.suffix.lower() == ".obj")
    if not raw.has_triangles():
        raise ValueError(f"{path}: no triangles; expected a triangle mesh")
    if not np.isfinite(np.asarray(raw.vertices)).all():
        raise ValueError(f"{path}: contains NaN or infinite vertices")
    faces = np.asarray(raw.triangles)
    if faces.min() < 0 or faces.max() >= len(raw.vertices):
        raise ValueError(f"{path}: a face names vertex {faces.max()}, expected 0 to {len(raw.vertices) - 1}")
    refuse_many(path, 0, len(faces))
    return raw


def check_scale(vertices: np.ndarray, path: Path, unit: str, diameter_m: float | None) -> None:
    """Refuse a mesh whose unit is evidently wrong.

    Raises:
        ValueError: naming the file, its size, and the unit that would fit.
    """
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    diagonal = float(np.linalg.norm(high - low))  # between one and sqrt(3) diameters
    expected = diameter_m if diameter_m is not None else 0.2
    slack = 1.3 if diameter_m is not None else 25.0
    if expected / slack <= diagonal <= expected * max(slack, 2.0):
        return
    # The unit that comes nearest in order of magnitude, if it comes near enough.
    sizes = {name: diagonal / UNITS_M[unit] * factor for name, factor in UNITS_M.items()}
    guess = min(sizes, key=lambda name: abs(np.log(sizes[name] / expected)))
    plausible = expected / slack <= sizes[guess] <= expected * max(slack, 2.0)
    advice = f"; its unit looks like {guess}" if plausible else ""
    said = f"diameter {diameter_m:g} m" if diameter_m is not None else "an object between 8 mm and 5 m"
    raise ValueError(f"{path}: {diagonal:.4g} m across when read as {unit}, expected {said}{advice}")


def diameter(vertices: np.ndarray) -> float:
    """Return the largest distance between two vertices (V, 3), in their unit."""
    from scipy.spatial import ConvexHull, QhullError
    from scipy.spatial.distance import pdist

    try:
        hull = vertices[ConvexHull(vertices).vertices]
    except QhullError:  # flat meshes have no volume
        hull = vertices
    if len(hull) > 4000:
        hull = hull[:: len(hull) // 4000 + 1]
    return float(pdist(hull).max())


def doubled_areas(mesh: Mesh) -> np.ndarray:
    """Return twice the areas (F,) of the triangles, square metres."""
    corners = mesh.vertices[mesh.faces]
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)


def sample_surface(mesh: Mesh, count: int, seed: int = 0) -> np.ndarray:
    """Draw points (count, 3) evenly over the surface, metres."""
    generator = np.random.default_rng(seed)
    corners, area = mesh.vertices[mesh.faces], doubled_areas(mesh)
    chosen = generator.choice(len(area), size=count, p=area / area.sum())
    u, v = generator.random((2, count, 1))
    flip = u + v > 1.0
    u, v = np.where(flip, 1.0 - u, u), np.where(flip, 1.0 - v, v)
    picked = corners[chosen]
    return (picked[:, 0] + u * (picked[:, 1] - picked[:, 0]) + v * (picked[:, 2] - picked[:, 0])).astype(np.float32)
