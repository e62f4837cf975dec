"""A real node driven over DDS: image in; TF, detections, markers and diagnostics out."""

from __future__ import annotations

import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from builtin_interfaces.msg import Time  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue  # noqa: E402
from rcl_interfaces.srv import SetParametersAtomically  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402
from visualization_msgs.msg import Marker  # noqa: E402

from pose_estimation_ros.geometry.camera import Camera  # noqa: E402
from pose_estimation_ros.ros.camera_info import info_from_camera  # noqa: E402
from pose_estimation_ros.ros.images import rgb_to_compressed, rgb_to_image  # noqa: E402

WIDTH, HEIGHT = 64, 48
CAMERA = Camera(np.array([[60.0, 0.0, 31.5], [0.0, 60.0, 23.5], [0.0, 0.0, 1.0]]), WIDTH, HEIGHT)


def header(second: int, frame_id: str = "left camera/optical") -> Header:
    return Header(stamp=Time(sec=second, nanosec=123456789), frame_id=frame_id)


def image(second: int, value: int = 100, **fields) -> Image:
    message = rgb_to_image(np.full((HEIGHT, WIDTH, 3), value, dtype=np.uint8), header(second))
    for name, field in fields.items():
        setattr(message, name, field)
    return message


def info(second: int, **fields) -> CameraInfo:
    message = info_from_camera(CAMERA, header(second))
    for name, field in fields.items():
        setattr(message, name, field)
    return message


def send_until_processed(bench, second: int = 1) -> None:
    """Show that the node lives: a good image comes through."""
    before = len(bench.received["detections"])
    bench.send(image(second), info(second))
    bench.wait(lambda: len(bench.received["detections"]) > before, "detections of a good image")


def test_image_comes_out_as_tf_detections_and_markers_with_its_header(make_bench, pipeline):
    bench = make_bench(frame_prefix="seen/")
    bench.wait_until_connected()
    bench.send(image(7), info(7))
    bench.wait(lambda: bench.received["markers"], "markers")
    transforms = bench.received["tf"][0].transforms
    assert [item.child_frame_id for item in transforms] == ["seen/box_1", "seen/can_2"]
    assert all(item.header == header(7) for item in transforms)
    assert (transforms[0].transform.translation.x, transforms[0].transform.translation.z) == (0.1, 0.8)
    detections = bench.received["detections"][0]
    assert detections.header == header(7)
    assert all(item.header == header(7) for item in detections.detections)
    assert [item.results[0].hypothesis.class_id for item in detections.detections] == ["box", "can"]
    bench.wait(lambda: bench.received["detections_2d"], "2D detections")
    assert [item.id for item in bench.received["detections_2d"][0].detections] == ["1", "2"]
    assert all(item.header == header(7) for item in bench.received["markers"][0].markers)
    assert np.array_equal(pipeline.frames[0].camera.intrinsics, CAMERA.intrinsics)
    assert pipeline.frames[0].stamp_ns == 7_123_456_789


def test_nothing_seen_gives_empty_detections_no_tf_deleted_markers_and_a_reason(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    bench.send(image(1), info(1))
    bench.wait(lambda: bench.received["markers"], "markers")
    bench.send(image(2, value=13), info(2))
    bench.wait(lambda: len(bench.received["markers"]) == 2, "markers of the empty image")
    assert bench.received["detections"][1].detections == []
    assert bench.received["detections"][1].header == header(2)
    deleted = [(item.ns, item.id, item.action) for item in bench.received["markers"][1].markers]
    kinds = ("mesh", "box", "axes", "label")
    assert set(deleted) == {
        (f"{kind}/{name}", number, Marker.DELETE) for kind in kinds for name, number in (("box", 1), ("can", 2))
    }
    assert len(bench.received["tf"]) == 1
    bench.wait(lambda: bench.status_message() == "nothing above 0.5", "the pipeline's reason")
    assert bench.value("reason") == "nothing above 0.5"


def test_same_stamp_is_never_sent_to_tf_twice(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    for second in (1, 1, 2):
        send_until_processed(bench, second)
    bench.wait(lambda: len(bench.received["tf"]) >= 2, "transforms")
    assert [item.transforms[0].header.stamp.sec for item in bench.received["tf"]] == [1, 2]


def test_empty_frame_id_gives_detections_and_an_error_but_no_tf(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    bench.send(image(1, header=header(1, "")), info(1))
    bench.wait(lambda: "frame_id is empty" in bench.status_message(), "an error")
    assert bench.received["tf"] == []
    assert len(bench.received["detections"]) == 1


BAD_INPUTS = [
    pytest.param({"encoding": "rainbow"}, {}, "encoding = 'rainbow'", id="unknown encoding"),
    pytest.param({"step": 5}, {}, "step = 5", id="wrong step"),
    pytest.param({"height": 2 * HEIGHT}, {}, "data has 9216 bytes: expected 18432", id="wrong height"),
    pytest.param({}, {"k": np.zeros(9)}, "k[0] = 0: the camera is uncalibrated", id="uncalibrated"),
    pytest.param({}, {"k": np.full(9, np.nan)}, "expected finite numbers", id="NaN intrinsics"),
    pytest.param(
        {}, {"width": 1280, "height": 960}, "describes an image of 1280x960 pixels, the image has 64x48", id="size"
    ),
    pytest.param(
        {},
        {"distortion_model": "equidistant", "d": [0.1, 0.0, 0.0, 0.0]},
        "distortion_model = 'equidistant'",
        id="fisheye",
    ),
    pytest.param({"data": []}, {}, "data has 0 bytes", id="no data"),
]


@pytest.mark.parametrize(("image_fields", "info_fields", "message"), BAD_INPUTS)
def test_bad_input_is_named_and_the_node_lives(make_bench, image_fields, info_fields, message):
    bench = make_bench()
    bench.wait_until_connected()
    bench.send(image(1, **image_fields), info(1, **info_fields))
    bench.wait(lambda: message in bench.status_message(), f"{message!r} in diagnostics")
    assert bench.status().level == b"\x02"
    assert bench.value("frames_refused") == "1"
    assert bench.received["detections"] == []
    send_until_processed(bench, 2)
    bench.wait(lambda: bench.status_message() == "2 objects", "good diagnostics")


def test_same_error_is_logged_once(make_bench, monkeypatch):
    bench = make_bench()
    bench.wait_until_connected()
    logged = []
    monkeypatch.setattr(bench.node.get_logger(), "error", logged.append)
    for second in range(1, 4):
        bench.send(image(second, encoding="rainbow"), info(second))
        bench.wait(lambda wanted=str(second): bench.value("frames_refused") == wanted, "a refusal")
    assert len(logged) == 1
    assert "rainbow" in logged[0]


def test_exception_in_the_pipeline_is_reported_and_the_node_lives(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    bench.send(image(1, value=66), info(1))
    bench.wait(lambda: "the network is on fire" in bench.status_message(), "the exception in diagnostics")
    send_until_processed(bench, 2)


def test_bundle_that_cannot_be_loaded_leaves_the_node_alive_and_unconfigured(make_bench, catalog, pipeline):
    from pose_estimation_ros.objects.bundle import BundleError
    from pose_estimation_ros.ros.loading import LoadedPipeline

    attempts = []

    def factory(parameters):
        attempts.append(parameters["bundle"])
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
    from pose_estimation_ros.ros.loading import load_pipeline

    (tmp_path / "bundle.yaml").write_text("name: broken\nobjects: [{id: 1, name: cube, diameter_m: 102.1}]\n")
    bench = make_bench(load_pipeline, bundle=str(tmp_path))
    bench.wait(lambda: "bundle.yaml: objects.0.mesh" in bench.status_message(), "the field that is wrong")
    absent = make_bench(load_pipeline, bundle=str(tmp_path / "absent"))
    absent.wait(lambda: "no bundle.yaml in" in absent.status_message(), "the places searched")


def test_frames_that_come_too_fast_are_dropped_and_counted(make_bench, pipeline):
    pipeline.seconds = 0.3
    bench = make_bench()
    bench.wait_until_connected()
    for second in range(1, 11):
        bench.send(image(second), info(second))
        time.sleep(0.02)
    bench.wait(lambda: bench.value("frames_received") == "10", "ten images")
    bench.wait(
        lambda: bench.received["detections"] and bench.received["detections"][-1].header.stamp.sec == 10, "the newest"
    )
    bench.wait(
        lambda: int(bench.value("frames_processed")) + int(bench.value("frames_dropped")) == 10,
        "every frame to be counted",
    )
    assert int(bench.value("frames_dropped")) >= 6


def test_lifecycle_subscribes_only_while_active_and_frees_the_pipeline(make_bench):
    bench = make_bench(autostart=False)
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
    assert bench.node._loaded is None


def test_thresholds_change_between_frames_and_bad_or_read_only_values_are_refused(make_bench, pipeline):
    bench = make_bench()
    bench.wait_until_connected()
    send_until_processed(bench, 1)

    def set_parameter(name: str, **value):
        request = SetParametersAtomically.Request(parameters=[Parameter(name=name, value=ParameterValue(**value))])
        return bench.call(SetParametersAtomically, "/pose_estimation/set_parameters_atomically", request).result

    double = ParameterType.PARAMETER_DOUBLE
    assert set_parameter("detector.score_threshold", type=double, double_value=0.75).successful
    send_until_processed(bench, 2)
    assert pipeline.thresholds == [0.5, 0.75]
    refused = set_parameter("detector.score_threshold", type=double, double_value=1.5)
    assert not refused.successful
    assert "detector.score_threshold" in refused.reason
    fixed = set_parameter("backend", type=ParameterType.PARAMETER_STRING, string_value="other")
    assert not fixed.successful
    assert "read-only" in fixed.reason


def test_bad_start_value_is_refused_with_the_reason(make_bench):
    with pytest.raises(ValueError, match=r"parameter detector.score_threshold = 3: expected 0 to 1"):
        make_bench(detector__score_threshold=3.0)
    with pytest.raises(ValueError, match=r"parameter image_transport = 'pigeon': expected one of raw, compressed"):
        make_bench(image_transport="pigeon")


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


def test_stamps_that_go_back_reset_the_tracks(make_bench, pipeline):
    bench = make_bench()
    bench.wait_until_connected()
    for second in (10, 3):
        send_until_processed(bench, second)
    assert pipeline.resets == 1


def test_camera_info_after_its_image_still_belongs_to_it(make_bench, pipeline):
    bench = make_bench()
    bench.wait_until_connected()
    bench.image_topic.publish(image(1))
    bench.wait(lambda: "no camera_info received on /camera_info" in bench.status_message(), "the reason of the silence")
    bench.info_topic.publish(info(1))
    bench.wait(lambda: pipeline.frames, "the frame")
    assert pipeline.frames[0].stamp_ns == 1_123_456_789


def test_overlay_is_drawn_only_while_somebody_subscribes(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    bench.wait(lambda: bench.value("frames_processed") == "1", "the end of the first frame")
    bench.listen("/pose_estimation/overlay", Image)
    bench.wait(lambda: bench.node._outputs._overlay.get_subscription_count(), "the subscription")
    time.sleep(0.1)
    send_until_processed(bench, 2)
    bench.wait(lambda: bench.received["overlay"], "the overlay")
    assert len(bench.received["overlay"]) == 1
    drawn = bench.received["overlay"][0]
    assert drawn.header == header(2)
    assert np.frombuffer(drawn.data, np.uint8).std() > 5.0


def test_pictures_of_the_backend_are_drawn_only_while_somebody_subscribes(make_bench, pipeline):
    bench = make_bench()
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    bench.wait(lambda: bench.value("frames_processed") == "1", "the end of the first frame")
    assert pipeline.explained == 0
    bench.listen("/pose_estimation/debug/votes", Image)
    bench.wait(lambda: bench.node._outputs._debug["votes"].get_subscription_count(), "the subscription")
    time.sleep(0.1)
    send_until_processed(bench, 2)
    bench.wait(lambda: bench.received["votes"], "the picture")
    picture = bench.received["votes"][0]
    assert picture.header == header(2)
    assert set(bytes(picture.data)) == {14}  # seven for each of two detections; the other picture has no listener
    assert pipeline.explained == 1


def test_compressed_images_are_taken_when_asked_for(make_bench, pipeline):
    bench = make_bench(image_transport="compressed")
    bench.wait(lambda: bench.compressed_topic.get_subscription_count(), "the subscription")
    bench.wait(lambda: bench.info_topic.get_subscription_count(), "the subscription")
    time.sleep(0.1)
    rgb = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    rgb[:] = (200, 100, 50)
    bench.info_topic.publish(info(1))
    bench.compressed_topic.publish(rgb_to_compressed(rgb, header(1)))
    bench.wait(lambda: pipeline.frames, "the frame")
    assert np.abs(pipeline.frames[0].rgb.astype(int) - (200, 100, 50)).max() <= 3


def test_diagnostics_tell_timings_and_what_is_missing(make_bench, pipeline):
    pipeline.seconds = 0.02
    bench = make_bench()
    bench.wait(lambda: "no image on /image" in bench.status_message(), "the missing image")
    bench.wait_until_connected()
    for second in range(1, 6):
        send_until_processed(bench, second)
    bench.wait(lambda: bench.value("frames_processed") == "5", "five frames")
    assert float(bench.value("detection_ms")) == pytest.approx(20.0)
    assert 20.0 <= float(bench.value("total_ms")) <= float(bench.value("latency_ms_p50"))
    assert 0.0 < float(bench.value("overhead_ms")) < 20.0
    assert bench.value("state") == "active"
    assert bench.status().name == "/pose_estimation"
