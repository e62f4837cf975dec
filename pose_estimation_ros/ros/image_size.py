"""How large an image may be: what does not fit is refused before memory is taken for it."""

from __future__ import annotations

import struct

from pose_estimation_ros.ros.input_error import ImageError

MAX_PIXELS = 25_000_000
MAX_SIDE_PX = 16_384

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_JPEG_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def refuse_large_images(width: int, height: int) -> None:
    """Check the size of an image.

    Raises:
        ImageError: if it has more than MAX_PIXELS, or a side longer than MAX_SIDE_PX.
    """
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE_PX:
        raise ImageError(
            "size",
            f"image: size {width}x{height}: expected at most {MAX_PIXELS / 1e6:g} million pixels and sides of at most "
            f"{MAX_SIDE_PX} pixels",
        )


def size_of_compressed(data: bytes) -> tuple[int, int] | None:
    """Read width and height of a PNG or JPEG image without decoding it; None if it is neither, or damaged."""
    if data.startswith(_PNG_SIGNATURE):
        return struct.unpack_from(">II", data, 16) if len(data) >= 24 else None
    return _size_of_jpeg(data) if data.startswith(_JPEG_SIGNATURE) else None


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
