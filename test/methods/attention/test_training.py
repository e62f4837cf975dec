"""The refiner's recipe: it learns a handful of pairs by heart, and symmetric objects are compared fairly."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.pairs import PairBatch, PairConfig, PairSource
from pose_estimation_ros.data.synthetic import CropConfig
from pose_estimation_ros.data.view_bank import ViewBank, build_view_bank
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.methods.attention.refiner import Attention
from pose_estimation_ros.methods.attention.training import (
    AttentionRecipe,
    AttentionStep,
    nearest_equivalent,
    train_attention,
)
from pose_estimation_ros.networks.attention_paper import make_attention_net
from pose_estimation_ros.objects.bundle import PosePrior, load_bundle
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.objects.object_tensors import object_sizes
from pose_estimation_ros.training.trainer import TrainingRun

from ..box_training import train_on_box, write_box


def box_pairs(tmp_path: Path, count: int) -> tuple[Catalog, ViewBank, PairBatch]:
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
    source = PairSource(bank, background_pool(8, 64), crops, PairConfig(), object_sizes(catalog), seed=1)
    return catalog, bank, source.pair_batch(count)


@pytest.mark.parametrize(
    "architecture",
    [
        {"hidden": 32, "frozen": False},
        {"variant": "paper", "growth": 6, "layers": (2, 2, 3, 3, 4), "up": (3, 3), "first": 12, "hidden": 48},
    ],
    ids=["compact", "paper"],
)
def test_a_few_pairs_are_learned_by_heart(architecture: dict, tmp_path: Path) -> None:
    catalog, bank, batch = box_pairs(tmp_path, 8)
    torch.manual_seed(0)
    network = make_attention_net(**architecture).train()
    step = AttentionStep(catalog, bank.outline, AttentionRecipe(size=64), torch.device("cpu"))
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(70):
        loss, figures = step(network, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(figures["across"]) < 0.35
    assert float(figures["turn"]) < 0.35


def test_symmetric_rotations_are_compared_with_the_nearest_that_look_the_same() -> None:
    about_z = matrix_from_axis_angle(torch.tensor([[0.0, 0.0, torch.pi]]))[0]
    symmetries = torch.stack([torch.eye(3), about_z])[None].expand(2, -1, -1, -1)
    near = matrix_from_axis_angle(torch.tensor([[0.1, 0.2, 0.3], [0.0, 0.0, 3.0]]))
    found = nearest_equivalent(torch.eye(3).repeat(2, 1, 1), near, symmetries)
    torch.testing.assert_close(found[0], torch.eye(3))
    torch.testing.assert_close(found[1], about_z)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"size": 80, "fine_size": 80}, "fine_size = 80"),
        ({"size": 80, "fine_size": 130}, "multiple of 8"),
    ],
)
def test_larger_images_that_do_not_fit_are_refused(values: dict, named: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(named)):
        AttentionRecipe(**values)


@pytest.mark.parametrize("key", ["padding", "coarse"])
def test_what_follows_from_the_recipe_is_refused_in_its_network(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"network\.{key} = 2"):
        train_attention(TrainingRun(load_bundle("demo"), tmp_path), AttentionRecipe(network={key: 2}))


def test_a_training_for_larger_images_writes_what_the_refiner_needs(tmp_path: Path) -> None:
    bundle = train_on_box(
        tmp_path,
        "attention",
        "samples: 16\nsize: 32\nfine_size: 48\npairs: {padding: 1.4}\n"
        "network: {widths: [8, 16], hidden: 16, frozen: false}\n"
        "bank: {views: 20, clutter: 2, clutter_views: 4, backgrounds: 4}\n"
        "optimiser: {batch: 8, warmup_samples: 0}\nworkers: 0\n",
    )
    refiner = Attention.from_bundle(bundle, torch.device("cpu"))
    assert refiner.size == 48 and refiner.network.coarse_sizes == (32,) and refiner.network.padding == 1.4
