"""What a planner was told of the world: collision objects, read from the messages that change them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import trimesh

from pose_estimation_ros.ros.view.content import transform_of


def _box(sizes: list[float]) -> trimesh.Trimesh:
    return trimesh.creation.box(sizes[:3])


def _sphere(sizes: list[float]) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=2, radius=sizes[0])


def _cylinder(sizes: list[float]) -> trimesh.Trimesh:
    return trimesh.creation.cylinder(radius=sizes[1], height=sizes[0])


# By type of shape_msgs/SolidPrimitive: what it is, how many dimensions it has, and what makes it of them.
_SOLIDS = {1: ("box", 3, _box), 2: ("sphere", 1, _sphere), 3: ("cylinder", 2, _cylinder)}


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
            ValueError: naming every object with a pose or a shape that is none; all others are followed.
        """
        if not scene.is_diff:
            self.objects.clear()
        wrong = []
        for item in scene.world.collision_objects:
            try:
                self._take_object(item)
            except ValueError as error:
                wrong.append(f"{item.id}: {error}")
        if wrong:
            raise ValueError("; ".join(wrong))

    def _take_object(self, item: Any) -> None:
        if item.operation == item.REMOVE:
            for name in [item.id] if item.id else list(self.objects):  # MoveIt takes no id for all of them
                self.objects.pop(name, None)
        elif item.operation == item.ADD:
            self.objects[item.id] = _read(item)
        elif item.operation == item.MOVE and item.id in self.objects:
            placed = _transform(item.pose)
            self.objects[item.id] = replace(
                self.objects[item.id], frame_id=item.header.frame_id, frame_from_object=placed
            )


def _read(item: Any) -> PlannedObject:
    meshes = [(_mesh(mesh), pose) for mesh, pose in zip(item.meshes, item.mesh_poses, strict=False)]
    solids = [(_solid(solid), pose) for solid, pose in zip(item.primitives, item.primitive_poses, strict=False)]
    subframes = zip(item.subframe_names, item.subframe_poses, strict=False)
    return PlannedObject(
        item.id,
        item.header.frame_id,
        _transform(item.pose),
        tuple(_moved(shape, _transform(pose)) for shape, pose in [*meshes, *solids]),
        {name: _transform(pose) for name, pose in subframes},
    )


def _transform(pose: Any) -> np.ndarray:
    try:
        return transform_of(pose.position, pose.orientation)
    except ValueError as error:  # of a quaternion of zeros
        raise ValueError(f"orientation: {error}") from error


def _mesh(message: Any) -> Triangles:
    vertices = np.array([[point.x, point.y, point.z] for point in message.vertices]).reshape(-1, 3)
    faces = np.array([triangle.vertex_indices for triangle in message.triangles], dtype=np.int64).reshape(-1, 3)
    if len(faces) and faces.max() >= len(vertices):
        raise ValueError(f"mesh: a triangle has vertex {faces.max()}, expected one of {len(vertices)}")
    return Triangles(vertices, faces)


def _solid(message: Any) -> Triangles:
    sizes = list(message.dimensions)
    if message.type not in _SOLIDS:
        known = ", ".join(name for name, _, _ in _SOLIDS.values())
        raise ValueError(f"shape of type {message.type}: expected one of {known}")
    name, count, make = _SOLIDS[message.type]
    if len(sizes) < count or not all(size > 0.0 for size in sizes[:count]):
        raise ValueError(f"{name}: sizes {sizes}, expected {count} above 0")
    made = make(sizes)
    return Triangles(np.asarray(made.vertices), np.asarray(made.faces))


def _moved(shape: Triangles, transform: np.ndarray) -> Triangles:
    return replace(shape, vertices=shape.vertices @ transform[:3, :3].T + transform[:3, 3])
