"""PLY files with a picture as texture, as the data sets of BOP have them, which Open3D reads without their colours.

A line `comment TextureFile NAME` names the picture; texture coordinates are properties of the vertices or lists of the
faces, v upwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_UV_NAMES = (("texture_u", "texture_v"), ("u", "v"), ("s", "t"))
_LONGEST_HEADER = 100_000  # bytes


class TexturedPly(NamedTuple):
    """What such a file holds, in its own unit."""

    vertices: np.ndarray  # (V, 3) float64
    faces: np.ndarray  # (F, 3) int64
    normals: np.ndarray | None  # (V, 3) float32
    corner_uv: np.ndarray  # (F, 3, 2) float32
    texture: np.ndarray  # (H, W, 3) uint8, RGB, the first row is the top one, v = 1


@dataclass
class _Element:
    name: str
    count: int
    properties: list[tuple[str, str, str]] = field(default_factory=list)  # name, type, type of a list's length or ""


def texture_file(path: Path) -> Path | None:
    """Return the picture that a PLY file names as its texture, whether it is there or not; None where it names none.

    Raises:
        ValueError: if the file is no PLY.
    """
    return next((path.parent / name for name in _named(_header(path)[0])), None)


def read_textured_ply(path: Path) -> TexturedPly:
    """Read a PLY file with a texture; polygons are cut into triangles.

    Raises:
        FileNotFoundError: if the picture is not there.
        ValueError: if the file is no PLY, is cut short, or has no texture coordinates.
    """
    lines, start = _header(path)
    picture = texture_file(path)
    if picture is None:
        raise ValueError(f"{path}: names no TextureFile")
    data = _Data(path, path.read_bytes()[start:], lines)
    tables = {element.name: data.table(element) for element in _elements(lines, path)}
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
    return TexturedPly(vertices, faces, normals, uv.astype(np.float32), read_picture(picture))


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


def _header(path: Path) -> tuple[list[str], int]:
    """Return the lines of the header and where the data begin, bytes."""
    with path.open("rb") as file:
        head = file.read(_LONGEST_HEADER)
    end = head.find(b"end_header")
    after = head.find(b"\n", end)
    if not head.startswith(b"ply") or end < 0 or after < 0:
        raise ValueError(f"{path}: no PLY file")
    return [line.strip() for line in head[:end].decode(errors="replace").splitlines()], after + 1


def _named(lines: list[str]) -> Iterator[str]:
    for line in lines:
        words = line.split(maxsplit=2)
        if len(words) == 3 and words[0] == "comment" and words[1].lower() == "texturefile":
            yield words[2].strip().replace("\\", "/")


def _elements(lines: list[str], path: Path) -> list[_Element]:
    found: list[_Element] = []
    for words in (line.split() for line in lines):
        if words[:1] == ["element"] and len(words) == 3:
            found.append(_Element(words[1], int(words[2])))
        elif words[:1] == ["property"] and found:
            kinds = [words[2], words[3]] if words[1] == "list" else ["", words[1]]
            if any(kind not in _TYPES for kind in kinds if kind):
                raise ValueError(f"{path}: {' '.join(words)}: expected types of PLY")
            found[-1].properties.append((words[-1], _TYPES[kinds[1]], _TYPES.get(kinds[0], "")))
    return found


class _Data:
    """Reads one element after the other: a mapping of properties to arrays, or, of ragged lists, lists of arrays."""

    def __init__(self, path: Path, content: bytes, lines: list[str]) -> None:
        word = next((line.split()[1] for line in lines if line.startswith("format ")), "")
        if word not in _ORDERS:
            raise ValueError(f"{path}: format {word!r}, expected one of {', '.join(_ORDERS)}")
        self.path, self.order, self.content, self.place = path, _ORDERS[word], content, 0
        self.words = np.array(content.split(), dtype=np.float64) if word == "ascii" else None

    def table(self, element: _Element) -> dict[str, np.ndarray | list[np.ndarray]]:
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

    def _row(self, element: _Element, place: int) -> tuple[dict[str, np.ndarray], list[int], int]:
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

    def _alike(self, element: _Element, lengths: list[int]) -> dict[str, np.ndarray | list[np.ndarray]] | None:
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
