"""The shapes that a planner checks for collisions: meshes of a bundle, simplified, or boxes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose_estimation_ros.objects.bundle import Bundle, BundleError
from pose_estimation_ros.objects.catalog import ObjectFrame
from pose_estimation_ros.objects.decimation import decimated


@dataclass(frozen=True)
class CollisionShape:
    """The shape of one object in its own frame, metres."""

    centre_m: np.ndarray  # (3,), of the box about it
    size_m: np.ndarray  # (3,), full edges of the box
    vertices: np.ndarray | None = None  # (V, 3); None where the box has to do
    faces: np.ndarray | None = None  # (F, 3)
    frames: tuple[ObjectFrame, ...] = ()


def collision_shapes(bundle: Bundle, mesh_dir: Path | None, triangles: int) -> dict[str, CollisionShape]:
    """Return the shape of every object of a bundle, by name.

    Objects without a mesh file get their box, and so do categories, whose mesh is that of one instance among many.

    Args:
        bundle: the objects.
        mesh_dir: where the meshes are if not in the bundle.
        triangles: meshes of more are simplified to about so many.

    Raises:
        ValueError: if a mesh cannot be used.
    """
    return {model.name: _shape(bundle, index, mesh_dir, triangles) for index, model in enumerate(bundle.catalog)}


def _shape(bundle: Bundle, index: int, mesh_dir: Path | None, triangles: int) -> CollisionShape:
    model = bundle.catalog[index]
    box = CollisionShape(model.centre_m, 2.0 * model.half_size_m, frames=model.frames)
    if model.instances:
        return box
    try:
        bundle.mesh_path(index, mesh_dir)
    except BundleError:
        return box
    vertices, faces = decimated(bundle.load_mesh(index, mesh_dir), triangles)
    return CollisionShape(box.centre_m, box.size_m, vertices, faces, model.frames)
