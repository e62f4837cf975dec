"""Markers: where they are, what they are called, and that they go when their object goes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("visualization_msgs.msg")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from pose_estimation_ros.ros.marker_lifetime import MarkerLifetime
from pose_estimation_ros.ros.markers import marker_array

HEADER = Header(frame_id="camera")


def test_every_object_has_its_markers_under_its_own_name_and_id(poses, catalog):
    markers = marker_array(HEADER, poses, (), catalog, {"can": "file:///can.ply"}, 2.5).markers
    assert sorted((marker.ns, marker.id) for marker in markers) == [
        ("axes/box", 1), ("axes/can", 2), ("box/box", 1), ("box/can", 2), ("label/box", 1), ("label/can", 2),
        ("mesh/can", 2),
    ]  # fmt: skip
    assert all(marker.action == Marker.ADD and marker.header == HEADER for marker in markers)


def test_markers_that_nobody_sends_again_vanish(poses, catalog):
    """Of a node that was killed nothing deletes them."""
    markers = marker_array(HEADER, poses, (), catalog, {"can": "file:///can.ply"}, 2.5).markers
    assert {(item.lifetime.sec, item.lifetime.nanosec) for item in markers} == {(2, 500_000_000)}


def test_poses_that_are_less_likely_are_less_opaque(poses, catalog):
    alphas = {}
    for score in (1.0, 0.5, 0.0):
        poses[0].score = score
        for item in marker_array(HEADER, poses[:1], (), catalog, {"box": "file:///box.ply"}, 2.5).markers:
            alphas.setdefault(item.ns, []).append(item.color.a)
    for ns in ("mesh/box", "box/box"):
        assert alphas[ns] == pytest.approx([1.0, 0.625, 0.25])


@pytest.mark.parametrize(
    ("sent_s", "lifetime_s"),
    [
        ([0.0], 10.0),  # nothing is known of the pace
        ([0.0, 0.5], 2.5),
        ([0.0, 0.5, 3.5, 4.0], 15.0),  # one frame took three seconds
        ([0.0, 3.0, *np.arange(3.1, 4.0, 0.1)], 1.0),  # which is long ago
        ([0.0, 1000.0], 60.0),
    ],
)
def test_lifetime_is_a_few_periods_of_the_slowest_of_the_last_frames(sent_s, lifetime_s):
    times = iter(sent_s)
    lifetime = MarkerLifetime(clock=lambda: next(times))
    assert [lifetime.next_s() for _ in sent_s][-1] == pytest.approx(lifetime_s)


def test_moved_object_keeps_ids(poses, catalog):
    before = {(marker.ns, marker.id) for marker in marker_array(HEADER, poses, (), catalog, {}, 2.5).markers}
    poses[0].camera_from_object[:3, 3] += 0.1
    assert before == {(marker.ns, marker.id) for marker in marker_array(HEADER, poses, (), catalog, {}, 2.5).markers}


def test_box_lines_are_the_twelve_edges(poses, catalog):
    (box,) = (item for item in marker_array(HEADER, poses[:1], (), catalog, {}, 2.5).markers if item.ns == "box/box")
    points = np.array([(point.x, point.y, point.z) for point in box.points]).reshape(12, 2, 3)
    lengths = np.sort(np.linalg.norm(points[:, 0] - points[:, 1], axis=1))
    assert lengths == pytest.approx([0.04] * 4 + [0.08] * 4 + [0.1] * 4)
    assert points.reshape(-1, 3).min(axis=0) == pytest.approx((0.0, -0.02, -0.03))
    assert (box.pose.position.x, box.pose.position.z) == (0.1, 0.8)


def test_mesh_in_millimetres_is_scaled_to_metres(poses, catalog):
    uris = {"box": "file:///box.ply", "can": "file:///can.ply"}
    scales = {item.ns: item.scale.x for item in marker_array(HEADER, poses, (), catalog, uris, 2.5).markers}
    assert scales["mesh/box"] == 1.0
    assert scales["mesh/can"] == 0.001


def test_label_floats_above_the_object_as_the_camera_sees_it(poses, catalog):
    (label,) = (
        item for item in marker_array(HEADER, poses[:1], (), catalog, {}, 2.5).markers if item.ns == "label/box"
    )
    assert label.text == "box 1  0.90"
    assert label.pose.position.y == pytest.approx(0.0 - 0.6 * 0.137)


def test_gone_tracks_are_deleted_by_name(catalog):
    markers = marker_array(HEADER, [], {("can", 7)}, catalog, {}, 2.5).markers
    assert {(marker.ns, marker.id) for marker in markers} == {
        (f"{kind}/can", 7) for kind in ("mesh", "box", "axes", "label")
    }
    assert all(marker.action == Marker.DELETE for marker in markers)
