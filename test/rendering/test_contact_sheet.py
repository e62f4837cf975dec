"""The contact sheet shows an object as large as it is, the right way up, with its axes."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.geometry.symmetry import rotation_about
from pose_estimation_ros.rendering.contact_sheet import TILE, contact_sheet, looking_from

from ..objects.solids import box, painted

PINK = np.array([220, 60, 200])


@pytest.mark.parametrize("side", [(1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (1.0, 0.8, 0.9), (0.0, 0.0, 1.0)])
def test_a_camera_on_a_side_looks_at_the_object(side: tuple[float, float, float]) -> None:
    target = np.array([0.1, -0.2, 0.3])
    pose = looking_from(np.asarray(side), 2.0, target)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_allclose(pose[:3, :3] @ target + pose[:3, 3], [0.0, 0.0, 2.0], atol=1e-12)
    if side[2] < 1.0:
        assert (pose[:3, :3] @ [0.0, 0.0, 1.0])[1] < 0.0  # up in the image


def test_sides_show_the_colours_that_are_there() -> None:
    mesh = painted(box(0.06, 0.06, 0.06), lambda place: np.where(place[:, :1] > 0.0, [[1.0, 0, 0]], [[0, 0, 1.0]]))
    turn = rotation_about([0.0, 0.0, 1.0], [0.0, 0.0, 0.0], np.pi)
    line = (np.array([0.0, -0.1, 0.02]), np.array([0.0, 0.1, 0.02]))
    sheet = contact_sheet(mesh, 0.06 * 3**0.5, [line], [("turned", turn)], ["a box"])
    spot = (slice(TILE // 4 * 3 - 20, TILE // 4 * 3 - 10), slice(TILE // 4 + 10, TILE // 4 + 20))  # beside the axes
    front, back = sheet[:TILE, :TILE], sheet[TILE : 2 * TILE, :TILE]
    assert front[spot].mean(axis=(0, 1)).argmax() == 0
    assert back[spot].mean(axis=(0, 1)).argmax() == 2
    assert (np.abs(front.astype(int) - PINK).sum(axis=2) < 60).sum() > TILE // 2  # the line
    assert sheet.shape[0] > 3 * TILE
