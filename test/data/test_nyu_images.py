"""Depth images of the NYU data set: which there have to be, and how their colours mean millimetres."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_estimation_ros.data.nyu_images import depth_paths, read_depth


def test_green_and_blue_are_millimetres_and_red_is_nothing(tmp_path: Path) -> None:
    rgb = np.zeros((480, 640, 3), dtype=np.uint8)
    rgb[100, 200] = (77, 2, 214)
    rgb[101, 200] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / "depth.png"), rgb[..., ::-1])
    depth = read_depth(tmp_path / "depth.png")
    assert depth.dtype == np.float32 and depth.shape == (480, 640)
    assert depth[100, 200] == np.float32(0.726) and depth[101, 200] == np.float32(0.255)
    assert np.count_nonzero(depth) == 2


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (np.zeros((480, 640), dtype=np.uint16), "640x480 pixels, channels: 1 of 16 bits"),
        (np.zeros((480, 640, 3), dtype=np.uint16), "640x480 pixels, channels: 3 of 16 bits"),
        (np.zeros((480, 640, 4), dtype=np.uint8), "640x480 pixels, channels: 4 of 8 bits"),
        (np.zeros((240, 320, 3), dtype=np.uint8), "320x240 pixels, channels: 3 of 8 bits"),
    ],
)
def test_other_images_are_refused_by_what_they_are(tmp_path: Path, pixels: np.ndarray, found: str) -> None:
    path = tmp_path / "depth.png"
    cv2.imwrite(str(path), pixels)
    with pytest.raises(ValueError, match=f"depth.png: {found}; expected 640x480 pixels of 8-bit RGB"):
        read_depth(path)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "depth.png"
    path.write_text("no image")
    with pytest.raises(ValueError, match=r"depth\.png: not a readable image"):
        read_depth(path)


def test_images_are_those_of_one_view_in_their_order(tmp_path: Path) -> None:
    for name in ("depth_1_0000002", "depth_1_0000001", "depth_2_0000001", "rgb_1_0000001", "synthdepth_1_0000001"):
        (tmp_path / f"{name}.png").touch()
    names = [path.name for path in depth_paths(tmp_path, 1, 2)]
    assert names == ["depth_1_0000001.png", "depth_1_0000002.png"]


def test_missing_images_and_surplus_ones_are_named(tmp_path: Path) -> None:
    for number in (1, 2, 5):
        (tmp_path / f"depth_1_{number:07d}.png").touch()
    with pytest.raises(ValueError, match=r"2 of the 5 images .* are missing: depth_1_0000003.png, depth_1_0000004.png"):
        depth_paths(tmp_path, 1, 5)
    with pytest.raises(ValueError, match=r"9 of the 9 images .*: depth_3_0000001.png, .*_0000003.png, \.\.\.$"):
        depth_paths(tmp_path, 3, 9)
    with pytest.raises(ValueError, match=r"3 images depth_1_\*\.png, the ground truth has 2 lines"):
        depth_paths(tmp_path, 1, 2)
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        depth_paths(tmp_path / "nowhere", 1, 2)
