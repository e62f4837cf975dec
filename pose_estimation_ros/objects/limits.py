"""What a bundle may hold at most: it may come from a stranger, and is refused before memory is taken for it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

MAX_YAML_BYTES = 1_000_000  # of bundle.yaml
MAX_YAML_DEPTH = 40  # lists in lists
MAX_YAML_VALUES = 200_000  # with every alias written out
MAX_YAML_TEXT = 10_000  # characters of one value
MAX_OBJECTS = 500
MAX_INSTANCES = 5_000  # meshes of one category
MAX_SYMMETRIES = 1_000  # of one object
MAX_FRAMES = 100  # on one object
MAX_ARCHITECTURE = 100_000  # any number that says how a network is built
MAX_INPUT_SIZE_PX = 2_048  # side of what a network sees
MAX_WEIGHTS_BYTES = 2_000_000_000  # of one network
MAX_MESH_BYTES = 500_000_000
MAX_MATERIAL_BYTES = 1_000_000
MAX_TRIANGLES = 5_000_000
MAX_VERTICES = 5_000_000
MAX_POLYGON_WORK = 4_000_000_000  # sum of the cubes of the numbers of corners of faces with more than four
MAX_TEXTURE_BYTES = 200_000_000
MAX_TEXTURE_PIXELS = 8_192 * 8_192
MAX_TEXTURE_SIDE_PX = 16_384


def require_inside(name: str) -> str:
    """Return a path that a bundle names, if it stays below the folder that it is relative to.

    Raises:
        ValueError: if it is empty, absolute, or goes up.
    """
    parts = PurePosixPath(name).parts + PureWindowsPath(name).parts
    anchored = PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor
    if not parts or anchored or ".." in parts or "\0" in name:
        raise ValueError("expected a relative path that stays inside the folder")
    return name


def refuse_large_file(path: Path, limit_bytes: int) -> None:
    """Check the size of a file.

    Raises:
        ValueError: if it has more bytes.
    """
    size = path.stat().st_size
    if size > limit_bytes:
        raise ValueError(f"{path}: {size / 1e6:,.1f} MB: expected at most {limit_bytes / 1e6:g} MB")


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """Read a file of at most so many bytes; what the file system says of its size is not relied on.

    Raises:
        ValueError: if there are more.
    """
    refuse_large_file(path, limit_bytes)
    with path.open("rb") as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ValueError(f"{path}: expected at most {limit_bytes / 1e6:g} MB")
    return content
