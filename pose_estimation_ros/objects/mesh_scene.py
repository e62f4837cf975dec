"""Meshes of formats with scenes and materials: GLB, glTF, Collada, OBJ and what else trimesh reads."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np

from pose_estimation_ros.objects.mesh import GREY
from pose_estimation_ros.objects.mesh_parts import Part
from pose_estimation_ros.objects.texture_atlas import Skin

INSTALL = "pip install -r scripts/requirements-train.txt"
_UP = {  # rotation that takes the axis that is up to z
    "X_UP": np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]),
    "Y_UP": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
    "Z_UP": np.eye(3),
}


def read_parts(path: Path, scale: float | None = None) -> list[Part]:
    """Read all parts of a file, with the transforms of its scene. Of Collada z is up, whatever the file's axis is.

    Args:
        path: the file.
        scale: metres in a unit of its coordinates; where absent what a Collada file says, else 1.

    Raises:
        ModuleNotFoundError: if it is Collada, and pycollada is not installed.
        ValueError: if the file cannot be read.
    """
    transform = np.eye(3)
    if path.suffix.lower() == ".dae":
        unit_m, up = collada_frame(path)
        scale, transform = unit_m if scale is None else scale, _UP[up]
    transform = transform * (1.0 if scale is None else scale)
    found = []
    scene = _scene(path)
    gltf = path.suffix.lower() in (".glb", ".gltf")
    for node in scene.graph.nodes_geometry:
        placed, name = scene.graph[node]
        geometry = scene.geometry[name]
        if not hasattr(geometry, "faces") or not len(geometry.faces):
            continue  # points and lines
        vertices = np.asarray(geometry.vertices) @ placed[:3, :3].T + placed[:3, 3]
        if not np.isfinite(vertices).all():
            raise ValueError(f"{path}: contains NaN or infinite vertices")
        part = Part(vertices @ transform.T, np.asarray(geometry.faces), _skin(geometry, gltf))
        found.append(_turned_inside_out(part) if np.linalg.det(placed[:3, :3]) < 0.0 else part)
    return found


def _turned_inside_out(part: Part) -> Part:
    """Return a part, which a mirror turned inside out, with the order of its corners reversed."""
    skin = part.skin
    uv = None if skin.corner_uv is None else skin.corner_uv[:, ::-1]
    return Part(part.vertices, part.faces[:, ::-1], Skin(skin.colors[:, ::-1], uv, skin.texture))


def collada_frame(path: Path) -> tuple[float, str]:
    """Return the metres in a unit of a Collada file, and which axis is up in it: X_UP, Y_UP or Z_UP.

    Raises:
        ValueError: if the file is not XML, or says something else.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{path}: no Collada file: {error}") from error
    unit, up = root.find("{*}asset/{*}unit"), root.find("{*}asset/{*}up_axis")
    axis = "Y_UP" if up is None or not up.text else up.text.strip().upper()
    metre = 1.0 if unit is None else float(unit.get("meter", "1"))
    if axis not in _UP or not metre > 0.0:
        raise ValueError(f"{path}: up_axis {axis!r}, unit {metre!r} m: expected one of {', '.join(_UP)}, and metres")
    return metre, axis


def _scene(path: Path) -> Any:
    import trimesh  # takes a while

    if path.suffix.lower() == ".dae":
        try:
            import collada  # noqa: F401
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"{path}: reading Collada files needs pycollada: {INSTALL}") from error
    try:
        return trimesh.load_scene(str(path), process=False)
    except Exception as error:  # whatever its parsers stumble over
        raise ValueError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error


def _skin(geometry: Any, gltf: bool) -> Skin:
    visual, faces = geometry.visual, np.asarray(geometry.faces)
    plain = np.full((len(faces), 3, 3), GREY)
    if visual.kind == "vertex":
        return Skin(np.asarray(visual.vertex_colors)[:, :3][faces] / 255.0)
    if visual.kind == "face":
        return Skin(np.repeat(np.asarray(visual.face_colors)[:, None, :3] / 255.0, 3, axis=1))
    if visual.kind != "texture":
        return Skin(plain)
    material, uv = visual.material, visual.uv
    picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    factor = _factor(material, gltf)
    if picture is not None and uv is not None and len(uv):
        tint = np.broadcast_to(np.ones(3) if factor is None or not gltf else factor, plain.shape)
        return Skin(tint, np.asarray(uv, dtype=np.float64)[faces], np.asarray(picture.convert("RGB")))
    per_vertex = geometry.vertex_attributes.get("color") if hasattr(geometry, "vertex_attributes") else None
    if per_vertex is not None and len(per_vertex) == len(geometry.vertices):
        colors = np.asarray(per_vertex, dtype=np.float64)[:, :3]
        return Skin((colors / 255.0 if np.asarray(per_vertex).dtype == np.uint8 else colors)[faces])
    return Skin(plain if factor is None else np.broadcast_to(factor, plain.shape))


def _factor(material: Any, gltf: bool) -> np.ndarray | None:
    """Return the plain colour of a material (3,) in [0, 1], as a camera sees it; None where it has none."""
    value = getattr(material, "baseColorFactor", None)
    if value is None:
        value = getattr(material, "diffuse", None)
    if value is None:
        return np.ones(3) if gltf else None  # glTF: white where nothing is said
    color = np.asarray(value, dtype=np.float64)[:3]
    color = color / 255.0 if np.asarray(value).dtype == np.uint8 or color.max() > 1.0 else color
    return np.clip(color, 0.0, 1.0) ** (1.0 / 2.2) if gltf else np.clip(color, 0.0, 1.0)  # glTF: linear light
