"""The hand network: its prior and its size."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.data.hand_scenes import HandCropConfig, HandCropDraw, HandSceneConfig
from pose_estimation_ros.methods.hands.network import HandNet, fit_prior

SMALL = {"size": 32, "widths": [16, 16, 16, 16], "blocks": 1, "features": 32}


def test_thirty_components_say_where_joints_are_within_three_millimetres():
    draw = HandCropDraw(HandSceneConfig(), HandCropConfig())
    mean, basis = fit_prior(draw.joints(1, 4000), 30)
    fresh = draw.joints(2, 500).flatten(1) - mean
    missing = (fresh - fresh @ basis.T @ basis).unflatten(1, (14, 3))
    assert torch.allclose(basis @ basis.T, torch.eye(30), atol=1e-4)
    assert 150.0 * missing.norm(dim=2).mean() < 3.0


def test_the_published_size_has_twenty_blocks_of_three_convolutions_and_reads_four_by_four_cells():
    network = HandNet(size=128, widths=(64, 128, 256, 256), blocks=5)
    inner = [item for item in network.stages.modules() if isinstance(item, torch.nn.Conv2d)]
    shortcuts = sum(block.shortcut is not None for block in network.stages)
    assert len(inner) - shortcuts == 4 * 5 * 3
    assert network.enter.in_features == 256 * 4 * 4


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="size = 40: expected a multiple of 32"):
        HandNet(size=40)
    with pytest.raises(ValueError, match=r"shape \(1, 64, 64\), expected \(1, 32, 32\)"):
        HandNet(**SMALL).features(torch.zeros(1, 1, 64, 64))
    with pytest.raises(ValueError, match="10 poses, expected at least 30"):
        fit_prior(torch.zeros(10, 14, 3), 30)
