"""What of the image the poses of a frame cover, each by itself and where nothing else hides it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.ray_engine import RayEngine
from pose_estimation_ros.rendering.raycaster import make_engine, object_rays
from pose_estimation_ros.rendering.windows import corners_of, visible_window

MAX_SIDE_PX = 320  # of the images that are rendered; outlines are not known to single pixels


@dataclass(frozen=True)
class Silhouettes:
    """Depth of N poses in a reduced image."""

    depth: np.ndarray  # (N, h, w) metres, infinity where the object is not
    pixel: float  # side of a pixel here, in pixels of the image

    @property
    def masks(self) -> np.ndarray:
        """The pixels (N, h, w) bool of each object, as if nothing hid it."""
        return np.isfinite(self.depth)

    def common(self) -> np.ndarray:
        """Return the number of pixels (N, N) that two masks share; on the diagonal those of one."""
        flat = self.masks.reshape(len(self.depth), -1).astype(np.float32)
        return flat @ flat.T

    def overlaps(self) -> np.ndarray:
        """Return the intersection over union (N, N) of the masks."""
        common = self.common()
        size = np.diag(common)
        return common / np.maximum(size[:, None] + size[None, :] - common, 1.0)

    def hidden(self, may_hide: np.ndarray) -> np.ndarray:
        """Return the pixels (N, h, w) bool of each object that others are in front of.

        Args:
            may_hide: whether the first of two objects is believed to hide the second, (N, N) bool.
        """
        hidden = np.zeros(self.depth.shape, dtype=bool)
        for front, behind in zip(*np.nonzero(may_hide), strict=True):
            if front != behind:
                hidden[behind] |= self.depth[front] < self.depth[behind]
        return hidden & self.masks


class SilhouetteRenderer:
    """Renders the poses of a frame.

    Args:
        meshes: of the objects of the catalog, in its order.
        device: where rays are cast.
    """

    def __init__(self, meshes: Sequence[Mesh], device: torch.device | str = "cpu") -> None:
        self._engine: RayEngine = make_engine(list(meshes), "auto", device)
        self._corners = [corners_of(mesh) for mesh in meshes]

    def render(self, object_index: Sequence[int], poses: Sequence[np.ndarray], camera: Camera) -> Silhouettes:
        """Render objects at poses (4, 4), metres, as a camera without distortion sees them."""
        reduction = max(1.0, max(camera.width, camera.height) / MAX_SIDE_PX)
        small = camera.resize(max(1, round(camera.width / reduction)), max(1, round(camera.height / reduction)))
        depth = np.full((len(poses), small.height, small.width), np.inf, dtype=np.float32)
        for number, (index, pose) in enumerate(zip(object_index, poses, strict=True)):
            window = visible_window(self._corners[index] @ pose[:3, :3].T + pose[:3, 3], small)
            if window is not None:
                x, y, width, height = window
                depth[number, y : y + height, x : x + width] = self._cast(index, pose, small.crop(x, y, width, height))
        return Silhouettes(depth, camera.width / small.width)

    def _cast(self, index: int, pose: np.ndarray, camera: Camera) -> np.ndarray:
        device = self._engine.device
        origins, directions = object_rays(
            torch.from_numpy(pose).float().to(device)[None],
            torch.from_numpy(camera.intrinsics).float().to(device)[None],
            camera.height,
            camera.width,
        )
        # Directions have unit depth in the camera, so the distance is the depth.
        hits = self._engine.cast(int(index), origins.expand(directions.shape[1], 3), directions[0])
        depth = torch.where(hits.face >= 0, hits.distance, torch.inf)
        return depth.reshape(camera.height, camera.width).cpu().numpy()
