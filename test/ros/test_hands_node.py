"""The node `hands` driven over DDS: depth image in; TF, detections, markers and diagnostics out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from sensor_msgs.msg import Image  # noqa: E402
from visualization_msgs.msg import Marker  # noqa: E402

from pose_estimation_ros.data.nyu_hand import JOINTS  # noqa: E402
from pose_estimation_ros.methods.hands.training import new_bundle  # noqa: E402
from pose_estimation_ros.objects.bundle import load_bundle, save_bundle  # noqa: E402
from pose_estimation_ros.ros import image_node  # noqa: E402
from pose_estimation_ros.ros.hand_parameters import finder_settings  # noqa: E402
from pose_estimation_ros.ros.hands_node import HandsNode  # noqa: E402
from pose_estimation_ros.settings import SettingsError  # noqa: E402

from .camera_messages import CAMERA, HEIGHT, WIDTH, header, info  # noqa: E402
from .conftest import LOST, Bench  # noqa: E402

JOINTS_M = np.linspace([-0.1, -0.05, 0.5], [0.1, 0.08, 0.6], len(JOINTS))


class FakeFinder:
    """Sees one hand in whatever has depth, as far away as the nearest pixel."""

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []
        self.cameras: list[Any] = []
        self.go_on = threading.Event()  # images wait for it
        self.go_on.set()
        self.error: Exception | None = None  # raised by the next image

    def find(self, depth: np.ndarray, camera: Any) -> SimpleNamespace:
        self.images.append(depth)
        self.cameras.append(camera)
        assert self.go_on.wait(10.0)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if not (depth > 0).any():
            return SimpleNamespace(hands=[], reason="no depth measured", timings_s={})
        hand = SimpleNamespace(joints=JOINTS_M, score=0.9, inside=1.0)
        return SimpleNamespace(hands=[hand], reason=None, timings_s={"search": 0.001, "joints": 0.002})


@pytest.fixture
def start(domain_id: int) -> Iterator[Callable[..., tuple[Bench, FakeFinder]]]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    benches: list[Bench] = []

    def make(error: Exception | None = None, **parameters: Any) -> tuple[Bench, FakeFinder]:
        finder = FakeFinder()

        def load(_: Any) -> FakeFinder:
            if error is not None:
                raise error
            return finder

        values = {name.replace("__", "."): value for name, value in parameters.items()}
        bench = Bench(context, partial(HandsNode, load), "hands", **values)
        benches.append(bench)
        if error is None:
            bench.wait_until_connected()
        return bench, finder

    yield make
    for bench in benches:
        bench.close()
    context.try_shutdown()


def depth_image(second: int, values: np.ndarray, encoding: str) -> Image:
    return Image(
        header=header(second), height=HEIGHT, width=WIDTH, encoding=encoding, step=WIDTH * values.dtype.itemsize,
        data=values.tobytes(),
    )  # fmt: skip


def millimetres(second: int, value: int = 700) -> Image:
    return depth_image(second, np.full((HEIGHT, WIDTH), value, dtype=np.uint16), "16UC1")


def test_a_depth_image_comes_out_as_joints_on_tf_detections_and_a_skeleton_with_its_header(start):
    bench, finder = start(frame_prefix="seen/")
    bench.send(millimetres(7), info(7))
    bench.wait(lambda: bench.received["markers"], "markers")
    transforms = bench.received["tf"][0].transforms
    assert [item.child_frame_id for item in transforms][:2] == ["seen/hand_0/pinky_tip", "seen/hand_0/pinky_base"]
    assert "seen/hand_0/wrist_thumb_side" in [item.child_frame_id for item in transforms]
    assert all(item.header == header(7) for item in transforms)
    placed = [(item.transform.translation.x, item.transform.translation.z) for item in transforms]
    assert np.allclose(placed, JOINTS_M[:, [0, 2]])
    detection = bench.received["detections"][0].detections[0]
    assert detection.results[0].hypothesis.class_id == "hand" and detection.id == "seen/hand_0"
    assert detection.results[0].pose.pose.position.z == pytest.approx(0.6)
    assert detection.bbox.size.x == pytest.approx(0.2) and detection.bbox.center.position.z == pytest.approx(0.55)
    bones, joints = bench.received["markers"][0].markers
    assert (bones.type, joints.type) == (Marker.LINE_LIST, Marker.SPHERE_LIST)
    assert len(joints.points) == len(JOINTS) and len(bones.points) == 2 * (len(JOINTS) - 1)
    assert np.allclose(finder.images[0], 0.7) and np.array_equal(finder.cameras[0].intrinsics, CAMERA.intrinsics)


def test_the_times_of_the_finder_s_stages_are_told_and_no_others(start):
    bench, _ = start()
    bench.send(millimetres(1), info(1))
    bench.wait(lambda: bench.value("frames_processed") == "1", "the image")
    assert (bench.value("search_ms"), bench.value("joints_ms")) == ("1.00", "2.00")
    assert float(bench.value("total_ms")) >= 0.0
    told = {item.key for item in bench.status().values}
    assert not told & {"detection_ms", "crops_ms", "pose_ms", "refinement_ms", "verification_ms", "tracking_ms"}


def test_metres_are_read_as_well_and_no_hand_deletes_the_markers_with_a_reason(start):
    bench, finder = start()
    bench.send(depth_image(1, np.full((HEIGHT, WIDTH), 0.7, dtype=np.float32), "32FC1"), info(1))
    bench.wait(lambda: bench.received["markers"], "markers")
    assert np.allclose(finder.images[0], 0.7)
    bench.send(millimetres(2, 0), info(2))
    bench.wait(lambda: len(bench.received["markers"]) == 2, "markers of the empty image")
    assert {marker.action for marker in bench.received["markers"][1].markers} == {Marker.DELETE}
    assert bench.received["detections"][1].detections == [] and len(bench.received["tf"]) == 1
    bench.wait(lambda: bench.status_message() == "no depth measured", "the reason")


def test_an_image_that_is_no_depth_is_named_and_the_node_lives(start):
    bench, _ = start()
    bench.send(depth_image(1, np.zeros((HEIGHT, 3 * WIDTH), dtype=np.uint8), "rgb8"), info(1))
    bench.wait(lambda: "encoding = 'rgb8': expected 16UC1" in bench.status_message(), "the complaint")
    bench.send(millimetres(2), info(2))
    bench.wait(lambda: bench.received["detections"], "detections of a good image")


def test_a_stamp_that_came_before_sends_no_second_transforms(start):
    bench, _ = start()
    for count in (1, 2):
        bench.send(millimetres(3), info(3))
        bench.wait(lambda seen=count: len(bench.received["detections"]) == seen, "detections")
    assert len(bench.received["tf"]) == 1
    bench.wait(lambda: "transforms are sent once per stamp" in bench.status_message(), "the complaint")


def test_a_clock_that_goes_back_sends_transforms_again_and_lesser_disorder_does_not(start):
    bench, _ = start()
    for count, second in enumerate((7, 8, 7, 3, 4, 3), 1):
        bench.send(millimetres(second), info(second))
        bench.wait(lambda seen=count: len(bench.received["detections"]) == seen, "detections")
    bench.wait(lambda: bench.value("frames_processed") == "6", "all images")
    stamps = [message.transforms[0].header.stamp.sec for message in bench.received["tf"]]
    assert stamps == [7, 8, 3, 4]  # one second back is disorder; what came before is sent once


def test_diagnostics_tell_the_newest_result_while_an_image_is_in_work(start):
    bench, finder = start()
    bench.send(millimetres(1), info(1))
    bench.wait(lambda: bench.status_message() == "1 objects", "the hand of the first image")
    finder.go_on.clear()
    bench.send(millimetres(2), info(2))
    bench.wait(lambda: len(finder.images) == 2, "the second image to be in work")
    before = len(bench.received["diagnostics"])
    bench.wait(lambda: len(bench.received["diagnostics"]) >= before + 4, "diagnostics meanwhile")
    told = [message.status[0].message for message in bench.received["diagnostics"][before:]]
    finder.go_on.set()
    assert set(told) == {"1 objects"}
    bench.wait(lambda: bench.value("frames_processed") == "2", "the second image")


def test_an_image_that_fails_or_is_refused_leaves_no_hands_of_older_ones(start):
    bench, finder = start()
    bench.send(millimetres(1), info(1))
    bench.wait(lambda: bench.value("hands") == "1", "the hand")
    finder.error = RuntimeError("the network is on fire")
    bench.send(millimetres(2), info(2))
    bench.wait(lambda: "the network is on fire" in bench.status_message(), "the complaint")
    assert bench.value("hands") == "0"
    bench.send(millimetres(3), info(3))
    bench.wait(lambda: bench.value("hands") == "1", "the hand again")
    bench.send(depth_image(4, np.zeros((HEIGHT, 3 * WIDTH), dtype=np.uint8), "rgb8"), info(4))
    bench.wait(lambda: "encoding" in bench.status_message(), "the complaint")
    assert bench.value("hands") == "0"


def test_unusable_cuda_ends_in_the_finalized_state_and_is_said_once(start, monkeypatch, lost_cuda):
    bench, finder = start()
    said: list[str] = []
    monkeypatch.setattr(bench.node.get_logger(), "fatal", said.append)
    bench.send(millimetres(1), info(1))
    bench.wait(lambda: bench.received["markers"], "markers")
    finder.error = lost_cuda
    bench.send(millimetres(2), info(2))
    bench.wait(lambda: bench.value("state") == "finalized", "the error path of the life cycle")
    assert (bench.status().level, bench.status_message(), said) == (b"\x02", LOST, [LOST])
    assert bench.value("frames_refused") == "1"
    bench.wait(lambda: bench.image_topic.get_subscription_count() == 0, "the subscription to go")
    bench.wait(lambda: bench.received["markers"][-1].markers[0].action == Marker.DELETE, "the markers to go")


def test_cuda_that_is_unusable_while_loading_ends_in_the_finalized_state(start, lost_cuda):
    bench, _ = start(lost_cuda)
    bench.wait(lambda: bench.value("state") == "finalized", "the error path of the life cycle")
    assert bench.status_message() == LOST


@pytest.mark.usefixtures("lost_cuda")
def test_lack_of_gpu_memory_is_said_what_is_cached_is_released_and_the_node_goes_on(start, monkeypatch):
    released: list[BaseException | None] = []
    monkeypatch.setattr(image_node, "release_cached_memory", lambda error=None: released.append(error))
    bench, finder = start()
    finder.error = error = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    bench.send(millimetres(1), info(1))
    bench.wait(lambda: "out of memory" in bench.status_message(), "the reason")
    assert released == [error]
    bench.send(millimetres(2), info(2))
    bench.wait(lambda: bench.status_message() == "1 objects", "good diagnostics")


def test_declared_values_are_those_in_force_the_bundle_s_own_too(start, tmp_path):
    bundle = new_bundle(tmp_path / "mine")
    save_bundle(replace(bundle, settings={"hands": {"far_m": 0.9, "side": "left"}}))
    bench, _ = start(bundle=str(bundle.path), hands__side="right")
    found = {name: bench.node.get_parameter(f"hands.{name}").value for name in ("far_m", "side", "near_m")}
    assert found == {"far_m": 0.9, "side": "right", "near_m": 0.2}
    in_force = finder_settings({"hands.side": "right"}, load_bundle(bundle.path))
    assert {name: getattr(in_force, name) for name in found} == found


def test_a_bundle_that_is_not_there_is_named_and_unknown_parameters_are_refused(domain_id: int, capfd):
    from rclpy.parameter import Parameter

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    try:
        overrides = [Parameter("bundle", value="/nowhere"), Parameter("autostart", value=False)]
        node = HandsNode(context=context, parameter_overrides=overrides)
        node.trigger_configure()
        assert node.state == "unconfigured"
        assert "not configured: bundle '/nowhere': no bundle.yaml in /nowhere" in capfd.readouterr().err
        node.destroy_node()
        with pytest.raises(SettingsError, match="unknown setting 'hands.nearm'; did you mean 'hands.near_m'"):
            HandsNode(context=context, parameter_overrides=[Parameter("hands.nearm", value=0.1)])
    finally:
        context.try_shutdown()
