"""What the page reads from messages, and where a recording's frames come from."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("vision_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")
pytest.importorskip("mcap_ros2")

from rclpy.serialization import serialize_message
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo
from viser import ViserServer

from pose_estimation_ros.ros.bag import BagWriter
from pose_estimation_ros.ros.diagnostics import diagnostic_array
from pose_estimation_ros.ros.markers import marker_array
from pose_estimation_ros.ros.messages import detections_3d
from pose_estimation_ros.ros.view.command import main
from pose_estimation_ros.ros.view.content import (
    camera_of,
    meshes_of,
    objects_of,
    path_of_uri,
    status_of,
)
from pose_estimation_ros.ros.view.playback import Playback, kind_of
from pose_estimation_ros.ros.view.scene import SIGMAS, PoseScene, ellipsoid

from .camera_messages import HEIGHT, WIDTH, header, image, info


def test_objects_come_back_as_they_were_published(poses, catalog):
    poses[0].covariance = None
    poses[1].covariance = np.diag([1.0, 4.0, 9.0, 0.1, 0.1, 0.1]) * 1e-6
    box, can = objects_of(detections_3d(header(1), poses, catalog, "left/"))
    assert (box.frame, box.name, box.score) == ("left/box_1", "box", pytest.approx(poses[0].score))
    np.testing.assert_allclose(box.camera_from_object, poses[0].camera_from_object, atol=1e-6)
    centre = poses[0].camera_from_object @ [*catalog[0].centre_m, 1.0]
    np.testing.assert_allclose(box.camera_from_box[:3, 3], centre[:3], atol=1e-6)
    np.testing.assert_allclose(box.box_size_m, 2.0 * catalog[0].half_size_m)
    assert box.position_covariance is None
    np.testing.assert_allclose(can.position_covariance, np.diag([1.0, 4.0, 9.0]) * 1e-6)


def test_the_frustum_opens_as_the_camera_does():
    camera = camera_of(info(1))
    assert camera.aspect == WIDTH / HEIGHT
    assert np.tan(camera.vertical_fov_rad / 2.0) == pytest.approx(HEIGHT / 2.0 / 60.0)
    assert camera_of(CameraInfo(width=4, height=3)) is None


def test_meshes_and_status_are_those_of_the_node(poses, catalog):
    markers = marker_array(header(1), poses, (), catalog, {"can": "file:///a%20can.ply"}, 1.0)
    (name, resource), *others = meshes_of(markers).items()
    assert (name, resource.scale, str(path_of_uri(resource.uri)), others) == ("can", 0.001, "/a can.ply", [])
    values = {"track left/can_2 state": "seen", "fps": "3"}
    message = diagnostic_array(header(1).stamp, "/left/pose_estimation", 1, "no image", values)
    status = status_of(message, "pose_estimation")
    assert (status.level, status.message, status.track_values("left/can_2")) == (1, "no image", {"state": "seen"})
    assert status_of(message, "/left/pose_estimation") == status
    assert status_of(message, "other") is None


@pytest.mark.parametrize("uri", ["http://example.com/can.ply", "package://no_such_package/can.ply"])
def test_meshes_from_elsewhere_are_refused_by_name(uri):
    with pytest.raises(ValueError, match=uri.partition("//")[2].split("/")[0]):
        path_of_uri(uri)


def test_an_ellipsoid_has_the_standard_deviations_along_its_axes():
    turn = Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix()
    deviations = np.array([0.001, 0.002, 0.02])
    radii, directions = ellipsoid(turn @ np.diag(deviations**2) @ turn.T)
    np.testing.assert_allclose(radii, SIGMAS * deviations)
    np.testing.assert_allclose(np.abs(directions.T @ turn), np.eye(3), atol=1e-9)
    assert np.linalg.det(directions) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("topic", "kind"),
    [
        ("/cam/image_raw", "image"),
        ("/cam/image/compressed", "compressed"),
        ("/cam/camera_info", "camera_info"),
        ("/left/pose_estimation/detections", "detections"),
        ("/left/pose_estimation/overlay", None),
        ("/other/detections", None),
        ("/tf", "tf"),
    ],
)
def test_recorded_topics_are_known_by_their_names(topic, kind):
    assert kind_of(topic, "pose_estimation") == kind


def write_recording(path, poses, catalog):
    """Write three frames a second apart; the image's value and the first score are those of the frame."""
    bag = BagWriter(path)
    bag.add_topic("/image", "sensor_msgs/msg/Image")
    bag.add_topic("/camera_info", "sensor_msgs/msg/CameraInfo")
    bag.add_topic("/pose_estimation/detections", "vision_msgs/msg/Detection3DArray")
    for frame in range(3):
        time_ns = (10 + frame) * 1_000_000_000
        poses[0].score = frame / 4.0
        bag.write("/camera_info", serialize_message(info(frame)), time_ns - 2)
        bag.write("/image", serialize_message(image(frame, value=frame)), time_ns - 1)
        message = detections_3d(header(frame), poses[:1], catalog, "")
        bag.write("/pose_estimation/detections", serialize_message(message), time_ns)
    bag.close()


def test_the_page_shows_objects_where_they_are(server, poses, catalog):
    scene = PoseScene(server)
    scene.show_objects(objects_of(detections_3d(header(1), poses, catalog, "")))
    root, box = (server.scene._handle_from_node_name[f"/{kind}/can_2"] for kind in ("objects", "boxes"))
    pose = poses[1].camera_from_object
    np.testing.assert_allclose(root.position, pose[:3, 3], atol=1e-6)
    np.testing.assert_allclose(Rotation.from_quat(np.roll(root.wxyz, -1)).as_matrix(), pose[:3, :3], atol=1e-6)
    np.testing.assert_allclose(box.position, pose[:3, :3] @ catalog[1].centre_m + pose[:3, 3], atol=1e-6)
    scene.show_objects([])
    assert not root.visible and not box.visible


class Shown:
    """A page that only remembers."""

    def __init__(self):
        self.messages = {}

    def clear(self):
        self.messages.clear()

    def take(self, kind, message):
        self.messages[kind] = message

    def frame(self):
        score = self.messages["detections"].detections[0].results[0].hypothesis.score
        return self.messages["image"].data[0], score * 4.0


@pytest.fixture
def server():
    made = ViserServer("127.0.0.1", 18080, verbose=False)
    yield made
    made.stop()


def test_every_frame_of_a_recording_is_shown_with_its_image_in_any_order(tmp_path, poses, catalog, server):
    write_recording(tmp_path / "a.mcap", poses, catalog)
    shown = Shown()
    playback = Playback(tmp_path / "a.mcap", server, shown, "pose_estimation")
    assert len(playback.times_ns) == 3
    assert shown.frame() == (0, 0.0)
    for frame in (1, 2, 0, 2):
        playback.show(frame)
        assert shown.frame() == (frame, frame)


def test_recordings_without_poses_and_other_files_are_refused_by_name(tmp_path, poses, catalog, capfd):
    write_recording(tmp_path / "a.mcap", poses, catalog)
    (tmp_path / "b.mcap").write_bytes((tmp_path / "a.mcap").read_bytes()[:200])
    cases = (
        (["--mcap", str(tmp_path / "a.mcap"), "--node", "left"], "no message on left/detections; it has /camera_info"),
        (["--mcap", str(tmp_path / "b.mcap")], "b.mcap: no whole MCAP file"),
        (["--mcap", str(tmp_path / "c.mcap")], "c.mcap"),
        (["--mcap", str(tmp_path / "a.mcap"), "--planning-scene", "planning_scene"], "--planning-scene: is of a node"),
        (["--planning-scene", "a b"], "a b"),
        (["--port", "70000"], "--port 70000"),
        (["--host", "203.0.113.1"], "--host 203.0.113.1"),
        (["--node", "a b"], "a b"),
        (["--ros-args", "--remp", "a:=b"], "--remp"),
    )
    for words, told in cases:
        assert main(words) == 2
        assert told in capfd.readouterr().err


def test_without_the_messages_of_moveit_a_planning_scene_is_refused_in_one_line(monkeypatch, capfd):
    for module in ("moveit_msgs", "moveit_msgs.msg"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["--planning-scene", "planning_scene", "--port", "18095"]) == 2
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("pose_view: "))
    assert line.startswith("pose_view: error: moveit_msgs is not installed; install it (ros-$ROS_DISTRO-moveit-msgs)")
