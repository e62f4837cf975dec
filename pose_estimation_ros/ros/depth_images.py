"""sensor_msgs/Image with depth to arrays in metres."""

from __future__ import annotations

from typing import Any

import numpy as np

from pose_estimation_ros.ros.image_size import refuse_large_images
from pose_estimation_ros.ros.images import checked_data
from pose_estimation_ros.ros.input_error import ImageError

# REP 118: whole millimetres, 0 for none, or metres, NaN or infinity for none. Some drivers say mono16 for the former.
_TYPES: dict[str, np.dtype] = {
    "16UC1": np.dtype(np.uint16),
    "mono16": np.dtype(np.uint16),
    "32FC1": np.dtype(np.float32),
}
_FARTHEST_M = 100.0  # the median of depths in metres is below this


def image_to_depth(message: Any, unit_m: float = 0.001) -> np.ndarray:
    """Read a depth image.

    Args:
        message: anything with the fields of sensor_msgs/Image; `16UC1` in units, `32FC1` in metres (REP 118).
        unit_m: metres that 1 stands for in `16UC1`; few cameras have other units than millimetres.

    Returns:
        Depth (H, W) float32 in metres; zero, NaN and infinity are no measurements.

    Raises:
        ImageError: if the encoding is none of these, the sizes contradict each other, or metres cannot be meant.
    """
    refuse_large_images(message.width, message.height)
    kind = _TYPES.get(message.encoding)
    if kind is None:
        raise ImageError(
            "encoding", f"depth image: encoding = {message.encoding!r}: expected 16UC1 (millimetres) or 32FC1 (metres)"
        )
    data = checked_data(message, message.width * kind.itemsize)
    rows = np.lib.stride_tricks.as_strided(
        data, (message.height, message.width * kind.itemsize), (message.step, 1), writeable=False
    )
    values = np.ascontiguousarray(rows).view(kind.newbyteorder(">" if message.is_bigendian else "<"))
    if kind == np.uint16:
        return values.astype(np.float32) * np.float32(unit_m)
    depth = values.astype(np.float32)
    measured = depth[np.isfinite(depth) & (depth > 0.0)]
    if measured.size and float(np.median(measured)) > _FARTHEST_M:
        raise ImageError(
            "unit",
            f"depth image: median {float(np.median(measured)):.0f} in 32FC1: expected metres; these look like "
            "millimetres, which come as 16UC1",
        )
    return depth
