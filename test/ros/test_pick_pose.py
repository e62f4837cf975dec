"""The example of a planner against a real node over DDS: it gets the right pose, or says why none."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")

from geometry_msgs.msg import TransformStamped  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402

from pose_estimation_ros.objects.catalog import Catalog, ObjectFrame  # noqa: E402

from . import tf2_stand_in  # noqa: E402
from .camera_messages import image, info  # noqa: E402
from .conftest import EMPTY_PIXEL, rigid  # noqa: E402

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "pick_pose.py"
CAMERA = "camera_optical"
LID = rigid("x", 90.0, (0.0, 0.02, 0.05))
BASE_FROM_OBJECT = rigid("y", 40.0, (0.5, 0.1, 0.0))


@pytest.fixture
def example(monkeypatch):
    """Return the example as a module, on the genuine tf2_ros where that is installed."""
    specification = importlib.util.spec_from_file_location("pick_pose", EXAMPLE)
    module = importlib.util.module_from_spec(specification)
    with monkeypatch.context() as patch:  # the node does without
        if importlib.util.find_spec("tf2_ros") is None:
            patch.setitem(sys.modules, "tf2_ros", tf2_stand_in)
        patch.setitem(sys.modules, "pick_pose", module)
        specification.loader.exec_module(module)
    return module


@pytest.fixture
def catalog(catalog) -> Catalog:
    return Catalog((replace(catalog[0], frames=(ObjectFrame("lid", LID),)), *catalog.objects[1:]))


class Arm:
    """Carry the camera about, and take pictures until the planner is content."""

    def __init__(self, bench, pipeline, module) -> None:
        self.bench, self.module = bench, module
        self.value = 100  # of the pixels
        self.base = "base_link"  # empty: the arm says nothing of where it is
        self.base_from_object = lambda second: BASE_FROM_OBJECT
        self._topic = bench.client.create_publisher(TFMessage, "/tf", 50)
        self._second = 0
        self._seen: dict[int, np.ndarray] = {}  # poses in the camera, by the second of the picture
        process = pipeline.process

        def process_what_was_taken(frame):
            pipeline.poses[0].camera_from_object = self._seen[frame.stamp_ns // 1_000_000_000]
            return process(frame)

        pipeline.process = process_what_was_taken

    def send(self) -> None:
        """Take a picture; the camera is elsewhere in every one."""
        self._second += 1
        base_from_camera = rigid("z", 3.0 * self._second, (0.02 * self._second, 0.3, 0.9))
        self._seen[self._second] = np.linalg.inv(base_from_camera) @ self.base_from_object(self._second)
        picture, camera_info = image(self._second, self.value), info(self._second)
        picture.header.frame_id = camera_info.header.frame_id = CAMERA
        self.bench.send(picture, camera_info)
        if self.base:
            placed = TransformStamped(child_frame_id=CAMERA)
            placed.header.frame_id, placed.header.stamp = self.base, picture.header.stamp
            turn = Rotation.from_matrix(base_from_camera[:3, :3]).as_quat()
            rotation, place = placed.transform.rotation, placed.transform.translation
            rotation.x, rotation.y, rotation.z, rotation.w = (float(value) for value in turn)
            place.x, place.y, place.z = (float(value) for value in base_from_camera[:3, 3])
            self._topic.publish(TFMessage(transforms=[placed]))

    def pick(self, *words: str):
        """Run the planner while pictures are taken."""
        node = rclpy.create_node("planner", context=self.bench.client.context)
        buffer = self.module.tf2_ros.Buffer()
        listener = self.module.tf2_ros.TransformListener(buffer, node)
        options = self.module.parser().parse_args(["--object", "box", "--images", "3", "--timeout-s", "6", *words])
        found: list = []
        planner = threading.Thread(target=lambda: found.append(self.module.pick(node, buffer, options)))
        planner.start()
        while planner.is_alive():
            self.send()
            time.sleep(0.05)
        listener.unregister()
        node.destroy_node()
        return found[0]


@pytest.fixture
def arm(make_bench, pipeline, example) -> Arm:
    bench = make_bench()
    bench.wait_until_connected()
    return Arm(bench, pipeline, example)


def as_matrix(pose: TransformStamped) -> np.ndarray:
    place, turn = pose.transform.translation, pose.transform.rotation
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix()
    matrix[:3, 3] = place.x, place.y, place.z
    return matrix


def test_the_grasp_stands_still_in_the_base_while_the_arm_moves_the_camera(arm):
    pose, reason = arm.pick("--frame", "lid")
    assert pose is not None, reason
    assert (pose.header.frame_id, pose.child_frame_id) == ("base_link", "box_1/lid")
    assert as_matrix(pose) == pytest.approx(BASE_FROM_OBJECT @ LID, abs=1e-9)


def test_it_says_why_there_is_no_stable_pose(arm):
    short = ("--timeout-s", "1.5")
    assert "seen: box, can" in arm.pick("--object", "cup", *short)[1]
    assert arm.pick("--min-score", "0.95", *short)[1] == "box_1 scores 0.90; expected 0.95 or more"
    assert "no transform from box_1/handle to base_link" in arm.pick("--frame", "handle", *short)[1]
    arm.base_from_object = lambda second: rigid("x", 0.0, (0.01 * second, 0.0, 0.0))
    pose, reason = arm.pick(*short)
    assert pose is None and "box_1 moved by " in reason and "in 3 images; allowed are 5 mm and 3" in reason, reason
    arm.value = EMPTY_PIXEL
    assert arm.pick(*short)[1] == "no box in the newest image (seen: nothing)"
    arm.base = ""
    arm.value = 100
    arm.bench.node.trigger_deactivate()
    assert "nothing came on /pose_estimation/detections for" in arm.pick("--timeout-s", "2.5")[1]


def test_a_node_that_works_on_demand_is_called(make_bench, pipeline, example):
    bench = make_bench(processing="on_demand", detect_timeout_s=0.3)
    bench.wait(lambda: bench.node.state == "active", "an active node")
    arm = Arm(bench, pipeline, example)
    pose, reason = arm.pick("--detect", "--frame", "lid")
    assert pose is not None, reason
    assert as_matrix(pose) == pytest.approx(BASE_FROM_OBJECT @ LID, abs=1e-9)
    arm.value = EMPTY_PIXEL
    _, reason = arm.pick("--detect", "--timeout-s", "1.5")
    assert "nothing above 0.5" in reason or "seen: nothing" in reason
