"""Cameras: pixel centres at integers, crop and resize as changes of coordinates, distortion there and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_estimation_ros.geometry.camera import Camera, project_points, resize_intrinsics, transform_points
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle

INTRINSICS = np.array([[572.4, 0.0, 325.3], [0.0, 573.6, 242.0], [0.0, 0.0, 1.0]])
PLUMB_BOB = (0.12, -0.25, 0.001, -0.002, 0.05)
RATIONAL = (0.3, -0.1, 0.001, 0.0005, 0.02, 0.25, -0.05, 0.01)
POINTS = np.random.default_rng(0).uniform([-0.3, -0.2, 0.6], [0.3, 0.2, 1.5], (50, 3))


FISHEYE = (0.02, -0.01, 0.003, -0.001)
LENSES = [((), False), (PLUMB_BOB, False), (RATIONAL, False), (FISHEYE, True), ((0.0, 0.0, 0.0, 0.0), True)]


def _camera(distortion: tuple[float, ...] = (), is_fisheye: bool = False) -> Camera:
    return Camera(INTRINSICS, 640, 480, distortion, is_fisheye)


def test_projection_by_hand():
    pixel = _camera().project(np.array([[0.1, -0.2, 0.5]]))
    np.testing.assert_allclose(pixel, [[572.4 * 0.2 + 325.3, -573.6 * 0.4 + 242.0]])


@given(x0=st.floats(-50, 300), y0=st.floats(-50, 300), width=st.integers(1, 400), height=st.integers(1, 400))
@settings(max_examples=50, deadline=None)
def test_crop_shifts_pixels_and_crops_compose(x0, y0, width, height):
    cropped = _camera().crop(x0, y0, width, height)
    np.testing.assert_allclose(cropped.project(POINTS), _camera().project(POINTS) - [x0, y0], atol=1e-9)
    back = cropped.crop(-x0, -y0, 640, 480)
    np.testing.assert_allclose(back.intrinsics, INTRINSICS, atol=1e-9)


@given(width=st.integers(1, 2000), height=st.integers(1, 2000))
@settings(max_examples=50, deadline=None)
def test_resize_keeps_the_borders_of_the_image(width, height):
    """The image spans [-0.5, w - 0.5]: positions relative to that span do not change."""
    resized = _camera().resize(width, height)
    relative = (_camera().project(POINTS) + 0.5) / [640, 480]
    np.testing.assert_allclose((resized.project(POINTS) + 0.5) / [width, height], relative, atol=1e-9)
    np.testing.assert_allclose(resized.resize(640, 480).intrinsics, INTRINSICS, atol=1e-9)


def test_resize_agrees_with_the_averaging_of_pixels():
    """Halve an image by averaging: the centre of mass of a blob moves as the camera says."""
    image = np.zeros((480, 640))
    image[100:104, 202:206] = 1.0
    halved = image.reshape(240, 2, 320, 2).mean(axis=(1, 3))
    ray = _camera().unproject(np.array([[203.5, 101.5]]), np.ones(1))
    rows, columns = np.nonzero(halved)
    np.testing.assert_allclose(_camera().resize(320, 240).project(ray), [[columns.mean(), rows.mean()]])


def test_resize_intrinsics_by_hand():
    halved = resize_intrinsics(np.array([[100.0, 0, 31.5], [0, 100.0, 23.5], [0, 0, 1.0]]), 0.5, 0.5)
    np.testing.assert_allclose(halved, [[50.0, 0, 15.5], [0, 50.0, 11.5], [0, 0, 1.0]])  # the centre stays the centre


@pytest.mark.parametrize("lens", LENSES)
def test_unproject_inverts_project(lens):
    camera = _camera(*lens)
    pixels = camera.project(POINTS)
    np.testing.assert_allclose(camera.unproject(pixels, POINTS[:, 2]), POINTS, atol=1e-6)


def test_distortion_by_hand():
    k1, k2, p1, p2, k3 = PLUMB_BOB
    x, y = 0.2, -0.1
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    expected = [[572.4 * u + 325.3, 573.6 * v + 242.0]]
    np.testing.assert_allclose(_camera(PLUMB_BOB).project(np.array([[x, y, 1.0]])), expected, atol=1e-9)


def test_fisheye_lens_by_hand():
    """A point 45 degrees off the axis; the undistorted camera sees it at one focal length from the centre."""
    angle = math.pi / 4.0
    reach = angle * (1 + 0.02 * angle**2 - 0.01 * angle**4 + 0.003 * angle**6 - 0.001 * angle**8)
    camera, point = _camera(FISHEYE, is_fisheye=True), np.array([[0.7, 0.0, 0.7]])
    np.testing.assert_allclose(camera.project(point), [[572.4 * reach + 325.3, 242.0]])
    np.testing.assert_allclose(camera.undistorted().project(point), [[572.4 + 325.3, 242.0]])


@pytest.mark.parametrize("lens", [((-0.3, 0.1, 0.001, -0.001, 0.0), False), (FISHEYE, True)])
def test_undistorted_image_shows_points_where_the_undistorted_camera_projects_them(lens):
    camera = _camera(*lens)
    rows, columns = np.mgrid[0:480, 0:640]
    for point in POINTS[:5]:
        seen = camera.project(point[None])[0]
        blob = np.exp(-((columns - seen[0]) ** 2 + (rows - seen[1]) ** 2) / (2 * 3.0**2))
        straight = camera.undistort_image((255 * blob).astype(np.float32)[..., None].repeat(3, axis=2))[..., 0]
        centre = np.array([(straight * columns).sum(), (straight * rows).sum()]) / straight.sum()
        np.testing.assert_allclose(centre, camera.undistorted().project(point[None])[0], atol=0.15)


def test_no_distortion_leaves_the_image_alone():
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    assert _camera((0.0, 0.0, 0.0, 0.0, 0.0)).undistort_image(image) is image


@pytest.mark.parametrize("lens", LENSES)
def test_points_at_or_behind_the_camera_give_nan(lens):
    points = np.array([[0.1, 0.1, 1.0], [0.1, 0.1, 0.0], [0.1, 0.1, -1.0]])
    pixels = _camera(*lens).project(points)
    assert np.isfinite(pixels[0]).all() and np.isnan(pixels[1:]).all()
    batched = project_points(torch.from_numpy(points)[None], torch.eye(4).double()[None], torch.eye(3).double()[None])
    assert torch.isfinite(batched[0, 0]).all() and torch.isnan(batched[0, 1:]).all()


def test_batched_projection_agrees_with_the_camera_and_has_right_gradients():
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = matrix_from_axis_angle(torch.tensor([0.4, -1.0, 0.3], dtype=torch.float64))
    pose[:3, 3] = torch.tensor([0.02, 0.05, 0.9])
    points = torch.from_numpy(POINTS - POINTS.mean(axis=0))[None]
    matrix = torch.from_numpy(INTRINSICS)[None]
    in_camera = transform_points(points, pose[None])[0].numpy()
    np.testing.assert_allclose(project_points(points, pose[None], matrix)[0], _camera().project(in_camera), atol=1e-9)
    few = points[:, :3].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda p: project_points(p, pose[None], matrix), few)


def test_projections_are_as_exact_where_networks_run_in_bfloat16():
    pose = torch.eye(4)
    pose[:3, :3] = matrix_from_axis_angle(torch.tensor([0.4, -1.0, 0.3]))
    pose[2, 3] = 0.9
    points, matrix = torch.from_numpy(POINTS - POINTS.mean(axis=0)).float()[None], torch.from_numpy(INTRINSICS).float()
    exact = project_points(points, pose[None], matrix[None])
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(project_points(points, pose[None], matrix[None]), exact, rtol=0.0, atol=0.0)


def test_gradients_are_finite_beside_points_behind_the_camera():
    points = torch.tensor([[[0.0, 0.0, 1.0], [0.1, 0.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    pixels = project_points(points, torch.eye(4).double()[None], torch.eye(3).double()[None])
    pixels[torch.isfinite(pixels)].sum().backward()
    assert torch.isfinite(points.grad).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(4), 640, 480), r"\(3, 3\)"),
        ((np.full((3, 3), math.nan), 640, 480), "NaN"),
        ((np.diag([0.0, 500.0, 1.0]), 640, 480), "focal"),
        ((INTRINSICS, 0, 480), "0x480"),
        ((INTRINSICS, 640, 480, (math.inf,)), "distortion"),
        ((INTRINSICS, 640, 480, PLUMB_BOB, True), "5 coefficients, expected 4 of a fisheye lens"),
    ],
)
def test_impossible_cameras_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Camera(*arguments)


def test_batch_sizes_must_agree():
    with pytest.raises(ValueError, match="batch sizes 2, 1, 1"):
        project_points(torch.zeros(2, 5, 3), torch.eye(4)[None], torch.eye(3)[None])


def test_undistorted_depth_is_made_of_depths_that_were_measured():
    camera = _camera(PLUMB_BOB)
    depth = np.full((480, 640), 0.7, dtype=np.float32)
    depth[:, 400:] = 1.4
    found = camera.undistort_depth(depth)
    assert set(np.unique(found)) <= {np.float32(0.0), np.float32(0.7), np.float32(1.4)}
    moved = camera.undistorted().project(camera.unproject(np.array([[399.5, 60.0]]), np.array([1.0])))[0]
    assert found[round(moved[1]), round(moved[0]) - 3] == np.float32(0.7)
    assert found[round(moved[1]), round(moved[0]) + 3] == np.float32(1.4)
    plain = camera.undistorted()
    assert plain.undistort_depth(depth) is depth
