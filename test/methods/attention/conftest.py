"""The refiner with the demo's weights, and images for it."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.methods.attention.refiner import Attention

from .scenes import BUNDLE, Scene, scene_of


@pytest.fixture(scope="package")
def refiner() -> Attention:
    return Attention.from_bundle(BUNDLE, torch.device("cpu"))


@pytest.fixture(scope="package")
def scenes() -> list[Scene]:
    dataset = BopDataset(BUNDLE.path / "sequence", "test")
    return [scene_of(dataset, number, 8.0) for number in range(0, 40, 8)]
