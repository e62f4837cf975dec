"""The page follows what a planner is told."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("moveit_msgs.msg", reason="moveit_msgs is not installed: there is no planning scene to follow")

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion
from viser import ViserServer

from pose_estimation_ros.ros.planning_scene.messages import scene_message
from pose_estimation_ros.ros.planning_scene.scene import Change, Operation, PlacedObject
from pose_estimation_ros.ros.view.planned_objects import PlannedObjects
from pose_estimation_ros.ros.view.planned_scene import PlannedScene

from .conftest import rigid
from .planning_shapes import FACES, HANDLE, SHAPES, VERTICES

FIRST, SECOND = rigid("z", 40.0, (0.1, 0.2, 0.7)), rigid("x", 10.0, (0.0, 0.1, 0.8))


def message(*changes: tuple[Operation, str, np.ndarray]):
    """Return what the bridge to MoveIt sends."""
    placed = [Change(item, PlacedObject(f"{name}_0", name, "camera", pose)) for item, name, pose in changes]
    return scene_message(Time(), placed, SHAPES)


def test_objects_come_move_and_go_as_for_a_planner() -> None:
    known = PlannedObjects()
    known.take(message((Operation.ADD, "mug", FIRST), (Operation.ADD, "bin", FIRST)))
    mug, box = known.objects["mug_0"], known.objects["bin_0"]
    np.testing.assert_array_equal(mug.shapes[0].vertices, VERTICES)
    np.testing.assert_array_equal(mug.shapes[0].faces, FACES)
    np.testing.assert_allclose(mug.subframes["handle"], HANDLE, atol=1e-12)
    low, high = box.shapes[0].vertices.min(axis=0), box.shapes[0].vertices.max(axis=0)
    np.testing.assert_allclose([low, high], [[-0.15, -0.2, 0.0], [0.15, 0.2, 0.2]], atol=1e-12)
    known.take(
        message((Operation.MOVE, "mug", SECOND), (Operation.MOVE, "bin", SECOND), (Operation.REMOVE, "bin", SECOND))
    )
    assert known.objects.keys() == {"mug_0"}
    moved = known.objects["mug_0"]
    np.testing.assert_allclose(moved.frame_from_object, SECOND, atol=1e-12)
    assert moved.shapes is mug.shapes
    known.take(message((Operation.MOVE, "bin", FIRST)))  # of something that was never added here
    assert known.objects.keys() == {"mug_0"}


def test_a_whole_scene_replaces_all_and_a_removal_without_an_id_removes_all() -> None:
    known = PlannedObjects()
    known.take(message((Operation.ADD, "mug", FIRST)))
    whole = message((Operation.ADD, "bin", FIRST))
    whole.is_diff = False
    known.take(whole)
    assert known.objects.keys() == {"bin_0"}
    everything = message((Operation.REMOVE, "bin", FIRST))
    everything.world.collision_objects[0].id = ""
    known.take(everything)
    assert not known.objects


def test_other_shapes_are_triangles_and_a_pose_that_is_none_is_named() -> None:
    scene = message((Operation.ADD, "bin", FIRST))
    (item,) = scene.world.collision_objects
    (solid,) = item.primitives
    solid.type, solid.dimensions = solid.CYLINDER, [0.4, 0.1]  # height, radius
    known = PlannedObjects()
    known.take(scene)
    low, high = (getattr(known.objects["bin_0"].shapes[0].vertices, end)(axis=0) for end in ("min", "max"))
    np.testing.assert_allclose([low, high], [[-0.1, -0.1, -0.1], [0.1, 0.1, 0.3]], atol=2e-3)
    item.pose.orientation = Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)
    with pytest.raises(ValueError, match="bin_0: orientation"):
        known.take(scene)


@pytest.mark.parametrize(
    ("kind", "sizes", "reason"),
    [
        (4, [0.1, 0.1], "shape of type 4: expected one of box, sphere, cylinder"),
        (1, [0.1], "box: sizes [0.1], expected 3 above 0"),
        (3, [0.1, -0.1], "cylinder: sizes [0.1, -0.1], expected 2 above 0"),
    ],
)
def test_a_shape_that_is_none_is_named_and_the_others_are_followed(kind, sizes, reason) -> None:
    known, scene = PlannedObjects(), message((Operation.ADD, "bin", FIRST), (Operation.ADD, "mug", FIRST))
    (solid,) = scene.world.collision_objects[0].primitives
    solid.type, solid.dimensions = kind, sizes
    with pytest.raises(ValueError, match=re.escape(f"bin_0: {reason}")):
        known.take(scene)
    assert list(known.objects) == ["mug_0"]


def test_a_triangle_of_vertices_that_are_not_there_is_named() -> None:
    known, scene = PlannedObjects(), message((Operation.ADD, "mug", FIRST))
    scene.world.collision_objects[0].meshes[0].triangles[1].vertex_indices[2] = 9
    with pytest.raises(ValueError, match="mug_0: mesh: a triangle has vertex 9, expected one of 4"):
        known.take(scene)


@pytest.fixture
def server() -> Iterator[ViserServer]:
    made = ViserServer("127.0.0.1", 18081, verbose=False)
    yield made
    made.stop()


def test_what_is_in_the_axes_of_the_page_is_drawn_where_it_is(server: ViserServer) -> None:
    scene = PlannedScene(server)
    scene.take(message((Operation.ADD, "mug", FIRST)))
    root = server.scene.get_handle_by_name("/planned/0")
    assert not root.visible  # nobody has said yet whose axes they are
    scene.set_camera_frame("camera")
    assert root.visible
    np.testing.assert_allclose(root.position, FIRST[:3, 3], atol=1e-6)
    np.testing.assert_allclose(server.scene.get_handle_by_name("/planned/0/subframe_0").position, HANDLE[:3, 3])
    scene.take(message((Operation.MOVE, "mug", SECOND)))
    np.testing.assert_allclose(root.position, SECOND[:3, 3], atol=1e-6)
    scene.take(message((Operation.REMOVE, "mug", SECOND)))
    assert server.scene.get_handle_by_name("/planned/0") is None
