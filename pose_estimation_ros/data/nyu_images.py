"""The depth images of the NYU hand pose data set, as its folders `train` and `test` hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_estimation_ros.data.bop import read_unchanged
from pose_estimation_ros.data.nyu_hand import CAMERA

VIEWS = (1, 2, 3)  # cameras, each with joints of its own
_NAMED = 3  # missing images that a message names
_MM = 1000.0


def depth_paths(folder: Path, view: int, count: int) -> list[Path]:
    """Return the depth images of one view in their order.

    Args:
        folder: where they are.
        view: whose; one of `VIEWS`.
        count: how many there have to be.

    Raises:
        ValueError: if some are missing, or there are more.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    present = {path.name for path in folder.glob(f"depth_{view}_*.png")}
    wanted = [f"depth_{view}_{number:07d}.png" for number in range(1, count + 1)]
    missing = [name for name in wanted if name not in present]
    if missing:
        names = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        raise ValueError(
            f"{folder}: {len(missing)} of the {count} images that the ground truth has lines for are missing: {names}"
        )
    if len(present) > count:
        raise ValueError(f"{folder}: {len(present)} images depth_{view}_*.png, the ground truth has {count} lines")
    return [folder / name for name in wanted]


def read_depth(path: Path) -> np.ndarray:
    """Read a depth image: 8-bit RGB, millimetres as 256 * green + blue; red means nothing.

    Returns:
        Depth (480, 640) float32 in metres, 0 where nothing was measured.

    Raises:
        ValueError: if it is another kind of image, or of another size.
    """
    pixels = read_unchanged(path)
    shape = (CAMERA.height, CAMERA.width, 3)
    if pixels.shape != shape or pixels.dtype != np.uint8:
        height, width = pixels.shape[:2]
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        raise ValueError(
            f"{path}: {width}x{height} pixels, channels: {channels} of {8 * pixels.itemsize} bits; expected "
            f"{CAMERA.width}x{CAMERA.height} pixels of 8-bit RGB with depth in green and blue"
        )
    blue, green = pixels[..., 0].astype(np.float32), pixels[..., 1].astype(np.float32)
    return (256.0 * green + blue) / np.float32(_MM)
