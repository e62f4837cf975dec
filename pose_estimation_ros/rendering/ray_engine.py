"""What an engine answers: which face of a mesh does a ray hit, and where on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class RayHits:
    """First hits of R rays."""

    distance: Tensor  # (R,) in lengths of the ray direction, infinity where nothing was hit
    face: Tensor  # (R,) int64, -1 where nothing was hit
    barycentric: Tensor  # (R, 2) weights of the second and third corner


class RayEngine(Protocol):
    """Casts rays at one of several meshes."""

    device: torch.device

    def cast(self, mesh_index: int | Tensor, origins: Tensor, directions: Tensor) -> RayHits:
        """Cast rays of the object frame.

        Args:
            mesh_index: the mesh they are cast at; or those (B,) that B equal parts of the rays are cast at.
            origins: (R, 3).
            directions: (R, 3).
        """
        ...
