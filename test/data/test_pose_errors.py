"""Errors of poses that photographs are compared at: as large as those of the pairs of views."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.pairs import PairConfig, PairSource
from pose_estimation_ros.data.pose_errors import PoseErrors
from pose_estimation_ros.data.synthetic import CropConfig
from pose_estimation_ros.data.view_bank import ViewBank
from pose_estimation_ros.geometry.rotations import geodesic_distance, matrix_from_axis_angle
from pose_estimation_ros.geometry.virtual_camera import PoseUpdate
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.object_tensors import object_sizes

from .conftest import box_model

COUNT = 512
CONFIG = PairConfig(neighbours=6, roll_deg=3.0)


def drawn(bank: ViewBank, seed: int, **changes: float) -> PoseUpdate:
    errors = PoseErrors(bank, CONFIG.model_copy(update=changes))
    return errors.draw(torch.zeros(COUNT, dtype=torch.int64), torch.Generator().manual_seed(seed))


def test_errors_are_as_large_as_those_between_the_views_of_pairs(bank: ViewBank) -> None:
    errors = drawn(bank, 0)
    crops = CropConfig(size=32, front_layers=0, back_layers=0, masked_share=0.0, off_axis_deg=(0.0, 0.0))
    pairs = PairSource(bank, background_pool(2, 32), crops, CONFIG, object_sizes(Catalog((box_model(),)))).pair_batch(
        COUNT
    )
    turns = geodesic_distance(pairs.rendered_rotation, pairs.true_rotation)
    identity = torch.eye(3).expand(COUNT, 3, 3)
    of_errors = geodesic_distance(matrix_from_axis_angle(errors.axis_angle), identity)
    for ours, theirs in (
        (of_errors, turns),
        (errors.shift.norm(dim=1), pairs.shift.norm(dim=1)),
        (errors.log_distance.abs(), pairs.log_distance.abs()),
    ):
        torch.testing.assert_close(quartiles(ours), quartiles(theirs), rtol=0.25, atol=0.01)


def test_what_is_drawn_follows_from_the_seed_and_the_size_of_the_errors(bank: ViewBank) -> None:
    first, again, other = (drawn(bank, seed) for seed in (1, 1, 2))
    assert torch.equal(first.axis_angle, again.axis_angle) and torch.equal(first.shift, again.shift)
    assert not torch.equal(first.axis_angle, other.axis_angle)
    nothing = drawn(bank, 1, min_error_ratio=0.0, max_error_ratio=0.0)
    for value in (nothing.axis_angle, nothing.shift, nothing.log_distance):
        torch.testing.assert_close(value, torch.zeros_like(value), atol=1e-3, rtol=0.0)


def quartiles(values: Tensor) -> Tensor:
    return torch.quantile(values, torch.tensor([0.25, 0.5, 0.75]))
