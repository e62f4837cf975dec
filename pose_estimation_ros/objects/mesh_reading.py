"""Read meshes as robots have them, with all their colours: PLY, OBJ, STL, OFF, GLB, glTF, Collada."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pose_estimation_ros.objects.catalog import UNITS_M
from pose_estimation_ros.objects.mesh import Mesh, check_scale, doubled_areas, load_mesh
from pose_estimation_ros.objects.mesh_files import named_files
from pose_estimation_ros.objects.mesh_limits import refuse_large_mesh
from pose_estimation_ros.objects.mesh_parts import creased, joined
from pose_estimation_ros.objects.mesh_scene import collada_frame, read_parts
from pose_estimation_ros.objects.texture_atlas import LARGEST_TEXTURE, limited

FORMATS = (".ply", ".obj", ".stl", ".off", ".glb", ".gltf", ".dae")
_OWN_UNIT = (".glb", ".gltf", ".dae")  # formats that say their unit


class ReadMesh(NamedTuple):
    """A mesh, and what a user should know of how it was read."""

    mesh: Mesh
    notes: tuple[str, ...]


def read_mesh(path: Path, unit: str | None = None, diameter_m: float | None = None) -> ReadMesh:
    """Read a mesh with its colours, textures and materials.

    Args:
        path: the file.
        unit: of its coordinates, m, cm or mm; where absent that of the format, or m where the format has none.
        diameter_m: as expected; checked where given.

    Raises:
        FileNotFoundError: if the file is not there.
        ModuleNotFoundError: if it is Collada, and pycollada is not installed.
        ValueError: if it is no mesh, has no triangles, is too large, or its size is implausible.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: mesh not found")
    if suffix not in FORMATS:
        raise ValueError(f"{path}: {suffix or 'no ending'}: expected a mesh, one of {', '.join(FORMATS)}")
    if unit is not None and unit not in UNITS_M:
        raise ValueError(f"{path}: unit {unit!r}, expected one of {', '.join(UNITS_M)}")
    refuse_large_mesh(path)
    notes = [f"{file.name}, which it names, is not there" for file in named_files(path) if not file.is_file()]
    if suffix in (*_OWN_UNIT, ".obj"):
        scale = None if unit is None and suffix in _OWN_UNIT else UNITS_M[unit or "m"]
        try:
            mesh = joined(read_parts(path, scale))
        except ValueError as error:
            raise error if str(path) in str(error) else ValueError(f"{path}: {error}") from error
        check_scale(mesh.vertices, path, unit or "m", diameter_m)
    else:
        mesh = load_mesh(path, unit or "m", any_size=True)
        mesh = _without_strays(mesh, path, notes) if suffix == ".ply" else creased(mesh)
        check_scale(mesh.vertices, path, unit or "m", diameter_m)
    if suffix in (".glb", ".gltf"):
        notes.append("the frame is that of the file, in which y is usually up")
    if suffix == ".dae" and collada_frame(path)[1] != "Z_UP":
        notes.append(f"{collada_frame(path)[1][0].lower()} is up in the file; the object is turned so that z is")
    return ReadMesh(_with_small_texture(mesh, notes), tuple(notes))


def _without_strays(mesh: Mesh, path: Path, notes: list[str]) -> Mesh:
    """Return a mesh without vertices that no triangle has: they would count into its size.

    Raises:
        ValueError: if no triangle has an area.
    """
    if not doubled_areas(mesh).any():
        raise ValueError(f"{path}: no triangles with an area; expected a triangle mesh")
    used, index = np.unique(mesh.faces, return_inverse=True)
    strays = len(mesh.vertices) - len(used)
    if not strays:
        return mesh
    notes.append(f"{strays:,} vertices that belong to no triangle are left out")
    kept = {name: getattr(mesh, name)[used] for name in ("vertices", "normals", "colors")}
    return replace(mesh, faces=index.reshape(-1, 3).astype(np.int64), **kept)


def _with_small_texture(mesh: Mesh, notes: list[str]) -> Mesh:
    if mesh.texture is None or max(mesh.texture.shape[:2]) <= LARGEST_TEXTURE:
        return mesh
    height, width = mesh.texture.shape[:2]
    notes.append(f"its texture of {width} x {height} pixels is made smaller, {LARGEST_TEXTURE} at most")
    return replace(mesh, texture=limited(mesh.texture))
