"""The node `planning_scene` between a pose node's messages and what MoveIt would hear, over DDS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")
pytest.importorskip("moveit_msgs.msg", reason="moveit_msgs is not installed: the bridge to MoveIt cannot run here")

from geometry_msgs.msg import TransformStamped  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402
from vision_msgs.msg import Detection3DArray, LabelInfo  # noqa: E402

from pose_estimation_ros.objects.bundle import load_bundle, save_bundle  # noqa: E402
from pose_estimation_ros.objects.catalog import Catalog, ObjectFrame  # noqa: E402
from pose_estimation_ros.ros.messages import detections_3d, pose_message, quaternions_of  # noqa: E402
from pose_estimation_ros.ros.planning_scene import node as bridge  # noqa: E402
from pose_estimation_ros.ros.view.content import transform_of  # noqa: E402

from . import tf2_stand_in  # noqa: E402
from .camera_messages import header  # noqa: E402
from .conftest import make_pose, rigid  # noqa: E402
from .planning_cell import NAMES, Cell  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Iterator[str]:
    """Return a bundle of two objects, one with a frame, without networks and meshes."""
    monkeypatch.setattr(bridge, "SETTLE_S", 0.0)
    demo = load_bundle("demo")
    first, second, *_ = demo.catalog
    handle = ObjectFrame("handle", rigid("y", 90.0, (0.05, 0.0, 0.0)))
    catalog = Catalog((replace(first, name="mug", frames=(handle,)), replace(second, name="bin")))
    save_bundle(replace(demo, path=tmp_path, catalog=catalog, networks={}, scores=(), settings={}))
    return str(tmp_path)


@pytest.fixture
def start(domain_id, folder) -> Iterator[Callable[..., Cell]]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    cells: list[Cell] = []

    def make(latched: bool = False, **parameters: Any) -> Cell:
        values = {"bundle": folder, "diagnostics_period_s": 0.1, **parameters}
        cells.append(Cell(context, load_bundle(folder).catalog, latched, **values))
        return cells[-1]

    yield make
    for cell in cells:
        cell.close()
    context.try_shutdown()


def mug(x_m: float = 0.0, number: int = 0, covariance: np.ndarray | None = None) -> SimpleNamespace:
    pose = make_pose(0, "mug", number, rigid("z", 30.0, (x_m, 0.1, 0.8)))
    pose.covariance = covariance
    return pose


def test_an_object_comes_moves_hides_and_goes(start):
    cell = start()
    cell.see(mug())
    cell.wait_for(("add", "mug_0"))
    added = cell.objects[-1]
    assert added.header.frame_id == "camera" and added.subframe_names == ["handle"] and added.primitives
    cell.see(mug(0.001))
    cell.see(mug(0.1))
    cell.wait_for(("move", "mug_0"))
    assert cell.objects[-1].pose.position.x == pytest.approx(0.1)
    cell.see()
    cell.say_tracks("mug")  # hidden, and not given up
    cell.see(make_pose(1, "bin", 0, rigid("x", 0.0, (0.0, 0.0, 1.0))))
    cell.wait_for(("add", "bin_0"))
    cell.say_tracks(level=2)  # an image was refused: nothing is known of tracks
    cell.say_tracks("bin")
    cell.wait_for(("remove", "mug_0"))
    cell.wait(lambda: cell.value("removed") == "1", "the count")
    counts = [cell.value(name) for name in ("objects", "added", "moved", "removed")]
    assert counts == ["1", "2", "1", "1"]


def test_uncertain_poses_and_strangers_are_counted_and_said_once(start, monkeypatch):
    cell = start(max_position_std_m=0.02, max_rotation_std_deg=10.0)
    said: list[str] = []
    monkeypatch.setattr(cell.bridge.get_logger(), "warning", said.append)
    vague = np.diag([1e-6, 1e-6, 9e-4, 1e-6, 1e-6, 1e-6])
    turned = np.diag([1e-6, 1e-6, 1e-6, 1e-6, 0.1, 1e-6])
    stranger = make_pose(0, "teapot", 0, np.eye(4))
    cell.see(mug(covariance=vague), stranger)
    cell.see(mug(covariance=turned))
    cell.see(mug(covariance=vague / 9.0))
    cell.wait_for(("add", "mug_0"))
    cell.wait(lambda: cell.value("refused_covariance") == "2" and cell.value("refused_unknown") == "1", "the counts")
    assert said[0] == "mug_0: standard deviation 30 mm and 0 degrees; expected at most 20 mm and 10"
    assert len(said) == 2 and said[1].startswith("teapot: not in bundle")


@pytest.mark.parametrize(
    ("orientation_w", "position_x", "reason"),
    [(0.0, 0.0, "mug_0: orientation: "), (1.0, float("nan"), "mug_0: pose or covariance is not finite")],
)
def test_a_pose_that_is_none_is_refused_and_the_node_lives(start, orientation_w, position_x, reason):
    cell = start()
    message = detections_3d(header(1, "camera"), [mug()], cell.catalog, "")
    pose = message.detections[0].results[0].pose.pose
    pose.position.x, pose.orientation.z, pose.orientation.w = position_x, 0.0, orientation_w
    cell.detections.publish(message)
    cell.wait(lambda: cell.value("refused_invalid") == "1", "the refusal")
    assert cell.statuses[-1].message.startswith(f"/pose_estimation/detections: {reason}")
    cell.see(mug())
    cell.wait_for(("add", "mug_0"))


def test_a_pose_node_that_is_silent_has_no_objects(start):
    cell = start(silence_s=0.5)
    cell.see(mug(), mug(0.3, 1))
    cell.wait(lambda: len(cell.heard) == 4, "addition and removal of both")
    assert cell.heard == [("add", "mug_0"), ("add", "mug_1"), ("remove", "mug_0"), ("remove", "mug_1")]
    cell.wait(lambda: "nothing on /pose_estimation/detections for" in cell.statuses[-1].message, "the reason")


def test_results_on_demand_stand_for_all_that_there_is_until_the_next(start):
    cell = start(latched=True, processing="on_demand", silence_s=0.1)
    cell.see(mug(), mug(0.3, 1))
    cell.wait_for(("add", "mug_0"), ("add", "mug_1"))
    time.sleep(0.3)
    assert not cell.heard
    cell.see(mug())
    cell.wait(lambda: cell.value("detections_age_s") < "0.2", "the second result")
    cell.say_tracks()
    cell.wait_for(("remove", "mug_1"))


def test_a_planner_that_comes_later_is_told_everything(start):
    cell = start()
    cell.see(mug())
    cell.wait_for(("add", "mug_0"))
    cell.see(mug(0.2))
    cell.wait_for(("move", "mug_0"))
    cell.listen()
    cell.wait(lambda: ("add", "mug_0") in cell.heard, "the addition")
    assert cell.objects[-1].pose.position.x == pytest.approx(0.2)


def attached_object(link: str) -> Any:
    """Return an AttachedCollisionObject; plain machines, where this file is skipped, cannot import it."""
    return pytest.importorskip("moveit_msgs.msg").AttachedCollisionObject(link_name=link)


def test_what_the_robot_holds_is_left_alone(start):
    cell = start()
    cell.see(mug())
    cell.wait_for(("add", "mug_0"))
    scene = bridge.PlanningScene(is_diff=True)
    scene.robot_state.is_diff = True
    held = attached_object("tool0")
    held.object.id, held.object.operation = "mug_0", held.object.ADD
    scene.robot_state.attached_collision_objects = [held]
    cell.monitored.publish(scene)
    cell.wait(lambda: cell.value("held") == "1", "the attachment")
    cell.see(mug(0.5), mug(0.3, 1))
    cell.wait_for(("add", "mug_1"))
    held.object.operation = held.object.REMOVE
    cell.monitored.publish(scene)
    cell.wait(lambda: cell.value("held") == "0", "the release")
    cell.see(mug(0.5), mug(0.3, 1))
    cell.wait_for(("move", "mug_0"))


def test_a_bundle_that_was_reloaded_is_read_anew(start, folder):
    cell = start()
    cell.labels.publish(LabelInfo())
    cell.see(mug())
    cell.wait_for(("add", "mug_0"))
    bundle = load_bundle(folder)
    first, second = bundle.catalog
    save_bundle(replace(bundle, catalog=Catalog((replace(first, frames=()), second))))
    cell.labels.publish(LabelInfo())
    cell.wait_for(("add", "mug_0"))
    assert not cell.objects[-1].subframe_names
    (Path(folder) / "bundle.yaml").unlink()
    cell.labels.publish(LabelInfo())
    cell.wait(lambda: cell.value("reload_failed") == "1", "the failure")
    assert cell.statuses[-1].message.startswith("the shapes of before stay: ")
    cell.see(mug(0.4))
    cell.wait_for(("move", "mug_0"))


def test_objects_stand_still_in_the_base_while_the_arm_moves_the_camera(start, install):
    install("tf2_ros", tf2_stand_in)
    cell = start(planning_frame="base_link", tolerance_m=1e-6, tolerance_deg=1e-3)
    base_from_mug = rigid("y", 20.0, (0.5, 0.1, 0.0))
    for second in (1, 2, 3):
        base_from_camera = rigid("z", 10.0 * second, (0.1 * second, 0.3, 0.9))
        pose = make_pose(0, "mug", 0, np.linalg.inv(base_from_camera) @ base_from_mug)
        pose.covariance = None
        cell.see(pose, second=second)  # before the robot says where it was
        time.sleep(0.1)
        transform = TransformStamped(header=header(second, "base_link"), child_frame_id="camera")
        (quaternion,) = quaternions_of([SimpleNamespace(camera_from_object=base_from_camera)])
        placed = pose_message(base_from_camera[:3, 3], quaternion)
        transform.transform.rotation = placed.orientation
        for axis in "xyz":
            setattr(transform.transform.translation, axis, getattr(placed.position, axis))
        cell.tf.publish(TFMessage(transforms=[transform]))
        time.sleep(0.2)
    cell.wait_for(("add", "mug_0"))
    added = cell.objects[-1]
    assert added.header.frame_id == "base_link"
    np.testing.assert_allclose(transform_of(added.pose.position, added.pose.orientation), base_from_mug, atol=1e-9)
    cell.see(mug(), second=9)  # of which TF knows nothing
    cell.see(mug(), second=10)  # while that one waits
    cell.wait(lambda: cell.value("skipped") == "1", "the count of what was skipped")
    cell.wait(lambda: cell.value("without_transform") == "1", "the refusal")
    cell.wait(lambda: "no transform from 'camera' to 'base_link'" in cell.statuses[-1].message, "the reason")


def test_the_end_of_the_bridge_leaves_nothing_in_the_scene(start):
    cell = start()
    cell.see(mug())
    cell.wait_for(("add", "mug_0"))
    cell.bridge.release()
    cell.wait_for(("remove", "mug_0"))


def test_tf2_is_asked_for_by_name_where_it_is_missing(start, install):
    install("tf2_ros", None)
    with pytest.raises(ValueError, match="planning_frame = 'base_link': needs tf2_ros, which is not installed"):
        start(planning_frame="base_link")


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ("tolerance_m:=-1.0", "tolerance_m = -1.0: expected a number of at least 0"),
        ("toleranc_m:=0.1", "unknown setting 'toleranc_m'; did you mean 'tolerance_m'?"),
        ("bundle:=no_such_bundle", "no_such_bundle"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_two(parameter, reason, capfd, domain_id, monkeypatch):
    from pose_estimation_ros.ros.planning_scene.process import main

    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    assert main(["planning_scene_node", "--ros-args", "-p", parameter]) == 2
    complaint = capfd.readouterr().err
    assert complaint.startswith("planning_scene_node: error: ") and reason in complaint and complaint.count("\n") == 1


@pytest.mark.slow
def test_a_signal_ends_the_command_with_exit_code_0_and_an_empty_scene(folder, domain_id):
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    client = Node("pose_estimation", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(client)
    heard: list[str] = []

    def on_scene(message: Any) -> None:
        heard.extend(NAMES[bytes(item.operation)] for item in message.world.collision_objects)

    client.create_subscription(bridge.PlanningScene, "planning_scene", on_scene, 100)
    detections = client.create_publisher(Detection3DArray, "~/detections", 10)
    program = "import sys; from pose_estimation_ros.ros.start import planning_scene; sys.exit(planning_scene())"
    command = [sys.executable, "-c", program, "--ros-args", "-p", f"bundle:={folder}"]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    end_s = time.monotonic() + 60.0
    while "remove" not in heard and time.monotonic() < end_s:
        executor.spin_once(timeout_sec=0.1)
        if "add" not in heard:
            detections.publish(detections_3d(header(1), [mug()], load_bundle(folder).catalog, ""))
        elif process.poll() is None:
            process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, heard[-1], "Traceback" in complaint) == (0, "remove", False), complaint
    executor.shutdown()
    client.destroy_node()
    context.try_shutdown()
