"""Write meshes as a bundle holds them: binary PLY in metres, with colours of vertices or a picture beside."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pose_estimation_ros.objects.mesh import Mesh


def write_mesh(path: Path, mesh: Mesh) -> None:
    """Write a mesh, and its texture as a PNG file of the same name beside.

    Raises:
        OSError: if the picture cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if mesh.texture is None or mesh.corner_uv is None:
        colors = np.clip(np.round(mesh.colors * 255.0), 0, 255).astype(np.uint8)
        _write(path, mesh.vertices, mesh.normals, mesh.faces, colors=colors)
        return
    picture = path.with_suffix(".png")
    pixels = np.clip(np.round(mesh.texture * 255.0), 0, 255).astype(np.uint8)
    if not cv2.imwrite(str(picture), np.ascontiguousarray(pixels[..., ::-1])):
        raise OSError(f"{picture}: could not be written")
    # A vertex has one place in the picture: where faces disagree it is written more than once.
    corner = mesh.faces.reshape(-1)
    key = np.concatenate([corner[:, None], mesh.corner_uv.reshape(-1, 2)], axis=1)
    _, first, index = np.unique(key, axis=0, return_index=True, return_inverse=True)
    uv, kept = mesh.corner_uv.reshape(-1, 2)[first], corner[first]
    _write(path, mesh.vertices[kept], mesh.normals[kept], index.reshape(-1, 3), uv=uv, picture=picture.name)


def _write(
    path: Path,
    vertices: np.ndarray,
    normals: np.ndarray,
    faces: np.ndarray,
    colors: np.ndarray | None = None,
    uv: np.ndarray | None = None,
    picture: str = "",
) -> None:
    fields = [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")]
    fields += [(name, "<f4") for name in ("texture_u", "texture_v")] if uv is not None else []
    fields += [(name, "u1") for name in ("red", "green", "blue")] if colors is not None else []
    table = np.zeros(len(vertices), dtype=fields)
    columns = np.concatenate([item for item in (vertices, normals, uv) if item is not None], axis=1)
    for (name, _), column in zip(fields, columns.T, strict=False):
        table[name] = column
    for name, column in zip(("red", "green", "blue"), () if colors is None else colors.T, strict=False):
        table[name] = column
    rows = np.zeros(len(faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, faces
    kinds = {"<f4": "float", "u1": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0", *([f"comment TextureFile {picture}"] if picture else [])]
    lines += [f"element vertex {len(vertices)}", *(f"property {kinds[kind]} {name}" for name, kind in fields)]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    path.write_bytes("\n".join(lines).encode() + table.tobytes() + rows.tobytes())
