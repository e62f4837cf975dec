"""The service ~/detect of a real node over DDS: one image, one answer."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import Detection3DArray, LabelInfo

from pose_estimation_ros.ros.outputs import LATCHED

from .camera_messages import image, info, send_until_processed
from .conftest import BROKEN_PIXEL, EMPTY_PIXEL

DETECT = "/pose_estimation/detect"


def detect(bench):
    """Call the service; return the future, once the node has taken the call and looks for an image."""
    future = bench.call_async(Trigger, DETECT, Trigger.Request())
    for _ in range(2):  # in its thread the node has then come to what was asked before
        bench.call(GetState, "/pose_estimation/get_state", GetState.Request())
    topics = (bench.image_topic, bench.info_topic)
    bench.wait(lambda: future.done() or all(topic.get_subscription_count() for topic in topics), "subscriptions")
    return future


def answer(bench, future) -> tuple[bool, str]:
    bench.wait(future.done, "an answer")
    return future.result().success, future.result().message


@pytest.fixture
def on_demand(make_bench):
    bench = make_bench(processing="on_demand")
    bench.wait(lambda: bench.node.state == "active", "an active node")
    bench.wait(lambda: bench.status_message() == "ready for a call of ~/detect", "good diagnostics")
    return bench


def test_on_demand_one_image_is_taken_per_call_and_none_is_subscribed_in_between(on_demand, pipeline):
    bench = on_demand
    for second in (1, 2):
        assert bench.node.count_subscribers("/image") == 0
        bench.send(image(second), info(second))
    future = detect(bench)
    bench.send(image(7), info(7))
    said = "2 objects in the image of 7.123456789: box_1 0.90, can_2 0.80"
    assert answer(bench, future) == (True, said)
    bench.wait(lambda: bench.image_topic.get_subscription_count() == 0, "the subscription to go")
    bench.send(image(8), info(8))
    bench.wait(lambda: "newest image: 2 objects" in bench.status_message(), "the count")
    assert (bench.status().level, bench.value("frames_received"), bench.value("objects")) == (b"\x00", "1", "2")
    assert [frame.stamp_ns for frame in pipeline.frames] == [7_123_456_789]
    future = detect(bench)
    bench.send(image(9, EMPTY_PIXEL), info(9))
    assert answer(bench, future) == (False, "no objects in the image of 9.123456789: nothing above 0.5")


def test_results_on_demand_are_there_for_whoever_comes_later_and_their_markers_stay(on_demand):
    bench = on_demand
    future = detect(bench)
    bench.send(image(7), info(7))
    assert answer(bench, future)[0]
    late: list[Detection3DArray] = []
    bench.client.create_subscription(Detection3DArray, "/pose_estimation/detections", late.append, LATCHED)
    bench.wait(lambda: late, "the latched detections")
    assert [item.id for item in late[0].detections] == ["box_1", "can_2"]
    markers = bench.wait(lambda: bench.received["markers"], "markers")[0].markers
    assert {(item.lifetime.sec, item.lifetime.nanosec) for item in markers} == {(0, 0)}


def test_labels_are_there_for_whoever_comes_later_and_follow_the_threshold(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    labels: list[LabelInfo] = []
    bench.client.create_subscription(LabelInfo, "/pose_estimation/labels", labels.append, LATCHED)
    bench.wait(lambda: labels, "the latched labels")
    assert [(item.class_id, item.class_name) for item in labels[0].class_map] == [(0, "box"), (1, "can")]
    assert labels[0].threshold == 0.0
    bench.node.set_parameters([Parameter("pose.score_threshold", value=0.25)])
    for second in (1, 2):
        send_until_processed(bench, second)
    bench.wait(lambda: len(labels) == 2, "the new threshold, once")
    assert labels[1].threshold == 0.25


def test_what_follows_objects_from_frame_to_frame_detects_for_a_call(make_bench, pipeline):
    bench = make_bench()
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    assert pipeline.detected_anew == 0
    future = detect(bench)
    send_until_processed(bench, 2)
    assert answer(bench, future)[0]
    send_until_processed(bench, 3)
    assert pipeline.detected_anew == 1


def test_images_that_cannot_be_used_and_pipelines_that_break_are_an_answer(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    refused = detect(bench)
    bench.send(image(1, step=5), info(1))
    success, message = answer(bench, refused)
    assert not success and message.startswith("the image is refused: ") and "step = 5" in message
    broken = detect(bench)
    bench.send(image(2, BROKEN_PIXEL), info(2))
    expected = "RuntimeError while processing the image: the network is on fire in frame 1"
    assert answer(bench, broken) == (False, expected)


def test_transforms_that_tf_cannot_take_are_said(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    future = detect(bench)
    picture = image(1)
    picture.header.frame_id = ""
    bench.send(picture, info(1))
    success, message = answer(bench, future)
    assert success and "frame_id is empty" in message


def test_calls_at_once_share_an_image_and_one_that_comes_later_gets_the_next(make_bench, pipeline):
    pipeline.seconds = 0.3
    bench = make_bench()
    bench.wait_until_connected()
    together = [detect(bench) for _ in range(2)]
    bench.send(image(1), info(1))
    bench.wait(lambda: pipeline.frames, "the image in work")
    later = bench.call_async(Trigger, DETECT, Trigger.Request())
    answers = [answer(bench, future) for future in together]
    assert answers[0] == answers[1] and "in the image of 1.1" in answers[0][1]
    assert not later.done()
    bench.send(image(2), info(2))
    assert "in the image of 2.1" in answer(bench, later)[1]


def test_calls_that_cannot_be_served_are_answered_at_once(make_bench):
    bench = make_bench(autostart=False)
    expected = (False, "node is unconfigured: activate it first")
    assert answer(bench, bench.call_async(Trigger, DETECT, Trigger.Request())) == expected
    for number in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        change = ChangeState.Request(transition=Transition(id=number))
        assert bench.call(ChangeState, "/pose_estimation/change_state", change).success
    waiting = detect(bench)
    assert bench.call(SetBool, "/pose_estimation/enable", SetBool.Request(data=False)).success
    assert answer(bench, waiting) == (False, "disabled by ~/enable before an image was processed")
    assert answer(bench, detect(bench)) == (False, "disabled by ~/enable: enable it first")
    assert bench.call(SetBool, "/pose_estimation/enable", SetBool.Request(data=True)).success
    waiting = detect(bench)
    change = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    assert bench.call(ChangeState, "/pose_estimation/change_state", change).success
    assert answer(bench, waiting) == (False, "the node was deactivated before an image was processed")


def test_calls_are_answered_in_time_without_an_image_and_with_one_that_takes_too_long(make_bench, pipeline):
    bench = make_bench(processing="on_demand", detect_timeout_s=0.4)
    bench.wait(lambda: bench.node.state == "active", "an active node")
    expected = "no image on /image within detect_timeout_s = 0.4 (1 publishers)"
    assert answer(bench, bench.call_async(Trigger, DETECT, Trigger.Request())) == (False, expected)
    bench.wait(lambda: bench.image_topic.get_subscription_count() == 0, "the subscription to go")
    future = detect(bench)
    bench.image_topic.publish(image(1))
    expected = "no camera_info received on /camera_info within detect_timeout_s = 0.4 (1 publishers)"
    assert answer(bench, future) == (False, expected)
    pipeline.seconds = 0.8
    future = detect(bench)
    bench.send(image(2), info(2))
    expected = "the image is not done within detect_timeout_s = 0.4; its poses will be published"
    assert answer(bench, future) == (False, expected)
    bench.wait(lambda: bench.received["detections"], "the detections after all")


def test_calls_and_images_at_random_leave_no_call_unanswered(on_demand):
    bench, rng, futures = on_demand, np.random.default_rng(0), []
    for second in range(1, 40):
        if rng.random() < 0.5:
            futures.append(bench.call_async(Trigger, DETECT, Trigger.Request()))
        bench.send(image(second), info(second))
        time.sleep(0.02 * rng.random())
    for second in range(40, 400):
        if all(future.done() for future in futures):
            break
        bench.send(image(second), info(second))
        time.sleep(0.02)
    assert all(answer(bench, future)[0] for future in futures)
    bench.wait(lambda: bench.image_topic.get_subscription_count() == 0, "the subscription to go")
