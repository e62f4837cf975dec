"""What the console says of a real node whose images come, or do not."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import CameraInfo, Image

from .camera_messages import image, info, send_until_processed


@pytest.fixture
def heard(monkeypatch):
    """Return a function that starts to keep what a node says at a level."""
    monkeypatch.setattr("pose_estimation_ros.ros.announcements.PATIENCE_S", 1.0)

    def listen(bench, level: str) -> list[str]:
        said: list[str] = []
        monkeypatch.setattr(bench.node.get_logger(), level, said.append)
        return said

    return listen


def activate(bench) -> None:
    for number in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=number))
        assert bench.call(ChangeState, "/pose_estimation/change_state", request).success
    bench.wait_until_connected()


def test_topics_first_image_and_first_poses_are_said_once(make_bench, heard):
    bench = make_bench(autostart=False)
    said = heard(bench, "info")
    activate(bench)
    bench.send(image(1, value=13), info(1))  # nothing is seen in this one
    bench.wait(lambda: bench.value("frames_processed") == "1", "the empty image")
    for second in (2, 3):
        send_until_processed(bench, second)
    bench.wait(lambda: bench.value("frames_processed") == "3", "three images")
    assert [line for line in said if "loading" not in line and "ready" not in line] == [
        "waiting for /image and /camera_info",
        "first image on /image: 64x48 rgb8, frame_id 'left camera/optical'",
        "first poses: box, can",
    ]


def test_missing_images_are_warned_about_once_with_the_topics_that_may_be_meant(make_bench, heard):
    bench = make_bench()
    bench.client.destroy_publisher(bench.image_topic)
    other = bench.client.create_publisher(Image, "/camera/image_raw", 5)
    warned = heard(bench, "warning")
    line = bench.wait(lambda: warned and warned[0], "the warning")
    assert line == "no image on /image for 1 s (0 publishers); topics with such messages: /camera/image_raw"
    time.sleep(1.5)  # more silence
    assert len(warned) == 1
    bench.client.destroy_publisher(other)


def test_missing_camera_info_is_warned_about_once_while_images_come(make_bench, heard):
    bench = make_bench()
    bench.wait_until_connected()
    warned = heard(bench, "warning")
    other = bench.client.create_publisher(CameraInfo, "/camera/camera_info", 5)
    bench.client.destroy_publisher(bench.info_topic)
    second = iter(range(1, 10_000))

    def go_on() -> bool:
        bench.image_topic.publish(image(next(second)))
        return bool(warned)

    bench.wait(go_on, "the warning")
    assert warned == [
        "no camera_info received on /camera_info for 1 s (0 publishers); topics with such messages: /camera/camera_info"
    ]
    bench.client.destroy_publisher(other)


def test_images_that_stop_again_are_warned_about_again(make_bench, heard):
    bench = make_bench()
    warned = heard(bench, "warning")
    bench.wait_until_connected()
    bench.wait(lambda: len(warned) == 1, "the first warning")
    send_until_processed(bench)
    bench.wait(lambda: len(warned) == 2, "the second warning")
    assert warned[1] == "no image on /image for 1 s (1 publishers)"
