"""A real node driven over DDS: how it starts, is configured, paused and ended."""

from __future__ import annotations

import time
import weakref

import pytest
import torch

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402
from visualization_msgs.msg import Marker  # noqa: E402

from pose_estimation_ros.objects.bundle import BundleError  # noqa: E402
from pose_estimation_ros.ros.loading import LoadedPipeline, load_pipeline  # noqa: E402

from .camera_messages import image, info, send_until_processed  # noqa: E402
from .conftest import LOST, FakePipeline  # noqa: E402


def test_bundle_that_cannot_be_loaded_leaves_the_node_alive_and_unconfigured(make_bench, catalog, pipeline):
    attempts = []

    def factory(given):
        attempts.append(given["bundle"])
        if len(attempts) == 1:
            raise BundleError("models/x/pix2pose.safetensors: weights of network 'pix2pose' not found")
        return LoadedPipeline(pipeline, catalog)

    bench = make_bench(factory, bundle="x")
    bench.wait(lambda: "weights of network 'pix2pose' not found" in bench.status_message(), "the reason")
    assert bench.status().level == b"\x02"
    assert bench.call(GetState, "/pose_estimation/get_state", GetState.Request()).current_state.label == "unconfigured"
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert bench.call(ChangeState, "/pose_estimation/change_state", request).success
    bench.wait_until_connected()
    send_until_processed(bench)


def test_real_bundles_that_are_missing_or_corrupt_are_refused_by_name(make_bench, tmp_path):
    (tmp_path / "bundle.yaml").write_text("name: broken\nobjects: [{id: 1, name: cube, diameter_m: 102.1}]\n")
    bench = make_bench(load_pipeline, bundle=str(tmp_path))
    bench.wait(lambda: "bundle.yaml: objects.0.mesh" in bench.status_message(), "the field that is wrong")
    absent = make_bench(load_pipeline, bundle=str(tmp_path / "absent"))
    absent.wait(lambda: "no bundle.yaml in" in absent.status_message(), "the places searched")


def test_lifecycle_subscribes_only_while_active_and_frees_the_pipeline(make_bench, catalog, poses):
    pipelines = []

    def factory(given):
        pipeline = FakePipeline(poses)
        pipelines.append(weakref.ref(pipeline))
        return LoadedPipeline(pipeline, catalog)

    bench = make_bench(factory, autostart=False)
    bench.wait(lambda: bench.status_message() == "unconfigured", "the state")

    def change(number: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=number))
        return bench.call(ChangeState, "/pose_estimation/change_state", request).success

    assert change(Transition.TRANSITION_CONFIGURE)
    assert bench.node.state == "inactive"
    assert bench.node.count_subscribers("/image") == 0
    assert change(Transition.TRANSITION_ACTIVATE)
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    assert change(Transition.TRANSITION_DEACTIVATE)
    bench.wait(lambda: bench.image_topic.get_subscription_count() == 0, "the subscription to go")
    bench.wait(lambda: bench.received["markers"][-1].markers[0].action == Marker.DELETE, "the markers to go")
    assert change(Transition.TRANSITION_ACTIVATE)
    bench.wait_until_connected()
    send_until_processed(bench, 2)
    assert change(Transition.TRANSITION_DEACTIVATE)
    assert change(Transition.TRANSITION_CLEANUP)
    assert bench.node.state == "unconfigured"
    assert [pipeline() for pipeline in pipelines] == [None]


UNFITTING_WHILE_ACTIVE = [
    Transition(id=Transition.TRANSITION_CONFIGURE),
    Transition(id=Transition.TRANSITION_ACTIVATE),
    Transition(id=Transition.TRANSITION_CLEANUP),
    Transition(id=Transition.TRANSITION_UNCONFIGURED_SHUTDOWN),
    Transition(id=Transition.TRANSITION_ON_ACTIVATE_SUCCESS),
    Transition(id=250),
    Transition(label="activate"),
    Transition(label="take off"),
]


def test_lifecycle_requests_that_do_not_fit_are_refused_and_the_node_goes_on(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    for transition in UNFITTING_WHILE_ACTIVE:
        request = ChangeState.Request(transition=transition)
        assert not bench.call(ChangeState, "/pose_estimation/change_state", request).success
        assert bench.node.state == "active"
    send_until_processed(bench)


def test_activation_of_an_unconfigured_node_is_refused_and_it_can_be_configured_then(make_bench):
    bench = make_bench(autostart=False)
    bench.wait(lambda: bench.status_message() == "unconfigured", "the state")
    answers = []
    for number in (Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=number))
        answers.append(bench.call(ChangeState, "/pose_estimation/change_state", request).success)
    assert answers == [False, True, True]
    bench.wait_until_connected()
    send_until_processed(bench)


def test_enable_and_reset_services(make_bench, pipeline):
    bench = make_bench()
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    assert bench.call(SetBool, "/pose_estimation/enable", SetBool.Request(data=False)).success
    bench.wait(lambda: bench.received["markers"][-1].markers[0].action == Marker.DELETE, "the markers to go")
    bench.send(image(2), info(2))
    bench.wait(lambda: bench.value("frames_received") == "2", "the image to arrive")
    bench.wait(lambda: "disabled" in bench.status_message(), "the reason")
    assert len(pipeline.frames) == 1
    assert bench.call(SetBool, "/pose_estimation/enable", SetBool.Request(data=True)).success
    assert bench.call(Trigger, "/pose_estimation/reset_tracks", Trigger.Request()).success
    send_until_processed(bench, 3)
    assert pipeline.resets == 1


def test_a_pause_does_not_wait_for_drawing_and_what_was_drawn_is_not_published(make_bench, pipeline):
    pipeline.drawing_s = 1.0
    bench = make_bench()
    bench.wait_until_connected()
    for topic in ("overlay", "debug/votes"):
        bench.listen(f"/pose_estimation/{topic}", Image)
        bench.wait(lambda topic=topic: bench.node.count_subscribers(f"/pose_estimation/{topic}"), "the subscription")
    enable = bench.client.create_client(SetBool, "/pose_estimation/enable")
    assert enable.wait_for_service(10.0)
    time.sleep(0.1)  # the publishers know of the subscriptions a little later than the graph
    bench.send(image(1), info(1))
    bench.wait(lambda: pipeline.drawn, "drawing to begin")
    asked_s = time.monotonic()
    answer = enable.call_async(SetBool.Request(data=False))
    bench.wait(answer.done, "an answer")
    assert time.monotonic() - asked_s < 0.2
    assert answer.result().success
    bench.wait(lambda: bench.received["markers"][-1].markers[0].action == Marker.DELETE, "the markers to go")
    bench.wait(lambda: bench.value("frames_processed") == "1", "the end of the frame")
    time.sleep(0.1)
    assert bench.received["overlay"] == []
    assert bench.received["votes"] == []


def test_unusable_cuda_ends_in_the_finalized_state_and_is_said_once(make_bench, pipeline, monkeypatch, lost_cuda):
    bench = make_bench()
    bench.wait_until_connected()
    said = []
    monkeypatch.setattr(bench.node.get_logger(), "fatal", said.append)
    send_until_processed(bench, 1)
    pipeline.error = lost_cuda
    bench.send(image(2), info(2))
    bench.wait(lambda: bench.value("state") == "finalized", "the error path of the life cycle")
    assert bench.call(GetState, "/pose_estimation/get_state", GetState.Request()).current_state.label == "finalized"
    assert (bench.status().level, bench.status_message(), said) == (b"\x02", LOST, [LOST])
    bench.wait(lambda: bench.image_topic.get_subscription_count() == 0, "the subscription to go")
    bench.wait(lambda: bench.received["markers"][-1].markers[0].action == Marker.DELETE, "the markers to go")
    assert len(pipeline.frames) == 2


def test_cuda_that_is_unusable_while_loading_ends_in_the_finalized_state(make_bench, lost_cuda):
    def factory(parameters):
        raise lost_cuda

    bench = make_bench(factory)
    bench.wait(lambda: bench.value("state") == "finalized", "the error path of the life cycle")
    assert bench.status_message() == LOST


@pytest.mark.usefixtures("lost_cuda")
def test_lack_of_gpu_memory_is_said_and_the_node_goes_on(make_bench, pipeline):
    bench = make_bench()
    bench.wait_until_connected()
    pipeline.error = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    bench.send(image(1), info(1))
    bench.wait(lambda: "out of memory" in bench.status_message(), "the reason")
    send_until_processed(bench, 2)
    bench.wait(lambda: bench.status_message() == "2 objects", "good diagnostics")


def test_every_image_is_accounted_for_across_a_pause_and_a_deactivation(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    send_until_processed(bench)
    assert bench.call(SetBool, "/pose_estimation/enable", SetBool.Request(data=False)).success
    bench.send(image(2), info(2))
    bench.wait(lambda: bench.value("frames_ignored") == "1", "the image that came while paused")
    assert bench.call(SetBool, "/pose_estimation/enable", SetBool.Request(data=True)).success
    bench.image_topic.publish(image(3, encoding="none"))
    bench.info_topic.publish(info(3))
    bench.wait(lambda: bench.value("frames_refused") == "1", "the image of no encoding")
    bench.image_topic.publish(image(0))  # older than every camera_info: it waits
    bench.wait(lambda: bench.value("frames_received") == "4", "the image that waits")
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    assert bench.call(ChangeState, "/pose_estimation/change_state", request).success
    fates = ("processed", "ignored", "refused", "dropped")
    bench.wait(
        lambda: [bench.value(f"frames_{name}") for name in fates] == list("1111"), "all four to be accounted for"
    )
