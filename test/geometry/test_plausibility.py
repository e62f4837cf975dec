"""Calibrations that no camera has, against angles and folds worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.plausibility import (
    field_of_view_deg,
    refuse_implausible_distortion,
    refuse_implausible_field_of_view,
)

WIDTH, HEIGHT, FOCAL = 640, 480, 500.0
CORNER_SQUARED = ((WIDTH / 2) ** 2 + (HEIGHT / 2) ** 2) / FOCAL**2


def make_camera(distortion: tuple[float, ...] = (), focal: float = FOCAL, centre: float = WIDTH / 2 - 0.5) -> Camera:
    matrix = np.array([[focal, 0.0, centre], [0.0, focal, HEIGHT / 2 - 0.5], [0.0, 0.0, 1.0]])
    return Camera(matrix, WIDTH, HEIGHT, distortion)


def test_field_of_view_by_hand():
    assert field_of_view_deg(make_camera(focal=320.0)) == pytest.approx((90.0, 2.0 * math.degrees(math.atan(0.75))))
    assert field_of_view_deg(make_camera(focal=640.0, centre=-0.5))[0] == pytest.approx(45.0)


@pytest.mark.parametrize(
    ("focal", "centre", "text"),
    [
        (1e-6, 320.0, "field of view 180 degrees along the width of 640 pixels with fx = 1e-06"),
        (320.0 / math.tan(math.radians(85.5)), 319.5, "field of view 171 degrees"),
        (320.0 / math.tan(math.radians(0.45)), 319.5, "field of view 0.9 degrees"),
        (500.0, 1e9, "cx = 1e[+]09: expected 1 to 170 degrees"),
    ],
)
def test_too_narrow_and_too_wide_cameras_are_refused(focal, centre, text):
    with pytest.raises(ValueError, match=text):
        refuse_implausible_field_of_view(make_camera(focal=focal, centre=centre))


@pytest.mark.parametrize("half_angle_deg", [0.7, 30.0, 84.5])
def test_lenses_that_exist_are_taken(half_angle_deg):
    refuse_implausible_field_of_view(make_camera(focal=320.0 / math.tan(math.radians(half_angle_deg))))


def test_one_coefficient_folds_the_corner_where_its_derivative_is_zero():
    """r + k1 r^3 falls from r^2 = -1 / (3 k1) on; a grid of 64 cells sees it a little later."""
    critical = -1.0 / (3.0 * CORNER_SQUARED)
    refuse_implausible_distortion(make_camera((0.99 * critical, 0.0, 0.0, 0.0)))
    with pytest.raises(ValueError, match="folds the image of 640x480 pixels"):
        refuse_implausible_distortion(make_camera((1.1 * critical, 0.0, 0.0, 0.0)))


@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize("value", [1e6, -1e6, 1e300])
def test_huge_coefficients_are_refused(place, value):
    distortion = tuple(value if index == place else 0.0 for index in range(8))
    with pytest.raises(ValueError, match=r"folds the image|leaves \d+ % of the undistorted image"):
        refuse_implausible_distortion(make_camera(distortion))


def test_a_pole_of_the_rational_model_is_refused():
    """The denominator 1 + k4 r^2 is zero on a circle inside the image, and beyond it the image is mirrored."""
    with pytest.raises(ValueError, match="folds"):
        refuse_implausible_distortion(make_camera((0.0, 0.0, 0.0, 0.0, 0.0, -10.0, 0.0, 0.0)))


@pytest.mark.parametrize(
    "distortion",
    [
        (-0.28, 0.07, 0.0002, 0.00002),  # barrel of a wide lens
        (0.26, -0.95, -0.005, 0.003, 1.16),  # of a depth camera
        (0.5, -2.6, 0.0006, -0.0002, 1.5, 0.4, -2.4, 1.4),  # rational
        (0.2, -0.01, 0.0, 0.0, 0.0, 0.5, 0.02, 0.0),
    ],
)
def test_distortions_as_lenses_have_them_are_taken(distortion):
    refuse_implausible_distortion(make_camera(distortion))


def test_a_fisheye_lens_that_sees_more_than_half_of_the_world_is_taken():
    camera = Camera(np.array([[200.0, 0.0, 319.5], [0.0, 200.0, 239.5], [0.0, 0.0, 1.0]]), 640, 480, (0.0,) * 4, True)
    refuse_implausible_field_of_view(camera)
    refuse_implausible_distortion(camera)
