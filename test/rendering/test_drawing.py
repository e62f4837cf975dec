"""Drawings: lines where the projection says, nothing where it must not be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.catalog import Catalog, ObjectFrame, ObjectModel
from pose_estimation_ros.rendering.drawing import BOX_EDGES, box_corners, color_of, draw_poses

CAMERA = Camera(np.array([[500.0, 0.0, 159.5], [0.0, 500.0, 119.5], [0.0, 0.0, 1.0]]), 320, 240)
CATALOG = Catalog((ObjectModel(1, "cube", 0.1733, ((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05)), Path("cube.ply")),))
GREY = np.full((240, 320, 3), 128, dtype=np.uint8)


def pose(z: float, x: float = 0.0, name: str = "cube", **fields) -> SimpleNamespace:
    matrix = np.eye(4)
    matrix[:3, 3] = (x, 0.0, z)
    return SimpleNamespace(name=name, camera_from_object=matrix, score=0.5, **fields)


def test_box_edges_are_drawn_where_the_corners_project():
    image = draw_poses(GREY, CAMERA, [pose(1.0)], CATALOG)
    front = 500.0 * 0.05 / 0.95  # half edge of the near face in pixels
    for x, y in ((159.5 - front, 125.0), (159.5 + front, 110.0), (150.0, 119.5 + front)):
        patch = image[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2].astype(int)
        assert np.abs(patch - 128).max() > 60, (x, y)
    assert (image[119 + 60 :] == 128).all()  # nothing far below


def test_frames_on_an_object_are_drawn_where_they_are():
    right = np.eye(4)
    right[0, 3] = 0.2
    catalog = Catalog((replace(CATALOG[0], frames=(ObjectFrame("handle", right),)),))
    plain, image = (draw_poses(GREY, CAMERA, [pose(1.0)], item) for item in (CATALOG, catalog))
    v, u = np.nonzero((image != plain).any(axis=2))
    length_m = 0.25 * 0.1733
    reach = 500.0 * length_m  # of the axes x and y in pixels; z points away, towards the centre of the image
    leftmost = 159.5 + 100.0 / (1.0 + length_m)
    assert (
        leftmost - 4.0 < u.min() < leftmost + 4.0
        and 159.5 + 100.0 + reach - 4.0 < u.max() < 159.5 + 100.0 + reach + 4.0
    )
    assert v.min() > 119.5 - 4.0 and 119.5 + reach - 4.0 < v.max() < 119.5 + reach + 4.0


def test_input_is_left_alone_and_no_pose_draws_nothing():
    original = GREY.copy()
    draw_poses(original, CAMERA, [pose(1.0)], CATALOG)
    assert np.array_equal(original, GREY)
    assert np.array_equal(draw_poses(GREY, CAMERA, [], CATALOG), GREY)
    assert np.array_equal(draw_poses(GREY, CAMERA, [pose(1.0, name="stranger")], CATALOG), GREY)


@pytest.mark.parametrize("z", [-1.0, 0.0])
def test_objects_behind_the_camera_draw_no_box(z):
    image = draw_poses(GREY, CAMERA, [pose(z - 0.2)], CATALOG)
    assert np.array_equal(image, GREY)


def test_camera_inside_the_box_and_far_corners_do_not_break_it():
    for placed in (pose(0.0), pose(0.05), pose(0.04, x=0.3), pose(1e-9), pose(1.0, x=1e6)):
        assert draw_poses(GREY, CAMERA, [placed], CATALOG).shape == GREY.shape


def test_mask_is_tinted_inside_only():
    mask = np.zeros((240, 320), dtype=bool)
    mask[30:60, 200:260] = True
    image = draw_poses(GREY, CAMERA, [pose(1.0, x=-0.1, mask=mask, track_id=3)], CATALOG)
    assert (image[35:55, 205:255] != 128).any(axis=2).all()
    assert (image[70:80, 200:260] == 128).all()


def test_label_stays_inside_the_image():
    image = draw_poses(GREY, CAMERA, [pose(0.5, x=-0.15)], CATALOG)
    top_left = image[:120, :120].astype(int)
    assert (top_left.min(axis=2) < 60).any()  # the dark plate


def test_twelve_edges_join_corners_that_differ_in_one_coordinate():
    corners = box_corners(CATALOG[0])
    assert len(BOX_EDGES) == 12
    assert all(np.count_nonzero(corners[first] - corners[second]) == 1 for first, second in BOX_EDGES)


def test_neighbouring_objects_have_colours_far_apart():
    colors = np.array([color_of(index) for index in range(8)])
    assert np.linalg.norm(np.diff(colors, axis=0), axis=1).min() > 80.0
