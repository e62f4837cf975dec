"""Where a click meets a mesh, and how a frame stands there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.raycaster import make_engine


@dataclass(frozen=True)
class SurfacePoint:
    """A place on a mesh."""

    point: np.ndarray  # (3,) metres, object frame
    normal: np.ndarray  # (3,) unit length, of the triangle, towards the viewer


class MeshPicker:
    """Finds where rays meet a mesh.

    Args:
        mesh: the mesh.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._engine = make_engine([mesh])

    def pick(self, origin: np.ndarray, direction: np.ndarray) -> SurfacePoint | None:
        """Return the first place that a ray of the object frame meets; None where there is none.

        Args:
            origin: (3,) metres.
            direction: (3,) of any length.
        """
        start, way = (np.asarray(item, dtype=np.float64) for item in (origin, direction))
        hits = self._engine.cast(0, *(torch.from_numpy(item[None]).float() for item in (start, way)))
        face = int(hits.face[0])
        if face < 0:
            return None
        first, second, third = self._mesh.vertices[self._mesh.faces[face]].astype(np.float64)
        normal = np.cross(second - first, third - first)
        normal /= max(np.linalg.norm(normal), 1e-30)
        facing = normal if normal @ way < 0.0 else -normal
        return SurfacePoint(start + float(hits.distance[0]) * way, facing)


def standing_on(place: SurfacePoint, rotation: np.ndarray) -> np.ndarray:
    """Return object_from_frame (4, 4), metres, of a frame that stands on a surface.

    Args:
        place: where; z of the frame is along the normal.
        rotation: of the frame before (3, 3); it is turned no more than z needs.
    """
    transform = np.eye(4)
    transform[:3, :3] = _smallest_turn(rotation[:, 2], place.normal) @ rotation
    transform[:3, 3] = place.point
    return transform


def _smallest_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) by the smallest angle that takes a unit vector to another one."""
    axis = np.cross(start, end)
    sine, cosine = float(np.linalg.norm(axis)), float(start @ end)
    if sine < 1e-9:  # any axis across will do for half a turn
        axis, sine = np.cross(start, np.eye(3)[np.abs(start).argmin()]), max(sine, 1e-12)
    angle = np.arctan2(sine, cosine)
    return Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
