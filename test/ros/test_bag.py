"""MCAP schemas and files."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")
pytest.importorskip("mcap_ros2")

from geometry_msgs.msg import TransformStamped
from rclpy.serialization import serialize_message
from tf2_msgs.msg import TFMessage

from pose_estimation_ros.ros.bag import BagWriter, message_definition, read_messages


def test_definition_contains_every_type_once():
    text = message_definition("vision_msgs/msg/Detection3DArray")
    parts = [line.removeprefix("MSG: ") for line in text.splitlines() if line.startswith("MSG: ")]
    assert len(parts) == len(set(parts))
    assert {
        "vision_msgs/Detection3D",
        "vision_msgs/BoundingBox3D",
        "geometry_msgs/Quaternion",
        "std_msgs/Header",
    } <= set(parts)
    assert "builtin_interfaces/Time" in parts


@pytest.mark.parametrize("type_name", ["no_msgs/msg/Such", "vision_msgs/msg/Such"])
def test_unknown_type_is_named(type_name):
    with pytest.raises(FileNotFoundError, match=f"share/{type_name}.msg"):
        message_definition(type_name)


def test_what_to_do_without_an_environment_is_said(monkeypatch):
    monkeypatch.delenv("AMENT_PREFIX_PATH")
    with pytest.raises(FileNotFoundError, match="share/std_msgs/msg/Header.msg: not found .* source scripts/env.sh"):
        message_definition("std_msgs/msg/Header")


def test_what_rclpy_serializes_is_what_mcap_readers_decode(tmp_path):
    transform = TransformStamped(child_frame_id="can_1")
    transform.header.frame_id = "camera"
    transform.transform.translation.z = 0.75
    bag = BagWriter(tmp_path / "deeper" / "file.mcap")
    bag.add_topic("/tf", "tf2_msgs/msg/TFMessage")
    for stamp_ns in (5, 7):
        bag.write("/tf", serialize_message(TFMessage(transforms=[transform])), stamp_ns)
    bag.close()
    read = list(read_messages(tmp_path / "deeper" / "file.mcap", ["/tf"]))
    assert [(topic, stamp_ns) for topic, stamp_ns, _ in read] == [("/tf", 5), ("/tf", 7)]
    (decoded,) = read[0][2].transforms
    assert (decoded.header.frame_id, decoded.child_frame_id) == ("camera", "can_1")
    assert decoded.transform.translation.z == 0.75
