"""Frames of objects: their names, and whether somebody else sends them, too."""

from __future__ import annotations

import pytest

pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from geometry_msgs.msg import TransformStamped
from rclpy.serialization import serialize_message
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from pose_estimation_ros.ros.frame_collisions import SentFrames
from pose_estimation_ros.ros.frame_names import child_frame, frame_prefix

from .camera_messages import header, image, info


@pytest.mark.parametrize(
    ("setting", "namespace", "expected"),
    [
        ("auto", "/", "mug_0"),
        ("auto", "/left", "left/mug_0"),
        ("auto", "/cell/left", "cell/left/mug_0"),
        ("", "/left", "mug_0"),
        ("seen_", "/left", "seen_mug_0"),
    ],
)
def test_frames_bear_the_namespace_unless_somebody_says_otherwise(setting, namespace, expected):
    assert child_frame(frame_prefix(setting, namespace), "mug", 0) == expected


def transform(child: str, second: int = 7, parent: str = "camera") -> TransformStamped:
    item = TransformStamped(header=Header(frame_id=parent), child_frame_id=child)
    item.header.stamp.sec = second
    return item


@pytest.mark.parametrize(
    ("seen", "foreign"),
    [
        ([transform("mug_0")], []),
        ([transform("base_link", 99, "map")], []),
        ([transform("mug_0", 8)], ["mug_0"]),
        ([transform("mug_0", parent="other_camera")], ["mug_0"]),
        ([transform("mug_0"), transform("mug_0")], ["mug_0"]),  # a second node at the same camera
    ],
)
def test_what_was_not_sent_from_here_is_another_s(seen, foreign):
    frames = SentFrames()
    frames.sent([transform("mug_0"), transform("can_1")])
    assert frames.foreign(seen) == foreign


def test_messages_without_our_frames_need_not_be_read():
    frames = SentFrames()
    frames.sent([transform("mug_0")])
    others = [transform("base_link", 1, "mug_0x"), transform("mug_01"), transform("mug_")]
    assert not frames.may_hold_ours(serialize_message(TFMessage(transforms=others)))
    assert frames.may_hold_ours(serialize_message(TFMessage(transforms=[*others, transform("mug_0")])))


def test_a_collision_is_warned_about_once_and_shown_in_diagnostics(make_bench, capfd):
    bench = make_bench()
    bench.wait_until_connected()
    other = bench.client.create_publisher(TFMessage, "/tf", 10)
    bench.wait(lambda: other.get_subscription_count() == 2, "the node to listen to /tf")
    bench.send(image(1), info(1))
    bench.wait(lambda: bench.received["markers"], "the first frame")
    assert "collision" not in bench.status_message()
    for second in range(2):
        other.publish(TFMessage(transforms=[transform("box_1", second, header(1).frame_id)]))
    text = "frame 'box_1' on /tf is sent by another node, too (publishers: /client): set frame_prefix"
    bench.wait(lambda: text in bench.status_message(), "the collision")
    assert bench.status().level == b"\x01"
    assert capfd.readouterr().err.count(text) == 1
