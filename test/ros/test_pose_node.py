"""A real node driven over DDS: image in; TF, detections, markers and diagnostics out."""

from __future__ import annotations

import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from sensor_msgs.msg import Image  # noqa: E402
from visualization_msgs.msg import Marker  # noqa: E402

from pose_estimation_ros.ros.images import rgb_to_compressed  # noqa: E402
from pose_estimation_ros.tracking.track_state import TrackState  # noqa: E402

from .camera_messages import CAMERA, HEIGHT, WIDTH, header, image, info, send_until_processed  # noqa: E402
from .conftest import BROKEN_PIXEL  # noqa: E402


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
    assert [item.id for item in detections.detections] == ["seen/box_1", "seen/can_2"]
    bench.wait(lambda: bench.received["detections_2d"], "2D detections")
    assert [item.id for item in bench.received["detections_2d"][0].detections] == ["seen/box_1", "seen/can_2"]
    assert all(item.header == header(7) for item in bench.received["markers"][0].markers)
    assert np.array_equal(pipeline.frames[0].camera.intrinsics, CAMERA.intrinsics)
    assert pipeline.frames[0].stamp_ns == 7_123_456_789


def test_diagnostics_tell_of_every_instance_also_of_those_that_are_not_seen(make_bench, pipeline):
    pipeline.tracks = [TrackState("box", 1, "seen", 12.34, 0.0, 99, 1), TrackState("can", 2, "unseen", 5.0, 0.26, 7)]
    bench = make_bench(frame_prefix="left/")
    bench.wait_until_connected()
    bench.send(image(1), info(1))
    bench.wait(lambda: bench.value("track left/can_2 state") == "unseen", "the states")
    keys = ("state", "age_s", "unseen_s", "frames", "alternatives")
    assert [bench.value(f"track left/box_1 {key}") for key in keys] == ["seen", "12.3", "0.0", "99", "1"]
    assert [bench.value(f"track left/can_2 {key}") for key in keys] == ["unseen", "5.0", "0.3", "7", "0"]


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
        {"distortion_model": "omnidirectional", "d": [0.1, 0.0, 0.0, 0.0]},
        "distortion_model = 'omnidirectional'",
        id="unknown lens",
    ),
    pytest.param({"data": []}, {}, "data has 0 bytes", id="no data"),
    pytest.param({}, {"k": [1e-6, 0.0, 32.0, 0.0, 1e-6, 24.0, 0.0, 0.0, 1.0]}, "field of view 180 degrees", id="focal"),
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


@pytest.fixture
def short_silence(monkeypatch):
    monkeypatch.setattr("pose_estimation_ros.ros.health.SILENCE_S", 0.5)


@pytest.mark.usefixtures("short_silence")
def test_a_camera_that_dies_is_told_with_its_age_and_shows_no_objects(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    bench.wait(lambda: bench.value("objects") == "2", "two objects")
    bench.wait(lambda: "no image on /image for" in bench.status_message(), "the silence")
    assert bench.value("objects") == "0"
    assert float(bench.value("image_age_s")) >= 0.5
    bench.wait(lambda: float(bench.value("result_age_s")) >= 0.5, "the age of the result, which came after the image")


@pytest.mark.usefixtures("short_silence")
def test_a_bad_image_is_no_longer_the_news_once_images_have_stopped(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    send_until_processed(bench, 1)
    bench.wait(lambda: bench.value("objects") == "2", "two objects")
    bench.send(image(2, step=5), info(2))
    bench.wait(lambda: "step = 5" in bench.status_message(), "the bad image")
    assert bench.value("objects") == "0"
    bench.wait(lambda: bench.status_message().startswith("no image on /image for"), "the silence")
    assert bench.status().level == b"\x01"
    assert "before that: image: step = 5" in bench.status_message()


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


CHANGING_REASONS = [
    pytest.param(lambda number: image(number, step=number), info, "step = 4", id="step"),
    pytest.param(image, lambda number: info(number, width=1000 + number, height=960), "1004x960", id="size"),
    pytest.param(lambda number: image(number, header=header(number, "")), info, "frame_id is empty", id="frame_id"),
    pytest.param(lambda number: image((number + 1) // 2), info, "stamp 2.123457 came before", id="stamp"),
    pytest.param(lambda number: image(number, BROKEN_PIXEL), info, "on fire in frame 4", id="exception"),
]


@pytest.mark.parametrize(("make_image", "make_info", "newest"), CHANGING_REASONS)
def test_a_reason_is_logged_once_whatever_its_values_and_its_newest_text_is_shown(
    make_bench, monkeypatch, make_image, make_info, newest
):
    bench = make_bench()
    bench.wait_until_connected()
    logged = []
    monkeypatch.setattr(bench.node.get_logger(), "error", logged.append)

    def handled() -> int:
        return int(bench.value("frames_refused") or 0) + int(bench.value("frames_processed") or 0)

    for number in range(1, 5):
        bench.send(make_image(number), make_info(number))
        bench.wait(lambda wanted=number: handled() == wanted, "the image to be handled")
    bench.wait(lambda: newest in bench.status_message(), "the newest reason")
    assert len(logged) == 1


def test_exception_in_the_pipeline_is_reported_and_the_node_lives(make_bench):
    bench = make_bench()
    bench.wait_until_connected()
    bench.send(image(1, BROKEN_PIXEL), info(1))
    bench.wait(lambda: "the network is on fire" in bench.status_message(), "the exception in diagnostics")
    send_until_processed(bench, 2)


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
    bench.wait(lambda: bench.node.count_subscribers("/pose_estimation/overlay"), "the subscription")
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
    assert pipeline.drawn == 0
    bench.listen("/pose_estimation/debug/votes", Image)
    bench.wait(lambda: bench.node.count_subscribers("/pose_estimation/debug/votes"), "the subscription")
    time.sleep(0.1)
    send_until_processed(bench, 2)
    bench.wait(lambda: bench.received["votes"], "the picture")
    picture = bench.received["votes"][0]
    assert picture.header == header(2)
    assert set(bytes(picture.data)) == {14}  # seven for each of two detections; the other picture has no listener
    assert pipeline.drawn == 1


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
    send_until_processed(bench, 1)
    bench.wait(lambda: bench.value("frames_processed") == "1", "one frame")
    parts_ms = [float(bench.value(f"{name}_ms")) for name in ("total", "wait", "overhead")]
    assert sum(parts_ms) == pytest.approx(float(bench.value("latency_ms_p50")), abs=0.03)  # they are rounded
    for second in range(2, 6):
        send_until_processed(bench, second)
    bench.wait(lambda: bench.value("frames_processed") == "5", "five frames")
    assert float(bench.value("detection_ms")) == pytest.approx(20.0)
    assert 20.0 <= float(bench.value("total_ms")) <= float(bench.value("latency_ms_p50"))
    assert 0.0 < float(bench.value("overhead_ms")) < 20.0
    assert bench.value("state") == "active"
    assert bench.status().name == "/pose_estimation"
