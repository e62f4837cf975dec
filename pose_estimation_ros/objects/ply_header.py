"""The header of a PLY file: what its elements are, and how many there are said to be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_LONGEST_HEADER = 100_000  # bytes


class PlyProperty(NamedTuple):
    """One value of every row of an element, or one list of values; types are numpy's, without the byte order."""

    name: str
    kind: str
    counter: str  # type of a list's length, "" for a single value


@dataclass
class PlyElement:
    """The vertices, the faces, or whatever else there is."""

    name: str
    count: int
    properties: list[PlyProperty] = field(default_factory=list)


class PlyHeader(NamedTuple):
    """What a PLY file says of itself."""

    elements: list[PlyElement]
    order: str  # of bytes, as numpy writes it
    is_ascii: bool
    start: int  # of the data, bytes
    texture: str | None  # the picture that it names


def read_ply_header(path: Path) -> PlyHeader:
    """Read the header of a PLY file.

    Raises:
        ValueError: if the file is no PLY, or the header says something else than PLY has.
    """
    with path.open("rb") as file:
        head = file.read(_LONGEST_HEADER)
    end = head.find(b"end_header")
    after = head.find(b"\n", end)
    if not head.startswith(b"ply") or end < 0 or after < 0:
        raise ValueError(f"{path}: no PLY file")
    lines = [line.strip() for line in head[:end].decode(errors="replace").splitlines()]
    word = next((line.split()[1] for line in lines if line.startswith("format ")), "")
    if word not in _ORDERS:
        raise ValueError(f"{path}: format {word!r}, expected one of {', '.join(_ORDERS)}")
    return PlyHeader(_elements(lines, path), _ORDERS[word], word == "ascii", after + 1, next(_named(lines), None))


def least_bytes(header: PlyHeader) -> int:
    """Return how many bytes such a file has at least: all lists empty, one digit and one space for every value."""

    def row(element: PlyElement) -> int:
        if header.is_ascii:
            return 2 * len(element.properties)
        return sum(np.dtype(item.counter or item.kind).itemsize for item in element.properties)

    return header.start + sum(element.count * row(element) for element in header.elements)


def _named(lines: list[str]) -> Iterator[str]:
    for line in lines:
        words = line.split(maxsplit=2)
        if len(words) == 3 and words[0] == "comment" and words[1].lower() == "texturefile":
            yield words[2].strip().replace("\\", "/")


def _elements(lines: list[str], path: Path) -> list[PlyElement]:
    found: list[PlyElement] = []
    for line in lines:
        words = line.split()
        if words[:1] == ["element"]:
            if len(words) != 3 or not words[2].isdecimal():
                raise ValueError(f"{path}: {line}: expected a name and a number")
            found.append(PlyElement(words[1], int(words[2])))
        elif words[:1] == ["property"] and found:
            found[-1].properties.append(_property(words, path))
    return found


def _property(words: list[str], path: Path) -> PlyProperty:
    is_list = words[1:2] == ["list"]
    kinds = words[2:4] if is_list else words[1:2]
    if len(words) != (5 if is_list else 3) or any(kind not in _TYPES for kind in kinds):
        raise ValueError(f"{path}: {' '.join(words)}: expected types of PLY")
    counter = _TYPES[kinds[0]] if is_list else ""
    if counter.startswith("f"):
        raise ValueError(f"{path}: {' '.join(words)}: expected whole numbers as lengths of lists")
    return PlyProperty(words[-1], _TYPES[kinds[-1]], counter)
