"""Look-alikes: views from quite another side that look the same, rolled as they have to be."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.pairs import PairConfig, PairSource
from pose_estimation_ros.data.similar_views import look_alikes
from pose_estimation_ros.data.synthetic import CropConfig
from pose_estimation_ros.data.view_bank import ClusterConfig, ViewBank, build_view_bank
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.object_tensors import object_sizes

from .conftest import box_mesh, box_model

IDENTITY = torch.eye(3)[None, None]
HALF_TURNS = torch.diag_embed(torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]))[
    None
]


def angle_between(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(torch.acos((((first * second).sum(dim=(1, 2)) - 1.0) / 2.0).clamp(-1.0, 1.0)))


def test_look_alikes_of_a_plain_box_are_its_half_turns(plain_bank: ViewBank) -> None:
    """Rolled as said they look the same, so they are turned by one of the box's symmetries, which nobody declared."""
    found = look_alikes(plain_bank, IDENTITY, 60.0, count=1)
    rotation = plain_bank.camera_from_object[:, :3, :3]
    roll = matrix_from_axis_angle(torch.nn.functional.pad(found.roll[:, :1], (2, 0)))
    turned = roll @ rotation[found.view[:, 0]]
    assert bool((angle_between(turned, rotation) > 60.0).all())
    equivalent = rotation[:, None] @ HALF_TURNS[0]
    rest = torch.stack([angle_between(turned, equivalent[:, index]) for index in range(4)]).amin(dim=0)
    assert rest.median() < 25.0  # as near as few views and rolls by thirty degrees come


def test_what_symmetries_say_is_no_look_alike(plain_bank: ViewBank) -> None:
    found = look_alikes(plain_bank, HALF_TURNS, 60.0, count=3)
    rotation = plain_bank.camera_from_object[:, :3, :3]
    for column in range(3):
        roll = matrix_from_axis_angle(torch.nn.functional.pad(found.roll[:, column : column + 1], (2, 0)))
        there = found.view[:, column] >= 0
        turned = (roll @ rotation[found.view[:, column]])[there]
        for symmetry in HALF_TURNS[0]:
            assert bool((angle_between(turned, rotation[there] @ symmetry) > 59.9).all())


def test_wrong_pairs_are_far_off_and_right_ones_near(plain_bank: ViewBank) -> None:
    crops = CropConfig(size=64, off_axis_deg=(0.0, 0.0), masked_share=0.0)
    pairs = PairConfig(wrong_share=0.5, wrong_deg=60.0, neighbours=4)
    sizes = object_sizes(Catalog((box_model(),)))
    source = PairSource(plain_bank, background_pool(8, 64), crops, pairs, sizes, seed=2, symmetries=IDENTITY)
    batches = [source.pair_batch(16) for _ in range(6)]
    angle = torch.cat([angle_between(item.true_rotation, item.rendered_rotation) for item in batches])
    wrong = torch.cat([item.wrong for item in batches])
    assert 0.3 < wrong.float().mean() < 0.7
    assert angle[wrong].median() > 50.0
    assert angle[~wrong].max() < 60.0
    # What is wrong is the rotation: a search puts its candidates where the box is.
    assert torch.cat([item.shift for item in batches])[wrong].norm(dim=1).median() < 0.15
    assert torch.cat([item.log_distance for item in batches])[wrong].abs().median() < 0.3


def test_wrong_pairs_need_symmetries(plain_bank: ViewBank) -> None:
    sizes = object_sizes(Catalog((box_model(),)))
    with pytest.raises(ValueError, match="wrong_share needs symmetries"):
        PairSource(plain_bank, background_pool(8, 64), CropConfig(), PairConfig(wrong_share=0.1), sizes)


def test_views_of_a_cluster_are_near_each_other_and_look_at_the_object(plain_bank: ViewBank) -> None:
    pose = plain_bank.camera_from_object[plain_bank.object_index < 1].reshape(-1, 5, 4, 4)
    angle = torch.stack([angle_between(pose[:, 0, :3, :3], pose[:, index, :3, :3]) for index in range(1, 5)])
    assert angle.max() <= 20.01
    assert angle.min() >= 0.0 and angle.median() > 1.0
    ratio = pose[:, 1:, 2, 3] / pose[:, :1, 2, 3]
    assert ratio.log().abs().max() <= 2.0 * 0.05 + 1e-4
    np.testing.assert_allclose(pose[..., :2, 3].numpy(), 0.0, atol=1e-5)  # the centre is on the axis
    assert math.isclose(float(torch.linalg.det(pose[..., :3, :3].double()).min()), 1.0, abs_tol=1e-4)


@pytest.fixture(scope="module")
def plain_bank() -> ViewBank:
    mesh = box_mesh()
    mesh = replace(mesh, colors=np.full_like(mesh.colors, 0.5))
    prior = PosePrior(distance_m=(0.4, 0.7), other=1.0)
    cluster = ClusterConfig(views=5, spread_deg=20.0, log_distance=0.05)
    return build_view_bank([box_model()], [mesh], prior, 150, [], 0, 48, seed=5, cluster=cluster, occlusion_rays=4)
