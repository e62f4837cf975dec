"""Pictures of the objects to click on, and what is drawn of them over photographs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from pose_estimation_ros.objects.decimation import decimated
from pose_estimation_ros.objects.mesh import Mesh, diameter
from pose_estimation_ros.rendering.raycaster import RayCaster, Renders
from pose_estimation_ros.rendering.views import shaded, view_pose

VIEW_PX = 400  # side of the pictures
_FOCAL = 4.0  # over the side of a picture: nearly parallel
_DISTANCE = 4.6  # diameters, so that the object fills the picture
_DRAWN_FACES = 1500  # of the mesh that a page draws while it is dragged


class ObjectViews:
    """Pictures of objects from any side, and the points of the objects in them.

    Args:
        meshes: of the objects, in the order of the catalog.
        caster: renders them.
    """

    def __init__(self, meshes: list[Mesh], caster: RayCaster) -> None:
        self._meshes, self._caster = meshes, caster
        self._rendered = lru_cache(maxsize=8)(self._render)
        self.outline = lru_cache(maxsize=None)(self._outline)

    def picture(self, index: int, azimuth_deg: float, elevation_deg: float) -> np.ndarray:
        """Return an object as a camera sees it that looks at its centre (VIEW_PX, VIEW_PX, 3) uint8."""
        pixels = shaded(self._rendered(index, azimuth_deg, elevation_deg))[0].permute(1, 2, 0)
        return (pixels * 255.0).round().byte().numpy()

    def point(self, index: int, azimuth_deg: float, elevation_deg: float, x: float, y: float) -> np.ndarray:
        """Return the point (3,) of an object, metres, at a pixel of its picture.

        Raises:
            ValueError: if the pixel is beside the object.
        """
        renders = self._rendered(index, azimuth_deg, elevation_deg)
        column, row = round(x), round(y)
        if not (0 <= column < VIEW_PX and 0 <= row < VIEW_PX) or not bool(renders.mask[0, row, column]):
            raise ValueError(f"point ({x:g}, {y:g}) of the picture: beside the object; expected a point on it")
        return renders.coordinates[0, :, row, column].double().numpy()

    def _render(self, index: int, azimuth_deg: float, elevation_deg: float) -> Renders:
        mesh = self._meshes[index]
        pose = view_pose(mesh, azimuth_deg, elevation_deg, 0.0, _DISTANCE * diameter(mesh.vertices))
        middle = (VIEW_PX - 1) / 2.0
        intrinsics = torch.tensor([[_FOCAL * VIEW_PX, 0.0, middle], [0.0, _FOCAL * VIEW_PX, middle], [0.0, 0.0, 1.0]])
        return self._caster.render(
            torch.tensor([index]), torch.from_numpy(pose)[None], intrinsics[None], VIEW_PX, VIEW_PX
        )

    def _outline(self, index: int) -> dict[str, Any]:
        """Return vertices and faces of a mesh that is coarse enough to be drawn while it is dragged, flat lists."""
        vertices, faces = decimated(self._meshes[index], _DRAWN_FACES)
        return {"vertices": np.round(vertices, 6).reshape(-1).tolist(), "faces": faces.reshape(-1).tolist()}
