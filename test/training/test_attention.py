"""The refiner's recipe: it learns a handful of pairs by heart, and symmetric objects are compared fairly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.pairs import PairConfig, PairSource
from pose_estimation_ros.data.synthetic import CropConfig
from pose_estimation_ros.data.view_bank import build_view_bank
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.networks.attention_net import AttentionNet
from pose_estimation_ros.objects.bundle import PosePrior
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.objects.object_tensors import object_sizes
from pose_estimation_ros.training.attention import AttentionRecipe, AttentionStep, nearest_equivalent

from .test_pix2pose import write_box


def test_a_few_pairs_are_learned_by_heart(tmp_path: Path) -> None:
    write_box(tmp_path / "box.ply")
    mesh = load_mesh(tmp_path / "box.ply", "mm")
    half = (0.05, 0.04, 0.03)
    model = ObjectModel(
        1, "box", 2.0 * float(np.linalg.norm(half)), (tuple(-x for x in half), half), tmp_path / "box.ply"
    )
    catalog = Catalog((model,))
    prior = PosePrior(elevation_deg=(10.0, 80.0), roll_deg=(-30.0, 30.0), distance_m=(0.4, 0.6), other=0.0)
    bank = build_view_bank([model], [mesh], prior, 200, [mesh], 4, size=64)
    crops = CropConfig(size=64, roll_deg=(-30.0, 30.0), front_layers=1, off_axis_deg=(0.0, 0.0), masked_share=0.0)
    batch = PairSource(bank, background_pool(8, 64), crops, PairConfig(), object_sizes(catalog), seed=1).pair_batch(8)
    torch.manual_seed(0)
    network = AttentionNet(hidden=32, frozen=False).train()
    step = AttentionStep(catalog, bank.outline, AttentionRecipe(size=64), torch.device("cpu"))
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(70):
        loss, figures = step(network, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(figures["across"]) < 0.35
    assert float(figures["turn"]) < 0.35
    assert float(figures["flow"]) < 0.35


def test_symmetric_rotations_are_compared_with_the_nearest_that_look_the_same() -> None:
    about_z = matrix_from_axis_angle(torch.tensor([[0.0, 0.0, torch.pi]]))[0]
    symmetries = torch.stack([torch.eye(3), about_z])[None].expand(2, -1, -1, -1)
    near = matrix_from_axis_angle(torch.tensor([[0.1, 0.2, 0.3], [0.0, 0.0, 3.0]]))
    found = nearest_equivalent(torch.eye(3).repeat(2, 1, 1), near, symmetries)
    torch.testing.assert_close(found[0], torch.eye(3))
    torch.testing.assert_close(found[1], about_z)
