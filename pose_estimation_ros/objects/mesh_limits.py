"""Meshes from strangers: what a file says of its size is checked before a library takes memory and time for it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pose_estimation_ros.objects.limits import (
    MAX_MATERIAL_BYTES,
    MAX_MESH_BYTES,
    MAX_POLYGON_WORK,
    MAX_TRIANGLES,
    MAX_VERTICES,
    refuse_large_file,
)
from pose_estimation_ros.objects.mesh_files import named_files, words_that_are_files
from pose_estimation_ros.objects.picture_size import refuse_large_texture
from pose_estimation_ros.objects.ply_header import PlyElement, PlyHeader, least_bytes, read_ply_header

_STL_HEADER_BYTES, _STL_FACET_BYTES = 84, 50


def refuse_large_mesh(path: Path) -> None:
    """Check a mesh file, and the materials and textures that it names.

    Raises:
        ValueError: naming the file and the limit that it exceeds, or where it ends before its data do.
    """
    refuse_large_file(path, MAX_MESH_BYTES)
    check = {".ply": _check_ply, ".off": _check_off, ".stl": _check_stl, ".obj": _check_obj}.get(path.suffix.lower())
    if check is not None:
        check(path)
    for file in _companions(path):
        refuse_large_texture(file, any_kind=path.suffix.lower() != ".ply")


def refuse_files_outside(path: Path, folder: Path) -> None:
    """Refuse a mesh that names a file that is not below a folder.

    Raises:
        ValueError: naming mesh and file.
    """
    refuse_large_file(path, MAX_MESH_BYTES)
    root = folder.absolute()
    for file in dict.fromkeys([*_companions(path), *named_files(path)]):  # the first bounds what the second reads
        place = Path(*_without_dots(file.absolute()))
        if root not in place.parents:
            raise ValueError(f"{path}: names {file}: expected a file below {folder}")


def refuse_many(path: Path, vertices: int, triangles: int) -> None:
    """Check the numbers of vertices and triangles.

    Raises:
        ValueError: if there are too many.
    """
    for count, limit, what in ((vertices, MAX_VERTICES, "vertices"), (triangles, MAX_TRIANGLES, "triangles")):
        if count > limit:
            raise ValueError(f"{path}: {count:,} {what}: expected at most {limit:,}; simplify the mesh")


def _without_dots(path: Path) -> list[str]:
    """Return the parts of a path with its `..` carried out, as written; links are left as they are."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return parts


def _companions(path: Path) -> list[Path]:
    """Return the materials and pictures that a mesh names, whatever the library that reads them takes for a name."""
    if path.suffix.lower() == ".ply":
        return [file for file in named_files(path) if file.is_file()]
    if path.suffix.lower() != ".obj":
        return []
    found = []
    for material in words_that_are_files(path, b"mtllib"):
        refuse_large_file(material, MAX_MATERIAL_BYTES)
        found += [material, *words_that_are_files(material, b"")]
    return list(dict.fromkeys(found))


class _Corners:
    """Add up what the faces of a mesh cost: triangles, and the time to cut polygons into them."""

    def __init__(self, path: Path) -> None:
        self._path, self._triangles, self._work = path, 0, 0

    def add(self, corners: int, faces: int = 1) -> None:
        """Take faces of so many corners.

        Raises:
            ValueError: if all together are too many.
        """
        self._triangles += max(corners - 2, 0) * faces
        self._work += corners**3 * faces if corners > 4 else 0
        refuse_many(self._path, 0, self._triangles)
        if self._work > MAX_POLYGON_WORK:
            raise ValueError(f"{self._path}: a face of {corners} corners: expected triangles or small polygons")


def _check_ply(path: Path) -> None:
    header = read_ply_header(path)
    counts = {element.name: element.count for element in header.elements}
    refuse_many(path, counts.get("vertex", 0), counts.get("face", 0))
    if least_bytes(header) > path.stat().st_size:
        raise ValueError(f"{path}: ends before its data do: its header asks for {least_bytes(header):,} bytes or more")
    corners = _Corners(path)
    lengths = _ascii_lengths(path, header) if header.is_ascii else _binary_lengths(path, header)
    for name, length, rows in lengths:
        if name == "face":
            corners.add(length, rows)


def _ascii_lengths(path: Path, header: PlyHeader) -> Iterator[tuple[str, int, int]]:
    """Return element, length and number of the lists of a file with one line for every row.

    Readers count words: where lines are something else, what they see is not what is seen here.
    """
    with path.open("rb") as lines:
        lines.seek(header.start)
        for element in header.elements:
            for row in range(element.count):
                words, place = next(lines, b"").split(), 0
                for item in element.properties:
                    if item.counter and place < len(words):
                        length = int(words[place]) if words[place].isdigit() else 0
                        yield element.name, length, 1
                        place += length
                    place += 1
                if place != len(words):
                    raise ValueError(f"{path}: {element.name} {row}: {len(words)} values on its line: expected {place}")


def _binary_lengths(path: Path, header: PlyHeader) -> Iterator[tuple[str, int, int]]:
    """Return element, length and number of the lists of a file, at once where all rows are alike."""
    content = np.memmap(path, dtype=np.uint8, mode="r")
    place = header.start
    for element in header.elements:
        done = 0
        while done < element.count:
            lists, width = _row(path, content, element, place, header.order)
            rows = element.count - done if done == 0 else 1
            block = content[place : place + width * rows]
            if rows > 1 and not _are_alike(block, width, rows, lists):
                rows = 1
            for item in lists:
                yield element.name, item.length, rows
            place, done = place + width * rows, done + rows


class _List(NamedTuple):
    """Where the length of a list is, bytes from the begin of its row, and what it says."""

    start: int
    end: int
    length: int


def _row(path: Path, content: np.ndarray, element: PlyElement, begin: int, order: str) -> tuple[list[_List], int]:
    """Return the lists of the row that begins there, and its bytes."""
    lists, place = [], 0
    for item in element.properties:
        length = 1
        if item.counter:
            end = place + np.dtype(item.counter).itemsize
            field = content[begin + place : begin + end].tobytes().ljust(end - place, b"\0")
            length = int(np.frombuffer(field, dtype=order + item.counter)[0])
            lists.append(_List(place, end, length))
            place = end
        place += length * np.dtype(item.kind).itemsize
        if length < 0 or begin + place > len(content):
            raise ValueError(f"{path}: ends before its data do")
    return lists, place


def _are_alike(block: np.ndarray, width: int, rows: int, lists: list[_List]) -> bool:
    """Tell whether all rows of a block have lists as long as those of the first."""
    if len(block) != width * rows:
        return False
    table = block.reshape(rows, width)
    return all(bool((table[:, item.start : item.end] == table[0, item.start : item.end]).all()) for item in lists)


def _check_off(path: Path) -> None:
    with path.open("rb") as file:
        lines = (line for line in file if line.strip() and not line.lstrip().startswith(b"#"))
        words = next(lines, b"").split()[1:] or next(lines, b"").split()
        if len(words) < 2 or not all(word.isdigit() for word in words[:2]):
            raise ValueError(f"{path}: expected the numbers of vertices and faces in the first lines")
        vertices, faces = int(words[0]), int(words[1])
        refuse_many(path, vertices, faces)
        if 2 * (3 * vertices + 3 * faces) > path.stat().st_size:
            raise ValueError(f"{path}: ends before its {vertices:,} vertices and {faces:,} faces do")
        corners = _Corners(path)
        for line in islice(lines, vertices, vertices + faces):
            word = line.split(maxsplit=1)[0]
            corners.add(int(word) if word.isdigit() else 0)


def _check_stl(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(_STL_HEADER_BYTES)
    facets = struct.unpack_from("<I", head, 80)[0] if len(head) == _STL_HEADER_BYTES else 0
    if path.stat().st_size == _STL_HEADER_BYTES + _STL_FACET_BYTES * facets:
        refuse_many(path, 0, facets)


def _check_obj(path: Path) -> None:
    vertices, corners = 0, _Corners(path)
    with path.open("rb") as file:
        for line in _whole_lines(file):
            kind = line[:2].strip()
            if kind == b"v":
                vertices += 1
            elif kind == b"f":
                corners.add(len(line.split()) - 1)
    refuse_many(path, vertices, 0)


def _whole_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines of which a backslash says that they go on."""
    begun = b""
    for line in lines:
        stripped = line.strip()
        if stripped.endswith(b"\\"):
            begun += stripped[:-1] + b" "
        else:
            yield begun + stripped
            begun = b""
    yield begun
