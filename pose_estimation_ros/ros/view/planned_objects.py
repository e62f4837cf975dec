"""What a planner was told of the world: collision objects, read from the messages that change them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import trimesh

from pose_estimation_ros.ros.view.content import transform_of

# By type of shape_msgs/SolidPrimitive, made of its dimensions.
_SOLIDS = {
    1: lambda sides: trimesh.creation.box(sides),
    2: lambda sizes: trimesh.creation.icosphere(subdivisions=2, radius=sizes[0]),
    3: lambda sizes: trimesh.creation.cylinder(radius=sizes[1], height=sizes[0]),
}


@dataclass(frozen=True)
class Triangles:
    """A shape in the frame of its object."""

    vertices: np.ndarray  # (V, 3) metres
    faces: np.ndarray  # (F, 3)


@dataclass(frozen=True)
class PlannedObject:
    """One collision object."""

    id: str
    frame_id: str  # in which its pose is
    frame_from_object: np.ndarray  # (4, 4), metres
    shapes: tuple[Triangles, ...]
    subframes: dict[str, np.ndarray]  # object_from_subframe (4, 4), metres, by name


class PlannedObjects:
    """The objects that a planner has after all messages so far."""

    def __init__(self) -> None:
        self.objects: dict[str, PlannedObject] = {}  # by id

    def take(self, scene: Any) -> None:
        """Follow a moveit_msgs/PlanningScene: additions, moves and removals, in their order.

        Raises:
            ValueError: if a pose is none; what came before it in the message is done.
        """
        if not scene.is_diff:
            self.objects.clear()
        for item in scene.world.collision_objects:
            if item.operation == item.REMOVE:
                for name in [item.id] if item.id else list(self.objects):  # MoveIt takes no id for all of them
                    self.objects.pop(name, None)
            elif item.operation == item.ADD:
                self.objects[item.id] = _read(item)
            elif item.operation == item.MOVE and item.id in self.objects:
                placed = _transform(item.id, item.pose)
                self.objects[item.id] = replace(
                    self.objects[item.id], frame_id=item.header.frame_id, frame_from_object=placed
                )


def _read(item: Any) -> PlannedObject:
    meshes = [(_mesh(mesh), pose) for mesh, pose in zip(item.meshes, item.mesh_poses, strict=False)]
    solids = [
        (_solid(solid), pose)
        for solid, pose in zip(item.primitives, item.primitive_poses, strict=False)
        if solid.type in _SOLIDS
    ]
    subframes = zip(item.subframe_names, item.subframe_poses, strict=False)
    return PlannedObject(
        item.id,
        item.header.frame_id,
        _transform(item.id, item.pose),
        tuple(_moved(shape, _transform(item.id, pose)) for shape, pose in [*meshes, *solids]),
        {name: _transform(item.id, pose) for name, pose in subframes},
    )


def _transform(name: str, pose: Any) -> np.ndarray:
    try:
        return transform_of(pose.position, pose.orientation)
    except ValueError as error:  # of a quaternion of zeros
        raise ValueError(f"{name}: orientation: {error}") from error


def _mesh(message: Any) -> Triangles:
    vertices = np.array([[point.x, point.y, point.z] for point in message.vertices]).reshape(-1, 3)
    faces = np.array([triangle.vertex_indices for triangle in message.triangles], dtype=np.int64).reshape(-1, 3)
    return Triangles(vertices, faces)


def _solid(message: Any) -> Triangles:
    made = _SOLIDS[message.type](list(message.dimensions))
    return Triangles(np.asarray(made.vertices), np.asarray(made.faces))


def _moved(shape: Triangles, transform: np.ndarray) -> Triangles:
    return replace(shape, vertices=shape.vertices @ transform[:3, :3].T + transform[:3, 3])
