"""How large a picture is, from its header: a small file can hold one of any size."""

from __future__ import annotations

import struct
from pathlib import Path

from pose_estimation_ros.objects.limits import (
    MAX_TEXTURE_BYTES,
    MAX_TEXTURE_PIXELS,
    MAX_TEXTURE_SIDE_PX,
    read_bounded,
)

MAX_JPEG_SCANS = 100  # progressive files have about ten; each goes over the whole image

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_BMP_SIGNATURE = b"BM"
_JPEG_SCAN = b"\xff\xda"
_JPEG_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height of a PNG or JPEG image without decoding it; None if it is neither, or damaged."""
    if data.startswith(_PNG_SIGNATURE):
        return struct.unpack_from(">II", data, 16) if len(data) >= 24 else None
    return _size_of_jpeg(data) if data.startswith(_JPEG_SIGNATURE) else None


def count_scans(data: bytes) -> int:
    """Return how often the decoder of a JPEG image goes over it, 0 for other data."""
    return data.count(_JPEG_SCAN) if data.startswith(_JPEG_SIGNATURE) else 0


def _size_of_jpeg(data: bytes) -> tuple[int, int] | None:
    """Go from segment to segment to the frame header (ITU-T T.81, B.1 and B.2.2)."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker in _JPEG_WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    return None


def refuse_large_texture(path: Path, any_kind: bool = False) -> None:
    """Check the size of a texture: a PNG, JPEG or BMP file.

    Args:
        path: the file.
        any_kind: pass over other files; for materials, whose readers leave them out or bound them.

    Raises:
        ValueError: if it has too many bytes or pixels, or is of another kind.
    """
    data = read_bounded(path, MAX_TEXTURE_BYTES)
    if any_kind and not data.startswith((_PNG_SIGNATURE, _JPEG_SIGNATURE, _BMP_SIGNATURE)):
        return
    size = _size_of_bmp(data) if data.startswith(_BMP_SIGNATURE) else picture_size(data)
    if size is None or min(size) <= 0:
        raise ValueError(f"{path}: expected a texture in PNG, JPEG or BMP format")
    if max(size) > MAX_TEXTURE_SIDE_PX or size[0] * size[1] > MAX_TEXTURE_PIXELS:
        raise ValueError(
            f"{path}: texture of {size[0]}x{size[1]} pixels: expected at most {MAX_TEXTURE_PIXELS / 1e6:.0f} million "
            f"and sides of at most {MAX_TEXTURE_SIDE_PX}"
        )
    if count_scans(data) > MAX_JPEG_SCANS:
        raise ValueError(f"{path}: JPEG of {count_scans(data)} scans: expected at most {MAX_JPEG_SCANS}")


def _size_of_bmp(data: bytes) -> tuple[int, int] | None:
    """Read the size out of a BITMAPINFOHEADER or one of its successors; rows from the top have a negative height."""
    if len(data) < 26 or struct.unpack_from("<I", data, 14)[0] < 40:
        return None
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)
