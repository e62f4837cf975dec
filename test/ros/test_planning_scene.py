"""Which operations a planning scene gets when, with which shapes, and why poses are refused: without MoveIt."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_estimation_ros.cli.parameter_files import markdown_table
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.catalog import Catalog, ObjectFrame
from pose_estimation_ros.ros.diagnostics import OK, WARN
from pose_estimation_ros.ros.planning_scene.scene import (
    Change,
    Operation,
    PlacedObject,
    SceneObjects,
    held_after,
    worst_std,
)
from pose_estimation_ros.ros.planning_scene.settings import PlanningSceneSettings
from pose_estimation_ros.ros.planning_scene.shapes import collision_shapes
from pose_estimation_ros.ros.planning_scene.status import SceneSituation, judge_scene
from pose_estimation_ros.ros.view.content import NodeStatus
from pose_estimation_ros.settings import list_settings

from .conftest import rigid

ROOT = Path(__file__).resolve().parents[2]


def placed(number: int = 0, x_m: float = 0.0, degrees: float = 0.0, frame: str = "base") -> PlacedObject:
    return PlacedObject(f"mug_{number}", "mug", frame, rigid("y", degrees, (x_m, 0.1, 0.8)))


def told(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.operation.value, change.placed.id) for change in changes]


@pytest.fixture
def scene() -> SceneObjects:
    return SceneObjects(tolerance_m=0.002, tolerance_deg=1.0)


def test_an_object_is_added_once_and_then_moved(scene):
    assert told(scene.see([placed(0), placed(1, 0.3)])) == [("add", "mug_0"), ("add", "mug_1")]
    (change,) = scene.see([placed(0, 0.05), placed(1, 0.3)])
    assert change.operation is Operation.MOVE and change.placed.id == "mug_0"
    np.testing.assert_array_equal(change.placed.frame_from_object, placed(0, 0.05).frame_from_object)


def test_steps_within_the_tolerance_add_up_to_one_move(scene):
    scene.see([placed()])
    said = [told(scene.see([placed(x_m=0.0009 * step)])) for step in range(1, 6)]
    assert said == [[], [], [("move", "mug_0")], [], []]


def test_turning_in_place_is_a_move_from_the_angle_on(scene):
    scene.see([placed()])
    assert told(scene.see([placed(degrees=0.9)])) == []
    assert told(scene.see([placed(degrees=1.1)])) == [("move", "mug_0")]


@given(st.floats(0.0, 0.02), st.floats(0.0, 20.0))
def test_the_scene_is_never_farther_off_than_the_tolerance(x_m: float, degrees: float):
    scene = SceneObjects(tolerance_m=0.002, tolerance_deg=1.0)
    now = placed(x_m=x_m, degrees=degrees)
    known = [*scene.see([placed()]), *scene.see([now])][-1].placed
    step = np.linalg.inv(known.frame_from_object) @ now.frame_from_object
    assert np.linalg.norm(step[:3, 3]) <= 0.002 + 1e-12
    assert np.degrees(np.arccos(np.clip((np.trace(step[:3, :3]) - 1.0) / 2.0, -1.0, 1.0))) <= 1.0 + 1e-6


def test_the_same_numbers_in_another_frame_are_another_pose(scene):
    scene.see([placed()])
    assert told(scene.see([placed(frame="other_camera")])) == [("move", "mug_0")]


def test_an_object_that_is_hidden_stays_and_one_that_is_given_up_goes_once(scene):
    scene.see([placed(0), placed(1)])
    assert told(scene.see([placed(0)])) == []
    assert told(scene.keep({"mug_0", "mug_1"})) == []
    assert told(scene.keep({"mug_0"})) == [("remove", "mug_1")]
    assert told(scene.keep({"mug_0"})) == []
    assert told(scene.see([placed(1)])) == [("add", "mug_1")]


def test_a_number_that_is_another_object_now_replaces_the_shape(scene):
    scene.see([placed()])
    assert told(scene.see([replace(placed(), name="bottle")])) == [("add", "mug_0")]


def test_who_comes_later_is_told_the_newest_poses(scene):
    scene.see([placed(0), placed(1)])
    scene.see([placed(0, 0.5)])
    changes = scene.again()
    assert told(changes) == [("add", "mug_0"), ("add", "mug_1")]
    assert changes[0].placed.frame_from_object[0, 3] == 0.5


def test_what_the_robot_holds_is_left_alone_until_it_lets_go(scene):
    scene.see([placed(0)])
    scene.held = frozenset({"mug_0"})
    assert scene.see([placed(0, 0.5)]) == scene.again() == scene.keep(()) == []
    scene.held = frozenset()
    assert told(scene.see([placed(0, 0.6)])) == [("move", "mug_0")]  # MoveIt has put it back into the world
    assert told(scene.keep(())) == [("remove", "mug_0")]


def test_attachments_are_read_from_whole_states_and_from_differences():
    held = held_after(frozenset(), {"mug_0": True}, is_whole=False)
    assert held == {"mug_0"}
    assert held_after(held, {}, is_whole=False) == {"mug_0"}
    assert held_after(held, {"mug_1": True}, is_whole=False) == {"mug_0", "mug_1"}
    assert held_after(held, {"mug_0": False}, is_whole=False) == frozenset()
    assert held_after(held, {}, is_whole=True) == frozenset()


def test_the_worst_axis_counts_however_it_lies():
    turn = rigid("z", 30.0, (0.0, 0.0, 0.0))[:3, :3]
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = turn @ np.diag([1e-6, 4e-4, 1e-6]) @ turn.T
    covariance[3:, 3:] = turn @ np.diag(np.radians([3.0, 1.0, 12.0]) ** 2) @ turn.T
    assert worst_std(covariance) == pytest.approx((0.02, 12.0))


def test_shapes_are_the_meshes_in_metres_with_their_frames_and_at_most_so_many_triangles():
    bundle = load_bundle("demo")
    lid = ObjectFrame("lid", rigid("x", 90.0, (0.0, 0.0, 0.05)))
    first, second, *_ = bundle.catalog
    catalog = Catalog((replace(first, frames=(lid,)), second))
    shapes = collision_shapes(replace(bundle, catalog=catalog), None, triangles=300)
    assert list(shapes) == [first.name, second.name]
    assert shapes[first.name].frames == (lid,)
    for model in catalog:
        shape = shapes[model.name]
        assert shape.vertices is not None and shape.faces is not None
        assert len(shape.faces) <= 300 and shape.faces.max() < len(shape.vertices)
        used = shape.vertices[np.unique(shape.faces)]
        np.testing.assert_allclose(used.min(axis=0), model.bounds_m[0], atol=0.03 * model.diameter_m)
        np.testing.assert_allclose(used.max(axis=0), model.bounds_m[1], atol=0.03 * model.diameter_m)


def test_objects_without_a_mesh_and_categories_are_their_boxes(tmp_path):
    bundle = load_bundle("demo")
    category, other, *_ = bundle.catalog
    bundle = replace(bundle, catalog=Catalog((replace(category, instances=(category.mesh,)), other)))
    shapes = collision_shapes(bundle, tmp_path, triangles=300)  # where no mesh is
    for model in bundle.catalog:
        shape = shapes[model.name]
        assert shape.vertices is None
        np.testing.assert_allclose(shape.centre_m - shape.size_m / 2.0, model.bounds_m[0])
        np.testing.assert_allclose(shape.centre_m + shape.size_m / 2.0, model.bounds_m[1])
    with_meshes = collision_shapes(bundle, None, triangles=300)
    assert with_meshes[category.name].vertices is None and with_meshes[other.name].vertices is not None


def test_tracks_are_read_from_the_pose_node_s_diagnostics():
    values = {"track left/mug_0 state": "seen", "track left/mug_0 age_s": "1.0", "track left/mug_1 state": "unseen"}
    status = NodeStatus(OK, "", {"state": "active", **values})
    assert status.tracks == {"left/mug_0", "left/mug_1"}


def test_the_most_urgent_reason_is_told():
    works = SceneSituation(2, 1, "/pose/detections", 1, 0.2, False, "/planning_scene", 1)
    assert judge_scene(works) == (OK, "2 objects in the planning scene, 1 held by the robot")
    alone = replace(works, subscribers=0)
    assert judge_scene(alone)[0] == WARN and "nobody subscribes to /planning_scene" in judge_scene(alone)[1]
    assert judge_scene(replace(alone, problem="mug_0: not known")) == (WARN, "mug_0: not known")
    silent = replace(alone, problem="mug_0: not known", is_silent=True, silent_s=7.2, publishers=0)
    assert judge_scene(silent) == (WARN, "nothing on /pose/detections for 7 s (0 publishers)")


def test_the_document_lists_the_parameters():
    document = (ROOT / "docs" / "robot.md").read_text()
    assert "\n".join(markdown_table(list_settings(PlanningSceneSettings))) in document


@pytest.mark.parametrize("package", ["moveit_msgs", "shape_msgs"])
def test_without_the_messages_the_command_ends_with_one_line(package, monkeypatch, capsys):
    pytest.importorskip("rclpy")
    pytest.importorskip("tf2_msgs.msg", reason="message overlay is not on the path: source scripts/env.sh")
    if package == "shape_msgs":
        pytest.importorskip("moveit_msgs.msg", reason="moveit_msgs is not installed, and is missed first")
    from pose_estimation_ros.ros.planning_scene.process import main

    for module in ("node", "messages"):
        monkeypatch.delitem(sys.modules, f"pose_estimation_ros.ros.planning_scene.{module}", raising=False)
    for module in (package, f"{package}.msg"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["planning_scene_node"]) == 2
    line = capsys.readouterr().err
    assert (
        line.startswith(f"planning_scene_node: error: {package} is not installed; install it") and line.count("\n") == 1
    )


@pytest.mark.parametrize(("word", "code"), [("--help", 0), ("--halp", 2)])
def test_help_and_wrong_words_are_answered_without_the_messages(word, code, monkeypatch, capsys):
    pytest.importorskip("rclpy")
    from pose_estimation_ros.ros.planning_scene.process import main

    monkeypatch.setitem(sys.modules, "moveit_msgs", None)
    monkeypatch.delitem(sys.modules, "pose_estimation_ros.ros.planning_scene.node", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["planning_scene_node", word])
    assert ended.value.code == code
    output = capsys.readouterr()
    assert "usage: planning_scene_node" in output.out + output.err
