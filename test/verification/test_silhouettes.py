"""Silhouettes: the right pixels at the right depth, what hides what, and how much two of them share."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.geometry.camera import Camera

from .conftest import CAMERA, at


def test_a_cube_covers_what_its_front_face_projects_to(renderer):
    found = renderer.render([0], [at(0.0, 0.55)], CAMERA)
    rows, columns = np.nonzero(found.masks[0])
    # The front face, 10 cm wide at 0.5 m, is 40 pixels wide.
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (60, 99, 40, 79)
    np.testing.assert_allclose(found.depth[0][found.masks[0]], 0.5, atol=1e-5)
    assert found.pixel == 1.0


def test_large_images_are_rendered_smaller(renderer):
    large = Camera(CAMERA.intrinsics * [[8.0], [8.0], [1.0]], 1280, 960)
    found = renderer.render([0], [at(0.0, 0.55)], large)
    assert found.depth.shape == (1, 240, 320)
    assert found.pixel == 4.0
    assert found.masks.sum() * found.pixel**2 == pytest.approx((40 * 8) ** 2, rel=0.05)


def test_only_what_is_nearer_and_believed_hides(renderer):
    found = renderer.render([0, 1], [at(0.0, 0.55), at(0.02, 0.33)], CAMERA)
    believed = np.array([[False, True], [True, False]])
    hidden = found.hidden(believed)
    np.testing.assert_array_equal(hidden[0], found.masks[0] & found.masks[1])
    assert not hidden[1].any()
    assert not found.hidden(np.zeros((2, 2), dtype=bool)).any()


def test_overlaps_are_shares_of_the_union(renderer):
    found = renderer.render([0, 0, 0], [at(0.0, 0.55), at(0.05, 0.55), at(0.4, 0.55)], CAMERA)
    overlaps = found.overlaps()
    np.testing.assert_allclose(np.diag(overlaps)[:2], 1.0)
    assert overlaps[0, 1] == pytest.approx(1.0 / 3.0, abs=0.03)
    assert overlaps[0, 2] == 0.0


@pytest.mark.parametrize("pose", [at(0.0, -0.5), at(3.0, 0.5), np.full((4, 4), np.nan)])
def test_what_cannot_be_seen_covers_nothing(renderer, pose):
    assert not renderer.render([0], [pose], CAMERA).masks.any()
