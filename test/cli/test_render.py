"""pose_render: the pictures show the object where the pose says, and mistakes are named."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pose_estimation_ros.cli.render import main, read_pose
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.rendering.views import view_pose


@pytest.fixture(scope="module")
def mug():
    bundle = load_bundle("demo")
    return load_mesh(bundle.mesh_path(0))


@pytest.mark.parametrize("elevation", [-90.0, -30.0, 0.0, 55.0, 90.0])
def test_the_camera_stands_where_the_angles_say(mug, elevation):
    pose = view_pose(mug, 40.0, elevation, 0.0, 0.5)
    eye = -pose[:3, :3].T @ pose[:3, 3] - np.mean(mug.bounds, axis=0)
    azimuth, height = np.deg2rad([40.0, elevation])
    expected = [np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth), np.sin(height)]
    np.testing.assert_allclose(eye, 0.5 * np.array(expected), atol=1e-6)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    assert pose[1, 2] <= 1e-9  # the object's z points up in the image, where y points down


def test_depth_and_coordinates_agree_with_the_pose(tmp_path, mug):
    pose = view_pose(mug, 10.0, 35.0, 20.0, 0.4)
    np.savetxt(tmp_path / "pose.txt", pose[:3])
    arguments = ["--bundle", "demo", "--object", "mug", "--pose", str(tmp_path / "pose.txt")]
    arguments += ["--size", "90", "70", "--focal", "120"]
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    depth = cv2.imread(str(tmp_path / "depth.png"), cv2.IMREAD_UNCHANGED) / 10000.0
    low, high = mug.bounds
    coordinates = cv2.imread(str(tmp_path / "coordinates.png"))[..., ::-1] / 255.0 * (high - low) + low
    v, u = np.nonzero(depth)
    assert len(v) > 300
    seen = np.column_stack([(u - 44.5) / 120.0, (v - 34.5) / 120.0, np.ones(len(v))]) * depth[v, u][:, None]
    expected = (seen - pose[:3, 3]) @ pose[:3, :3]
    assert np.abs(coordinates[v, u] - expected).max() < 1e-3  # eight bits over 12 cm


def test_a_contact_sheet_shows_every_view(tmp_path):
    assert main(["--bundle", "demo", "--views", "5", "--output", str(tmp_path)]) == 0
    sheet = cv2.imread(str(tmp_path / "views.png"))
    corners = [(y, x) for y in range(0, sheet.shape[0], 192) for x in range(0, sheet.shape[1], 384)]
    tiles = [sheet[y : y + 192, x : x + 192] for y, x in corners]
    filled = [tile for tile in tiles if len(np.unique(tile.reshape(-1, 3), axis=0)) > 100]
    assert len(filled) == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either --mesh FILE or --bundle NAME"),
        (["--bundle", "demo", "--object", "teapot"], "'teapot': not in bundle demo (has: mug,"),
        (["--mesh", "gone.ply"], "gone.ply: mesh not found"),
        (["--bundle", "demo", "--size", "0", "9"], "--size 0 9"),
        (["--bundle", "demo", "--views", "0"], "--views 0"),
        (["--bundle", "nowhere"], "no bundle.yaml"),
    ],
)
def test_mistakes_are_named_in_one_line(capsys, tmp_path, arguments, said):
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("pose_render: error: ") and said in message and message.count("\n") == 1


def test_a_pose_that_is_none_is_refused(tmp_path):
    (tmp_path / "short.txt").write_text("1 2 3")
    with pytest.raises(ValueError, match="3 numbers, expected 3x4 or 4x4"):
        read_pose(tmp_path / "short.txt")
    np.savetxt(tmp_path / "mirror.txt", np.diag([1.0, 1.0, -1.0, 1.0]))
    with pytest.raises(ValueError, match="not a rotation"):
        read_pose(tmp_path / "mirror.txt")
