"""PLY files with a picture as texture, as the data sets of BOP have them, which Open3D reads without their colours.

A line `comment TextureFile NAME` names the picture; texture coordinates are properties of the vertices or lists of the
faces, v upwards.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from pose_estimation_ros.objects.ply_header import PlyElement, PlyHeader, read_ply_header

_UV_NAMES = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"))


class TexturedPly(NamedTuple):
    """What such a file holds, in its own unit."""

    vertices: np.ndarray  # (V, 3) float64
    faces: np.ndarray  # (F, 3) int64
    normals: np.ndarray | None  # (V, 3) float32
    corner_uv: np.ndarray  # (F, 3, 2) float32
    texture: np.ndarray  # (H, W, 3) uint8, RGB, the first row is the top one, v = 1


def texture_file(path: Path) -> Path | None:
    """Return the picture that a PLY file names as its texture, whether it is there or not; None where it names none.

    Raises:
        ValueError: if the file is no PLY.
    """
    name = read_ply_header(path).texture
    return None if name is None else path.parent / name


def read_textured_ply(path: Path) -> TexturedPly:
    """Read a PLY file with a texture; polygons are cut into triangles.

    Raises:
        FileNotFoundError: if the picture is not there.
        ValueError: if the file is no PLY, is cut short, or has no texture coordinates.
    """
    header = read_ply_header(path)
    if header.texture is None:
        raise ValueError(f"{path}: names no TextureFile")
    data = _Data(path, path.read_bytes()[header.start :], header)
    tables = {element.name: data.table(element) for element in header.elements}
    try:
        vertex, face = tables["vertex"], tables["face"]
        polygons = next(face[name] for name in ("vertex_indices", "vertex_index") if name in face)
        vertices = np.stack([np.asarray(vertex[axis], dtype=np.float64) for axis in "xyz"], axis=1)
    except (KeyError, StopIteration):
        raise ValueError(f"{path}: expected vertices with x, y, z and faces with vertex_indices") from None
    faces = _triangles(polygons).astype(np.int64)
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError(f"{path}: a face names vertex {faces.max()}, expected below {len(vertices)}")
    names = next((pair for pair in _UV_NAMES if pair[0] in vertex and pair[1] in vertex), None)
    if "texcoord" in face:
        uv = _face_uv(face["texcoord"], polygons, path)
    elif names is not None:
        uv = np.stack([np.asarray(vertex[name], dtype=np.float32) for name in names], axis=1)[faces]
    else:
        raise ValueError(f"{path}: names a TextureFile and has no texture coordinates")
    normals = None
    if all(name in vertex for name in ("nx", "ny", "nz")):
        normals = np.stack([np.asarray(vertex[name], dtype=np.float32) for name in ("nx", "ny", "nz")], axis=1)
    return TexturedPly(vertices, faces, normals, uv.astype(np.float32), read_picture(path.parent / header.texture))


def read_picture(path: Path) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8, RGB.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: texture not found; expected where the mesh says it is")
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path}: cannot be read as a picture")
    return np.ascontiguousarray(picture[..., ::-1])


class _Data:
    """Reads one element after the other: a mapping of properties to arrays, or, of ragged lists, lists of arrays."""

    def __init__(self, path: Path, content: bytes, header: PlyHeader) -> None:
        self.path, self.order, self.content, self.place = path, header.order, content, 0
        self.words = np.array(content.split(), dtype=np.float64) if header.is_ascii else None

    def table(self, element: PlyElement) -> dict[str, np.ndarray | list[np.ndarray]]:
        """Read the rows of an element: at once where all are as long as the first, else one by one."""
        if not element.count:
            return {}
        lengths = self._row(element, self.place)[1]
        rows = self._alike(element, lengths)
        if rows is not None:
            return rows
        found: dict[str, list[np.ndarray]] = {name: [] for name, _, _ in element.properties}
        for _ in range(element.count):
            row, _, self.place = self._row(element, self.place)
            for name, value in row.items():
                found[name].append(value)
        return dict(found)

    def _row(self, element: PlyElement, place: int) -> tuple[dict[str, np.ndarray], list[int], int]:
        row, lengths = {}, []
        for name, kind, counter in element.properties:
            length = 1
            if counter:
                length, place = int(self._take(counter, 1, place)[0]), place + self._size(counter)
            row[name] = self._take(kind, length, place)
            lengths.append(length)
            place += self._size(kind) * length
        return row, lengths, place

    def _size(self, kind: str) -> int:
        return 1 if self.words is not None else np.dtype(kind).itemsize

    def _take(self, kind: str, count: int, place: int) -> np.ndarray:
        end = place + count * self._size(kind)
        if end > len(self.content if self.words is None else self.words):
            raise ValueError(f"{self.path}: ends before its data do")
        if self.words is not None:
            return self.words[place:end]
        return np.frombuffer(self.content[place:end], dtype=self.order + kind)

    def _alike(self, element: PlyElement, lengths: list[int]) -> dict[str, np.ndarray | list[np.ndarray]] | None:
        """Read all rows if their lists are as long as those of the first row."""
        fields: list[tuple[str, str, int]] = []
        for (name, kind, counter), length in zip(element.properties, lengths, strict=True):
            fields += [(f"{name} length", counter, 1)] if counter else []
            fields.append((name, kind, length))
        if self.words is not None:
            width = sum(length for _, _, length in fields)
            end = self.place + width * element.count
            if end > len(self.words):
                return None
            block = self.words[self.place : end].reshape(element.count, width)
            edges = np.cumsum([0, *(length for _, _, length in fields)])
            columns = {
                name: block[:, low:high] for (name, _, _), low, high in zip(fields, edges, edges[1:], strict=False)
            }
        else:
            layout = np.dtype([(name, self.order + kind, (length,)) for name, kind, length in fields])
            end = self.place + layout.itemsize * element.count
            if end > len(self.content):
                return None
            rows = np.frombuffer(self.content[self.place : end], dtype=layout)
            columns = {name: rows[name] for name, _, _ in fields}
        for (name, _, counter), length in zip(element.properties, lengths, strict=True):
            if counter and (columns[f"{name} length"] != length).any():
                return None
        self.place = end
        listed = {name for name, _, counter in element.properties if counter}
        return {name: columns[name] if name in listed else columns[name][:, 0] for name, _, _ in element.properties}


def _fan(sides: int) -> list[tuple[int, int, int]]:
    return [(0, corner, corner + 1) for corner in range(1, sides - 1)]


def _triangles(rows: np.ndarray | list[np.ndarray]) -> np.ndarray:
    """Cut values of the corners of polygons into triangles; returns (F, 3)."""
    if isinstance(rows, np.ndarray):
        return rows[:, np.array(_fan(rows.shape[1]), dtype=int).reshape(-1)].reshape(-1, 3)  # face by face, as below
    return np.array([row[list(fan)] for row in rows for fan in _fan(len(row))]).reshape(-1, 3)


def _face_uv(rows: np.ndarray | list[np.ndarray], polygons: np.ndarray | list[np.ndarray], path: Path) -> np.ndarray:
    """Return the texture coordinates (F, 3, 2) of faces; zero where a face has none."""
    if isinstance(rows, list) or isinstance(polygons, list) or rows.shape[1] != 2 * polygons.shape[1]:
        pairs = list(zip(rows, polygons, strict=True))
        if any(len(row) not in (0, 2 * len(polygon)) for row, polygon in pairs):
            raise ValueError(f"{path}: texcoord of a face has another number of corners than the face")
        rows = [row if len(row) else np.zeros(2 * len(polygon)) for row, polygon in pairs]
        return np.stack([_triangles([row[axis::2] for row in rows]) for axis in (0, 1)], axis=2)
    return np.stack([_triangles(rows[:, axis::2]) for axis in (0, 1)], axis=2)
