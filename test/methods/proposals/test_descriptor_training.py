"""Descriptors learn which rendering is of what an image shows, and that other objects are none of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.methods.proposals.descriptor_training import (
    TRIAL,
    DescriptorBatch,
    DescriptorRecipe,
    DescriptorStep,
    train_descriptors,
)
from pose_estimation_ros.methods.view_table import SIZE
from pose_estimation_ros.networks.descriptor_net import DescriptorNet
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, load_bundle, save_bundle
from pose_estimation_ros.training.trainer import TrainingRun

CELLS = SIZE // 8
STEP = DescriptorStep(DescriptorRecipe(), torch.device("cpu"))


class Colours(DescriptorNet):
    """Describes a cell by its colour, exactly."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(nn.functional.avg_pool2d(images, 8) - 0.5, dim=1)


def batch(seen: list[list[int]], drawn: list[list[int]], index: list[int]) -> DescriptorBatch:
    """Return images of one colour each, 0 or 1 in every channel."""
    count, whole = len(seen), torch.ones(len(seen), CELLS, CELLS)

    def plain(colours: list[list[int]]) -> Tensor:
        return torch.tensor(colours, dtype=torch.float32)[:, :, None, None].expand(count, 3, SIZE, SIZE)

    return DescriptorBatch((plain(seen) * 255).to(torch.uint8), plain(drawn).half(), whole, whole, torch.tensor(index))


RED, GREEN, BLUE = [1, 0, 0], [0, 1, 0], [0, 0, 1]


@pytest.fixture(scope="module")
def network() -> DescriptorNet:
    return Colours(3, 8, "own", (8, 8, 8), (1, 1, 1))


def test_renderings_of_what_is_seen_cost_least(network: DescriptorNet) -> None:
    right, figures = STEP(network, batch([RED, GREEN, BLUE], [RED, GREEN, BLUE], [0, 1, 2]))
    swapped, wrong = STEP(network, batch([RED, GREEN, BLUE], [GREEN, RED, BLUE], [0, 1, 2]))
    assert right < swapped
    assert float(figures["right"]) == 1.0 and float(wrong["right"]) == pytest.approx(1.0 / 3.0)


def test_other_views_of_the_same_object_are_neither_right_nor_wrong(network: DescriptorNet) -> None:
    others, _ = STEP(network, batch([RED, RED, BLUE], [RED, RED, BLUE], [0, 1, 2]))
    same, _ = STEP(network, batch([RED, RED, BLUE], [RED, RED, BLUE], [0, 0, 2]))
    assert same < others


def test_it_learns_from_pairs_of_a_bundle(tiny_bop: Path, tmp_path: Path) -> None:
    bundle = Bundle(tmp_path / "bundle", "two", BopDataset(tiny_bop).catalog, {}, PosePrior(), meshes=None)
    save_bundle(bundle)
    recipe = DescriptorRecipe.model_validate({**TRIAL.recipe, "samples": 1600})
    train_descriptors(TrainingRun(bundle, tmp_path / "run", tiny_bop / "models"), recipe)
    entry = load_bundle(bundle.path).network("descriptors")
    assert entry.training["finished"] and entry.input_size == SIZE
    first, *_, last = (json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    assert last["chosen"] < 0.8 * first["chosen"] and last["single"] < first["single"]
