"""How large an image may be: what does not fit is refused before memory is taken for it."""

from __future__ import annotations

from pose_estimation_ros.objects.picture_size import MAX_JPEG_SCANS, count_scans
from pose_estimation_ros.ros.input_error import ImageError

MAX_PIXELS = 25_000_000
MAX_SIDE_PX = 16_384


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


def refuse_many_scans(data: bytes) -> None:
    """Check how often the decoder goes over a compressed image: a small JPEG file can keep it busy for hours.

    Raises:
        ImageError: if there are more than MAX_JPEG_SCANS.
    """
    scans = count_scans(data)
    if scans > MAX_JPEG_SCANS:
        raise ImageError("scans", f"compressed image: JPEG of {scans} scans: expected at most {MAX_JPEG_SCANS}")
