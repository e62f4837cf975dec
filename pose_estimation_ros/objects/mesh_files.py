"""Files that belong to a mesh: materials and textures."""

from __future__ import annotations

from pathlib import Path

from pose_estimation_ros.objects.textured_ply import texture_file

_LONGEST_LINE = 5_000  # bytes; a path has 4,096


def companion_files(path: Path) -> list[Path]:
    """Return the material files and textures that a mesh names and that are there."""
    return [file for file in named_files(path) if file.is_file()]


def named_files(path: Path) -> list[Path]:
    """Return the material files and textures that an OBJ or a PLY file names; other formats name none.

    Raises:
        ValueError: if a PLY file is none.
    """
    if path.suffix.lower() == ".ply":
        texture = texture_file(path)
        return [] if texture is None else [texture]
    if path.suffix.lower() != ".obj":
        return []
    materials = [path.parent / name for name in _named_in(path, "mtllib")]
    textures = [material.parent / name for material in materials for name in _named_in(material, "map_kd")]
    others = [material.parent / name for material in materials for name in _named_in(material, "map_")]
    others = [file for file in others if file.is_file()]  # what only they would say is not needed
    return list(dict.fromkeys([*materials, *textures, *others]))


def _named_in(path: Path, keyword: str) -> list[str]:
    """Return the last argument of every line that starts with a keyword, or all of them where that names a file."""
    names = []
    if path.is_file():
        with path.open(errors="replace") as lines:
            for line in lines:
                head, _, rest = line.strip().partition(" ")
                if rest and head.lower().startswith(keyword):
                    whole = rest.strip()
                    names.append(whole if (path.parent / whole).is_file() else whole.split()[-1])
    return names


def words_that_are_files(path: Path, keyword: bytes) -> list[Path]:
    """Return every file that a line starting with a keyword may name: a word, or the words from one to the last.

    Raises:
        ValueError: if such a line is longer than any name.
    """
    found = []
    with path.open("rb") as lines:
        for line in lines:
            head, *rest = line.split() or [b""]
            if head.lower().startswith(keyword):
                if len(line) > _LONGEST_LINE:
                    raise ValueError(f"{path}: a line of {len(line):,} bytes: expected at most {_LONGEST_LINE:,}")
                words = [*rest, *(b" ".join(rest[first:]) for first in range(len(rest)))]
                names = [word.decode(errors="replace") for word in dict.fromkeys(words)]
                found += [path.parent / name for name in names if _is_file(path.parent / name)]
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero in it
        return False
