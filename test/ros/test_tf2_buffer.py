"""The poses in a genuine tf2 buffer, as a planner reads them: what docs/robot.md says of look-ups."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("rclpy")
tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from rclpy.clock import ClockType  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from rclpy.time import Time  # noqa: E402

from .camera_messages import image, info, send_until_processed  # noqa: E402

CAMERA = "left_camera_optical"


def test_all_that_tf2_ros_imports_is_there():
    from tf2_msgs.action import LookupTransform
    from tf2_msgs.msg import TF2Error
    from tf2_msgs.srv import FrameGraph

    assert FrameGraph.Response(frame_yaml="a: b").frame_yaml == "a: b"
    goal = LookupTransform.Goal(target_frame="base", source_frame="mug_0", advanced=True)
    assert (goal.target_frame, goal.source_frame, goal.advanced) == ("base", "mug_0", True)
    assert LookupTransform.Result(error=TF2Error(error=TF2Error.EXTRAPOLATION_ERROR)).error.error == 3


@pytest.fixture
def listening(make_bench):
    """A node that works, and a tf2 buffer that hears it."""
    tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros is not installed")
    bench = make_bench()
    buffer = tf2_ros.Buffer()
    listener = tf2_ros.TransformListener(buffer, bench.client)
    bench.wait_until_connected()
    yield bench, buffer
    listener.unregister()


def send(bench, second: int) -> None:
    picture, camera_info = image(second), info(second)
    picture.header.frame_id = camera_info.header.frame_id = CAMERA
    bench.send(picture, camera_info)


def test_a_look_up_at_the_image_s_time_gives_the_pose_of_that_image(listening):
    bench, buffer = listening
    send(bench, 7)
    bench.wait(lambda: bench.received["detections"], "detections")
    detections = bench.received["detections"][0]
    when = Time.from_msg(detections.header.stamp)
    for item in detections.detections:
        bench.wait(lambda frame=item.id: buffer.can_transform(CAMERA, frame, when), f"{item.id} in the buffer")
        found = buffer.lookup_transform(CAMERA, item.id, when)
        position = item.results[0].pose.pose.position
        translation = found.transform.translation
        assert (translation.x, translation.y, translation.z) == pytest.approx((position.x, position.y, position.z))


def test_a_look_up_of_now_fails_and_one_of_the_newest_tells_its_age(listening):
    import tf2_ros

    bench, buffer = listening
    for second in (7, 8):
        send(bench, second)
        bench.wait(lambda count=second - 6: len(bench.received["detections"]) == count, "detections")
    bench.wait(lambda: buffer.can_transform(CAMERA, "box_1", Time(seconds=8)), "the pose in the buffer")
    now = Time(seconds=9, clock_type=ClockType.ROS_TIME)
    with pytest.raises(tf2_ros.ExtrapolationException):
        buffer.lookup_transform(CAMERA, "box_1", now)
    newest = buffer.lookup_transform(CAMERA, "box_1", Time())  # of whatever time
    age = now - Time.from_msg(newest.header.stamp)
    assert Duration(seconds=0.8) < age < Duration(seconds=0.9)


def test_poses_stay_in_the_buffer_after_their_node_has_gone(listening):
    """So a planner has to look at their age."""
    bench, buffer = listening
    send_until_processed(bench, 1)
    frame = "left camera/optical"
    bench.wait(lambda: buffer.can_transform(frame, "box_1", Time()), "the pose in the buffer")
    bench.node.trigger_deactivate()
    time.sleep(0.5)
    assert buffer.lookup_transform(frame, "box_1", Time()).header.stamp.sec == 1
