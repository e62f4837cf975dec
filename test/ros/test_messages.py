"""TF and detection messages against transforms computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.objects.catalog import Catalog, ObjectFrame
from pose_estimation_ros.ros.messages import (
    detections_2d,
    detections_3d,
    quaternions_of,
    stamped_transforms,
)
from pose_estimation_ros.ros.recording import Recording

from .conftest import make_pose, rigid

HEADER = Header(frame_id="camera_optical")


def as_matrix(pose) -> np.ndarray:
    matrix = np.eye(4)
    q = pose.orientation
    matrix[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    matrix[:3, 3] = (pose.position.x, pose.position.y, pose.position.z)
    return matrix


def test_transforms_place_the_objects_in_the_camera(poses, catalog):
    transforms = stamped_transforms(HEADER, poses, catalog, "arm/")
    assert [item.child_frame_id for item in transforms] == ["arm/box_1", "arm/can_2"]
    first = transforms[0].transform
    assert (first.translation.x, first.translation.y, first.translation.z) == (0.1, -0.05, 0.8)
    # 90 degrees about z.
    half = np.sqrt(0.5)
    assert [first.rotation.x, first.rotation.y, first.rotation.z, first.rotation.w] == pytest.approx([0, 0, half, half])
    assert transforms[1].header == HEADER


def test_frames_of_an_object_are_children_of_every_instance_of_it_and_of_no_other(poses, catalog):
    lid = ObjectFrame("lid", rigid("x", 90.0, (0.0, 0.02, 0.05)))
    box = replace(catalog[0], frames=(lid, ObjectFrame("grip", rigid("z", 0.0, (0.1, 0.0, 0.0)))))
    second = make_pose(0, "box", 2, rigid("y", 30.0, (0.3, 0.0, 0.9)))
    placed = stamped_transforms(HEADER, [*poses, second], Catalog((box, catalog[1])), "arm/")
    assert [(item.header.frame_id, item.child_frame_id) for item in placed] == [
        ("camera_optical", "arm/box_1"),
        ("camera_optical", "arm/can_2"),
        ("camera_optical", "arm/box_2"),
        ("arm/box_1", "arm/box_1/lid"),
        ("arm/box_1", "arm/box_1/grip"),
        ("arm/box_2", "arm/box_2/lid"),
        ("arm/box_2", "arm/box_2/grip"),
    ]
    assert {(item.header.stamp.sec, item.header.stamp.nanosec) for item in placed} == {(0, 0)}
    first = placed[3].transform
    assert (first.translation.x, first.translation.y, first.translation.z) == (0.0, 0.02, 0.05)
    half = np.sqrt(0.5)
    assert [first.rotation.x, first.rotation.y, first.rotation.z, first.rotation.w] == pytest.approx([half, 0, 0, half])


def test_a_recording_keeps_objects_and_not_their_frames(poses, catalog):
    box = replace(catalog[0], frames=(ObjectFrame("lid", np.eye(4)),))
    recording = Recording()
    placed = stamped_transforms(HEADER, poses, Catalog((box, catalog[1])), "")
    recording.add_tf(TFMessage(transforms=placed), 7)
    assert recording.frames[0]["transforms"].keys() == {"box_1", "can_2"}


def test_quaternions_are_those_of_scipy(poses):
    expected = Rotation.from_matrix([pose.camera_from_object[:3, :3] for pose in poses]).as_quat(canonical=True)
    assert np.abs(np.einsum("ij,ij->i", quaternions_of(poses), expected)) == pytest.approx(1.0)


def test_detection_pose_is_the_mesh_and_box_centre_is_the_box(poses, catalog):
    first = detections_3d(HEADER, poses, catalog, "arm/").detections[0]
    assert as_matrix(first.results[0].pose.pose) == pytest.approx(poses[0].camera_from_object)
    # The box's centre (0.05, 0, 0.01) turned by 90 degrees about z is (0, 0.05, 0.01).
    centre = first.bbox.center.position
    assert (centre.x, centre.y, centre.z) == pytest.approx((0.1, 0.0, 0.81))
    assert first.bbox.center.orientation == first.results[0].pose.pose.orientation
    assert (first.bbox.size.x, first.bbox.size.y, first.bbox.size.z) == pytest.approx((0.1, 0.04, 0.08))
    assert (first.id, first.results[0].hypothesis.class_id) == ("arm/box_1", "box")
    assert first.results[0].hypothesis.score == pytest.approx(0.9)


def test_detections_are_joined_with_transforms_by_their_ids(poses, catalog):
    frames = [item.child_frame_id for item in stamped_transforms(HEADER, poses, catalog, "arm/")]
    assert [item.id for item in detections_3d(HEADER, poses, catalog, "arm/").detections] == frames


def test_covariance_is_passed_on_and_zero_when_unknown(poses, catalog):
    known, unknown = detections_3d(HEADER, poses, catalog, "arm/").detections
    matrix = known.results[0].pose.covariance.reshape(6, 6)
    assert matrix == pytest.approx(np.diag([1e-4, 2e-4, 3e-4, 0.01, 0.02, 0.03]))
    assert not unknown.results[0].pose.covariance.any()


def test_boxes_of_all_detections_come_out_with_the_track_where_there_is_one(poses, catalog):
    found = [Detection(1, 0.7, poses[1].box), Detection(0, 0.6, np.array([300.0, 10.0, 340.0, 70.0]))]
    tracked, untracked = detections_2d(HEADER, found, poses, catalog, "arm/").detections
    assert (tracked.id, tracked.results[0].hypothesis.class_id) == ("arm/can_2", "can")
    assert (untracked.id, untracked.results[0].hypothesis.class_id) == ("", "box")
    assert (untracked.bbox.center.position.x, untracked.bbox.center.position.y) == (320.0, 40.0)
    assert (untracked.bbox.size_x, untracked.bbox.size_y) == (40.0, 60.0)


def test_nothing_seen_is_an_empty_array_with_the_header(catalog):
    assert stamped_transforms(HEADER, [], catalog, "") == []
    message = detections_3d(HEADER, [], catalog, "")
    assert (message.header, message.detections) == (HEADER, [])
