"""Which poses have gone astray."""

from __future__ import annotations

import math

from torch import Tensor

from pose_estimation_ros.geometry.rotations import geodesic_distance
from pose_estimation_ros.methods.attention.settings import AttentionSettings


def has_strayed(start: Tensor, poses: Tensor, settings: AttentionSettings) -> Tensor:
    """Tell which poses (B,) moved farther than a pose worth refining is wrong."""
    angle = geodesic_distance(start[:, :3, :3].double(), poses[:, :3, :3].double())
    ratio = (poses[:, 2, 3] / start[:, 2, 3]).clamp(min=1e-6).log().abs()
    limits = (math.radians(settings.max_rotation_deg), math.log(settings.max_distance_ratio))
    return ~(angle <= limits[0]) | ~(ratio <= limits[1])
