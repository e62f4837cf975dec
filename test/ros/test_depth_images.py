"""Depth images as messages: millimetres or metres, either byte order, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pose_estimation_ros.ros.depth_images import image_to_depth
from pose_estimation_ros.ros.input_error import ImageError

DEPTH = np.array([[0.0, 0.5, 1.25], [2.0, 0.001, 65.535]], dtype=np.float32)


def message(values: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> SimpleNamespace:
    swapped = values.astype(values.dtype.newbyteorder(">")) if big else values
    rows = [np.frombuffer(row.tobytes() + b"\7" * padding, dtype=np.uint8) for row in swapped]
    height, width = values.shape
    return SimpleNamespace(
        height=height, width=width, encoding=encoding, is_bigendian=int(big), step=len(rows[0]),
        data=np.concatenate(rows).tobytes(),
    )  # fmt: skip


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("big", [False, True])
def test_millimetres_and_metres_are_the_same_depth(padding: int, big: bool):
    millimetres = np.round(DEPTH * 1000.0).astype(np.uint16)
    for found in (
        image_to_depth(message(millimetres, "16UC1", padding, big)),
        image_to_depth(message(DEPTH, "32FC1", padding, big)),
    ):
        assert found.dtype == np.float32 and np.allclose(found, DEPTH, atol=1e-6)
    assert np.allclose(image_to_depth(message(millimetres, "16UC1"), 0.00025), DEPTH / 4.0, atol=1e-6)


def test_what_was_not_measured_stays_so():
    values = np.array([[np.nan, np.inf, 0.5]], dtype=np.float32)
    found = image_to_depth(message(values, "32FC1"))
    assert np.isnan(found[0, 0]) and np.isinf(found[0, 1])


def test_what_is_no_depth_is_refused_by_name():
    with pytest.raises(ImageError, match="encoding = 'rgb8': expected 16UC1 .* or 32FC1"):
        image_to_depth(message(np.zeros((2, 3), dtype=np.uint8), "rgb8"))
    with pytest.raises(ImageError, match="median 750 in 32FC1: expected metres"):
        image_to_depth(message(np.full((2, 3), 750.0, dtype=np.float32), "32FC1"))
    short = message(DEPTH, "32FC1")
    short.data = short.data[:-1]
    with pytest.raises(ImageError, match="data has 23 bytes: expected 24"):
        image_to_depth(short)
