"""What the player plays: images in order, each with the right camera."""

from __future__ import annotations

import argparse

import cv2
import numpy as np
import pytest

from pose_estimation_ros.data.calibration import calibration_from_file, calibration_from_numbers
from pose_estimation_ros.data.image_sources import FolderSource, VideoSource

CALIBRATION = calibration_from_numbers(60.0, 61.0, 31.5, 23.5)
YAML = """
image_width: 64
image_height: 48
camera_matrix: {rows: 3, cols: 3, data: [60, 0, 31.5, 0, 61, 23.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.02, 0, 0, 0]}
"""


def write_images(folder, values, size=(48, 64)):
    for name, value in values.items():
        cv2.imwrite(str(folder / name), np.full((*size, 3), (value, 0, 0), dtype=np.uint8))  # blue


def test_folder_is_played_in_the_order_of_names_with_colours_right(tmp_path):
    write_images(tmp_path, {"b.png": 20, "a.PNG": 10, "c.png": 30})
    (tmp_path / "notes.txt").write_text("no image")
    played = list(FolderSource(tmp_path, CALIBRATION))
    assert [tuple(image.rgb[0, 0]) for image in played] == [(0, 0, 10), (0, 0, 20), (0, 0, 30)]
    assert [image.image_id for image in played] == [0, 1, 2]
    assert played[0].camera.intrinsics[1, 1] == 61.0


def test_calibration_file_of_camera_calibration_is_read_and_its_size_checked(tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text(YAML)
    calibration = calibration_from_file(path)
    camera = calibration.camera(np.zeros((48, 64, 3), dtype=np.uint8))
    assert camera.distortion == (-0.1, 0.02, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="is for 64x48 pixels, the image has 32x24"):
        calibration.camera(np.zeros((24, 32, 3), dtype=np.uint8))
    path.write_text("image_width: 64\n")
    with pytest.raises(ValueError, match="'camera_matrix' missing"):
        calibration_from_file(path)


def test_calibration_files_of_fisheye_lenses_are_read(tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text(YAML.replace("plumb_bob", "equidistant").replace("[-0.1, 0.02, 0, 0, 0]", "[0.01, 0.02, 0, 0]"))
    camera = calibration_from_file(path).camera(np.zeros((48, 64, 3), dtype=np.uint8))
    assert camera.is_fisheye
    assert camera.distortion == (0.01, 0.02, 0.0, 0.0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (YAML.replace("plumb_bob", "omnidirectional"), "distortion_model = 'omnidirectional', expected plumb_bob"),
        ("image_width: [64", r"camera\.yaml: while parsing"),
        ("", r"camera\.yaml: .*expected image_width"),
        (YAML.replace("0, 0, 1]", "0, 0]"), r"camera\.yaml: camera_matrix\.data has 8 numbers, expected 9"),
        (YAML.replace("61, 23.5", "61, much"), r"camera\.yaml: camera_matrix\.data: .*'much'; expected numbers"),
        (YAML.replace("-0.1, 0.02", "[], 0.02"), r"camera\.yaml: distortion_coefficients\.data: .*expected numbers"),
        (b"\xff\xfe\x00i", r"camera\.yaml: 'utf-8' codec can't decode"),
    ],
    ids=["unknown lens", "no YAML", "empty", "too few numbers", "no number", "nested", "no text"],
)
def test_calibration_that_would_be_misread_is_refused(tmp_path, content, message):
    path = tmp_path / "camera.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        calibration_from_file(path)


def test_video_frames_come_in_order(tmp_path):
    path = str(tmp_path / "video.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    if not writer.isOpened():
        pytest.skip("OpenCV cannot write MJPG here")
    for value in (40, 120, 200):
        writer.write(np.full((48, 64, 3), value, dtype=np.uint8))
    writer.release()
    source = VideoSource(tmp_path / "video.avi", CALIBRATION)
    for _ in range(2):  # it can be played again
        assert [round(float(image.rgb.mean()) / 40.0) for image in source] == [1, 3, 5]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="no images; expected files ending in"):
        FolderSource(tmp_path, CALIBRATION)
    with pytest.raises(ValueError, match="no such folder"):
        FolderSource(tmp_path / "absent", CALIBRATION)
    with pytest.raises(ValueError, match="cannot be opened as a video"):
        VideoSource(tmp_path / "absent.avi", CALIBRATION)


def test_images_without_calibration_are_refused(tmp_path):
    pytest.importorskip("rclpy")
    from pose_estimation_ros.ros.play_node import make_source

    options = {"rate": 5.0, "bop": None, "images": tmp_path, "camera_info": None, "intrinsics": None}
    with pytest.raises(ValueError, match="poses need a calibration"):
        make_source(argparse.Namespace(**options))
    with pytest.raises(ValueError, match="--rate 0: expected more than 0"):
        make_source(argparse.Namespace(**{**options, "rate": 0.0}))
