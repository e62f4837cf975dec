"""Which of the poses that the stages went through is taken, and which have gone astray."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_estimation_ros.geometry.rotations import geodesic_distance
from pose_estimation_ros.geometry.virtual_camera import VirtualCameras
from pose_estimation_ros.methods.attention.network import Comparison
from pose_estimation_ros.methods.attention.settings import AttentionSettings


@dataclass(frozen=True)
class Stage:
    """One comparison of all poses of a frame."""

    cameras: VirtualCameras
    observed: Tensor  # (B, 3, S, S)
    rendered: Tensor  # (B, RENDERED, S, S)
    prediction: Comparison


def chosen_updates(trace: Sequence[Stage], first: Tensor | None, margin: float) -> Tensor:
    """Return after how many updates each pose (B,) was best, 0 where it was best as it came.

    Only poses that were compared are known to look like the image, and only images of one size tell which is
    more alike: those of the last stages. One stage compares nothing but the start, and networks without similarity
    tell nothing: then the last update counts.

    Args:
        trace: the stages.
        first: similarity (B,) of the start at their size, where the first stages have another.
        margin: of the poses so nearly as similar as the best, the last one counts.
    """
    size, observed = trace[-1].cameras.size, trace[0].observed
    known = {
        number: stage.prediction.similarity
        for number, stage in enumerate(trace)
        if stage.prediction.similarity is not None and stage.cameras.size == size
    }
    if first is not None:
        known[0] = first
    if len(known) < 2:
        return torch.full((len(observed),), len(trace), device=observed.device)
    numbers = sorted(known)
    values = torch.stack([known[number] for number in numbers]).nan_to_num(-1.0)
    near = values >= values.amax(dim=0) - margin
    order = torch.arange(1, len(numbers) + 1, device=observed.device)
    return torch.tensor(numbers, device=observed.device)[(near * order[:, None]).argmax(dim=0)]


def has_strayed(start: Tensor, poses: Tensor, settings: AttentionSettings) -> Tensor:
    """Tell which poses (B,) moved farther than a pose worth refining is wrong."""
    angle = geodesic_distance(start[:, :3, :3].double(), poses[:, :3, :3].double())
    ratio = (poses[:, 2, 3] / start[:, 2, 3]).clamp(min=1e-6).log().abs()
    limits = (math.radians(settings.max_rotation_deg), math.log(settings.max_distance_ratio))
    return ~(angle <= limits[0]) | ~(ratio <= limits[1])
