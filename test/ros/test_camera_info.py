"""Cameras of camera_info messages against projections computed by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.ros.camera_info import camera_from_info
from pose_estimation_ros.ros.input_error import CameraInfoError

K = [600.0, 0.0, 320.5, 0.0, 610.0, 240.25, 0.0, 0.0, 1.0]
P = [580.0, 0.0, 318.0, -40.0, 0.0, 580.0, 239.0, 0.0, 0.0, 0.0, 1.0, 0.0]
D = [-0.2, 0.05, 0.001, -0.002, 0.0]


def info(**fields) -> SimpleNamespace:
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    values = {
        "width": 640, "height": 480, "k": K, "d": D, "p": P, "distortion_model": "plumb_bob",
        "binning_x": 0, "binning_y": 0, "roi": roi,
    }  # fmt: skip
    return SimpleNamespace(**{**values, **fields})


def test_raw_images_take_k_and_d():
    camera = camera_from_info(info(), 640, 480, rectified=False)
    assert np.array_equal(camera.intrinsics.reshape(-1), K)
    assert camera.distortion == tuple(D)


def test_rectified_images_take_p_without_distortion_and_ignore_the_baseline():
    camera = camera_from_info(info(), 640, 480, rectified=True)
    assert np.array_equal(camera.intrinsics, np.reshape(P, (3, 4))[:, :3])
    assert not camera.is_distorted


def test_rectified_images_with_empty_p_take_k_only_without_distortion():
    camera = camera_from_info(info(p=[0.0] * 12, d=[]), 640, 480, rectified=True)
    assert np.array_equal(camera.intrinsics.reshape(-1), K)
    with pytest.raises(CameraInfoError, match=r"p\[0\] = 0: the camera is uncalibrated"):
        camera_from_info(info(p=[0.0] * 12), 640, 480, rectified=True)


def test_region_of_interest_moves_the_principal_point():
    roi = SimpleNamespace(x_offset=100, y_offset=40, width=320, height=240)
    whole = camera_from_info(info(d=[]), 640, 480, rectified=False)
    window = camera_from_info(info(d=[], roi=roi), 320, 240, rectified=False)
    point = np.array([[0.02, -0.03, 0.7]])
    assert window.project(point) == pytest.approx(whole.project(point) - (100, 40))
    assert (window.width, window.height) == (320, 240)


def test_binning_averages_pixels_around_their_common_centre():
    whole = camera_from_info(info(d=[]), 640, 480, rectified=False)
    binned = camera_from_info(info(d=[], binning_x=2, binning_y=4), 320, 120, rectified=False)
    point = np.array([[0.02, -0.03, 0.7]])
    # Pixels 0 and 1 become pixel 0, whose centre lies at 0.5 of the old ones.
    expected = (whole.project(point) - (0.5, 1.5)) / (2.0, 4.0)
    assert binned.project(point) == pytest.approx(expected)


def test_region_of_interest_counts_unbinned_pixels():
    roi = SimpleNamespace(x_offset=100, y_offset=40, width=320, height=240)
    camera = camera_from_info(info(d=[], roi=roi, binning_x=2, binning_y=2), 160, 120, rectified=False)
    assert camera.intrinsics[0] == pytest.approx([300.0, 0.0, (320.5 - 100.0 - 0.5) / 2.0])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"k": [0.0] * 9}, r"k\[0\] = 0: the camera is uncalibrated"),
        ({"k": [float("nan"), *K[1:]]}, "k = .*nan.*expected finite"),
        ({"k": [-600.0, *K[1:]]}, "focal lengths -600, 610 in k: expected positive"),
        ({"d": [float("inf")] * 5}, "d = .*inf.*expected finite"),
        ({"width": 1280, "height": 720}, "an image of 1280x720 pixels, the image has 640x480"),
        ({"distortion_model": "equidistant"}, "'equidistant' with 5 coefficients: expected plumb_bob"),
        ({"distortion_model": "omnidirectional"}, "'omnidirectional' with 5 coefficients: expected plumb_bob"),
        ({"d": [0.1, 0.2, 0.3]}, "with 3 coefficients: expected plumb_bob"),
        ({"binning_x": 2, "binning_y": 2}, "an image of 320x240 pixels, the image has 640x480"),
        ({"k": [1e-6, *K[1:]]}, "field of view 180 degrees along the width"),
        ({"k": [*K[:8], 0.0]}, r"expected \[\[fx, 0, cx\], \[0, fy, cy\], \[0, 0, 1\]\]"),
        ({"d": [1e6, 0.0, 0.0, 0.0, 0.0]}, "leaves 0 % of the undistorted image"),
        ({"d": [-2.0, 0.0, 0.0, 0.0, 0.0]}, "folds the image of 640x480 pixels"),
    ],
)
def test_what_cannot_be_used_is_named(fields, text):
    with pytest.raises(CameraInfoError, match=text):
        camera_from_info(info(**fields), 640, 480, rectified=False)


def test_a_small_window_of_a_plausible_camera_is_plausible():
    roi = SimpleNamespace(x_offset=300, y_offset=200, width=8, height=8)
    assert camera_from_info(info(roi=roi), 8, 8, rectified=False).width == 8


def test_unknown_model_without_distortion_is_a_plain_pinhole():
    assert not camera_from_info(info(distortion_model="unknown", d=[0.0] * 4), 640, 480, False).is_distorted


@pytest.mark.parametrize("coefficients", [[0.0] * 4, [0.02, -0.01, 0.003, -0.001]])
def test_fisheye_lenses_see_rays_at_a_distance_that_grows_with_the_angle(coefficients):
    camera = camera_from_info(info(distortion_model="equidistant", d=coefficients), 640, 480, rectified=False)
    angle = math.radians(50.0)
    point = np.array([[0.6 * math.sin(angle), 0.8 * math.sin(angle), math.cos(angle)]])
    powers = angle ** np.array([3, 5, 7, 9])
    reach = angle + float(np.dot(coefficients, powers))
    assert camera.project(point) == pytest.approx(
        np.array([[320.5 + 600.0 * 0.6 * reach, 240.25 + 610.0 * 0.8 * reach]])
    )


def test_rectified_images_of_fisheye_lenses_take_p():
    fisheye = {"distortion_model": "equidistant", "d": [0.02, -0.01, 0.003, -0.001]}
    assert not camera_from_info(info(**fisheye), 640, 480, rectified=True).is_distorted
    with pytest.raises(CameraInfoError, match=r"p\[0\] = 0: the camera is uncalibrated"):
        camera_from_info(info(**fisheye, p=[0.0] * 12), 640, 480, rectified=True)


@pytest.mark.parametrize(
    "lens",
    [
        ((), False),
        ((-0.2, 0.05, 0.001, -0.002, 0.0), False),
        ((0.1, 0.2, 0.0, 0.0, 0.0, 0.1, 0.2, 0.3), False),
        ((0.02, -0.01, 0.003, -0.001), True),
    ],
)
def test_message_of_a_camera_gives_the_camera_back(lens):
    pytest.importorskip("sensor_msgs.msg")
    from std_msgs.msg import Header

    from pose_estimation_ros.ros.camera_info import info_from_camera

    camera = Camera(np.reshape(K, (3, 3)), 640, 480, *lens)
    again = camera_from_info(info_from_camera(camera, Header()), 640, 480, rectified=False)
    assert np.array_equal(again.intrinsics, camera.intrinsics)
    assert (again.distortion, again.is_fisheye) == lens
