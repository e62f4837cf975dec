"""Changes of a planning scene as messages of MoveIt, and what MoveIt says of the robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose
from moveit_msgs.msg import CollisionObject, PlanningScene
from shape_msgs.msg import Mesh, MeshTriangle, SolidPrimitive
from std_msgs.msg import Header

from pose_estimation_ros.ros.ecosystem import quaternions_from_matrices
from pose_estimation_ros.ros.messages import point_message, pose_message
from pose_estimation_ros.ros.planning_scene.scene import Change, Operation, held_after
from pose_estimation_ros.ros.planning_scene.shapes import CollisionShape

_OPERATIONS = {
    Operation.ADD: CollisionObject.ADD,
    Operation.MOVE: CollisionObject.MOVE,
    Operation.REMOVE: CollisionObject.REMOVE,
}
_NOT_TURNED = np.array([0.0, 0.0, 0.0, 1.0])


def scene_message(stamp: Any, changes: Sequence[Change], shapes: Mapping[str, CollisionShape]) -> PlanningScene:
    """Build the difference of a planning scene.

    Args:
        stamp: of the image that showed the changes.
        changes: in the order in which they are to be made.
        shapes: of the objects, by name.
    """
    scene = PlanningScene(is_diff=True)
    scene.robot_state.is_diff = True  # or MoveIt would take the robot's state, and what it holds, from this message
    scene.world.collision_objects = [
        collision_object(Header(stamp=stamp, frame_id=change.placed.frame_id), change, shapes) for change in changes
    ]
    return scene


def collision_object(header: Header, change: Change, shapes: Mapping[str, CollisionShape]) -> CollisionObject:
    """Build a moveit_msgs/CollisionObject; only an addition has shape and frames, as MoveIt wants it."""
    placed = change.placed
    message = CollisionObject(header=header, id=placed.id, operation=_OPERATIONS[change.operation])
    if change.operation is Operation.REMOVE:
        return message
    message.pose = _pose_of(placed.frame_from_object)
    if change.operation is Operation.ADD:
        message.type.key = placed.name
        shape = shapes[placed.name]
        _add_shape(message, shape)
        message.subframe_names = [frame.name for frame in shape.frames]
        message.subframe_poses = [_pose_of(frame.object_from_frame) for frame in shape.frames]
    return message


def _add_shape(message: CollisionObject, shape: CollisionShape) -> None:
    if shape.vertices is None or shape.faces is None:
        box = SolidPrimitive(type=SolidPrimitive.BOX, dimensions=[float(edge) for edge in shape.size_m])
        message.primitives, message.primitive_poses = [box], [pose_message(shape.centre_m, _NOT_TURNED)]
        return
    triangles = [MeshTriangle(vertex_indices=face.astype(np.uint32)) for face in shape.faces]
    mesh = Mesh(triangles=triangles, vertices=[point_message(vertex) for vertex in shape.vertices])
    message.meshes, message.mesh_poses = [mesh], [pose_message(np.zeros(3), _NOT_TURNED)]


def _pose_of(transform: np.ndarray) -> Pose:
    return pose_message(transform[:3, 3], quaternions_from_matrices(transform[None])[0])


def held_objects(held: frozenset[str], scene: PlanningScene) -> frozenset[str]:
    """Return the ids of what the robot holds after a scene that MoveIt publishes."""
    state = scene.robot_state
    operations = {
        item.object.id: item.object.operation == CollisionObject.ADD for item in state.attached_collision_objects
    }
    # MoveIt marks the state in every difference as one itself, and puts a whole one there, with its joints, or nothing.
    return held_after(held, operations, bool(state.joint_state.name) or not state.is_diff)
