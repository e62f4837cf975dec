"""Changes of a scene as messages of MoveIt."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("moveit_msgs.msg", reason="moveit_msgs is not installed: the bridge to MoveIt cannot run here")

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message

from pose_estimation_ros.ros.planning_scene import messages
from pose_estimation_ros.ros.planning_scene.messages import held_objects, scene_message
from pose_estimation_ros.ros.planning_scene.scene import Change, Operation, PlacedObject
from pose_estimation_ros.ros.view.content import transform_of

from .conftest import rigid
from .planning_shapes import FACES, HANDLE, SHAPES, VERTICES

POSE = rigid("z", 40.0, (0.1, 0.2, 0.7))


def sent(*changes: Change):
    """Return the collision objects of a scene that went over the wire, and the scene."""
    scene = scene_message(Time(sec=7, nanosec=5), changes, SHAPES)
    scene = deserialize_message(serialize_message(scene), type(scene))
    return scene.world.collision_objects, scene


def change(operation: Operation, name: str = "mug") -> Change:
    return Change(operation, PlacedObject(f"left/{name}_0", name, "base_link", POSE))


def placed(pose) -> np.ndarray:
    return transform_of(pose.position, pose.orientation)


def test_an_addition_has_mesh_frames_and_type():
    (item,), _ = sent(change(Operation.ADD))
    assert (item.id, item.operation, item.type.key) == ("left/mug_0", type(item).ADD, "mug")
    assert (item.header.frame_id, item.header.stamp.sec) == ("base_link", 7)
    np.testing.assert_allclose(placed(item.pose), POSE, atol=1e-12)
    (mesh,), (mesh_pose,) = item.meshes, item.mesh_poses
    np.testing.assert_array_equal([[point.x, point.y, point.z] for point in mesh.vertices], VERTICES)
    np.testing.assert_array_equal([triangle.vertex_indices for triangle in mesh.triangles], FACES)
    np.testing.assert_array_equal(placed(mesh_pose), np.eye(4))
    assert item.subframe_names == ["handle"]
    np.testing.assert_allclose(placed(item.subframe_poses[0]), HANDLE, atol=1e-12)
    assert not item.primitives


def test_without_a_mesh_it_has_the_box():
    (item,), _ = sent(change(Operation.ADD, "bin"))
    (box,), (box_pose,) = item.primitives, item.primitive_poses
    assert box.type == type(box).BOX and list(box.dimensions) == [0.3, 0.4, 0.2]
    np.testing.assert_allclose(placed(box_pose)[:3, 3], [0.0, 0.0, 0.1])
    assert not item.meshes and not item.subframe_names


def test_moves_and_removals_have_no_shape():
    (moved, removed), _ = sent(change(Operation.MOVE), change(Operation.REMOVE))
    assert (moved.operation, removed.operation) == (type(moved).MOVE, type(moved).REMOVE)
    assert moved.id == removed.id == "left/mug_0"
    np.testing.assert_allclose(placed(moved.pose), POSE, atol=1e-12)
    for item in (moved, removed):
        assert not item.meshes and not item.mesh_poses and not item.primitives and not item.subframe_names


def test_a_scene_changes_nothing_but_its_objects():
    """MoveIt takes robot state and collision matrix from a scene unless it is told that they are not meant."""
    _, scene = sent(change(Operation.ADD))
    assert scene.is_diff and scene.robot_state.is_diff
    assert not scene.robot_state.attached_collision_objects and not scene.robot_state.joint_state.name
    assert not scene.allowed_collision_matrix.entry_names and not scene.fixed_frame_transforms


def attached(scene, name: str, is_attached: bool = True):
    item = pytest.importorskip("moveit_msgs.msg").AttachedCollisionObject(link_name="tool0")
    item.object.id = name
    item.object.operation = item.object.ADD if is_attached else item.object.REMOVE
    scene.robot_state.attached_collision_objects.append(item)
    return scene


def test_what_the_robot_holds_is_read_from_moveit_s_scenes():
    def scene(is_diff: bool, joints: tuple[str, ...] = ()):
        made = messages.PlanningScene(is_diff=is_diff)
        made.robot_state.is_diff = is_diff
        made.robot_state.joint_state.name = list(joints)
        return made

    held = held_objects(frozenset(), attached(scene(True), "mug_0"))
    assert held == {"mug_0"}
    assert held_objects(held, scene(True)) == {"mug_0"}  # a difference that says nothing of it
    assert held_objects(held, attached(scene(True), "mug_0", is_attached=False)) == frozenset()
    assert held_objects(held, scene(True, ("elbow",))) == frozenset()  # the whole state of a robot that holds nothing
    assert held_objects(held, scene(False)) == frozenset()
    assert held_objects(held, attached(scene(True, ("elbow",)), "mug_1")) == {"mug_1"}
