"""Errors of poses such as the pairs of views have that a refiner is trained on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pose_estimation_ros.data.augmentation import uniform
from pose_estimation_ros.data.pairs import PairConfig, best_roll, near_views
from pose_estimation_ros.data.view_bank import ViewBank
from pose_estimation_ros.geometry.rotations import axis_angle_from_matrix, rotation_about_z
from pose_estimation_ros.geometry.virtual_camera import PoseUpdate

_FARTHEST = 2.5  # deviations


class PoseErrors:
    """Draws errors that are distributed as those between the two views of a pair, see `PairSource`.

    Args:
        bank: views, whose neighbours say how far rotations are off.
        config: the size of the errors.
    """

    def __init__(self, bank: ViewBank, config: PairConfig) -> None:
        self.config = config
        self._near = near_views(bank, config.neighbours).cpu()
        self._rotation = bank.camera_from_object[:, :3, :3].cpu()
        self._views = [torch.nonzero(bank.object_index == index)[:, 0].cpu() for index in range(bank.known)]

    def draw(self, index: Tensor, generator: torch.Generator) -> PoseUpdate:
        """Draw an error for each of B objects, as an update that spoils the true pose.

        Args:
            index: objects (B,).
            generator: of the errors.
        """
        config, count = self.config, len(index)
        amount = uniform(config.min_error_ratio, config.max_error_ratio, (count,), generator)
        place = (config.neighbours * amount * uniform(0.0, 1.0, (count,), generator)).long()
        pick = uniform(0.0, 1.0, (count,), generator).tolist()
        rows = (self._views[number] for number in index.tolist())
        view = torch.stack([some[int(share * len(some))] for some, share in zip(rows, pick, strict=True)])
        other = self._near[view, place.clamp(max=config.neighbours - 1)]
        rotation, neighbour = self._rotation[view], self._rotation[other]
        tilt = neighbour @ (rotation_about_z(best_roll(neighbour, rotation)) @ rotation).transpose(1, 2)
        roll = amount * math.radians(config.roll_deg) * _normal((count,), generator)
        return PoseUpdate(
            amount[:, None] * config.shift * _normal((count, 2), generator),
            amount * config.log_distance * _normal((count,), generator),
            axis_angle_from_matrix(rotation_about_z(roll) @ tilt),
        )


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator).clamp(-_FARTHEST, _FARTHEST)
