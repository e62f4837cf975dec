"""Descriptors are compared where both images show the object, and nowhere else."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pose_estimation_ros.networks.descriptor_net import DescriptorNet, masked_cosines


@pytest.fixture(scope="module")
def network() -> DescriptorNet:
    torch.manual_seed(0)
    return DescriptorNet(8, 16, "own", (8, 8, 16), (1, 1, 1)).eval()


def test_descriptors_are_directions(network: DescriptorNet) -> None:
    with torch.inference_mode():
        found = network(torch.rand(2, 3, 32, 64))
    assert found.shape == (2, 8, 4, 8)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, 4, 8))


def random_descriptors(count: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 6, 4, 4, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_only_what_both_show_counts() -> None:
    drawn, hidden = random_descriptors(3, 0), random_descriptors(3, 1)
    share = torch.zeros(3, 4, 4)
    share[:, 1:3, 1:3] = 0.25
    visible = torch.ones(3, 4, 4)
    visible[:, :, 2:] = 0.0
    seen = torch.where(visible[:, None] > 0.0, drawn, hidden)
    torch.testing.assert_close(masked_cosines(seen, visible, drawn, share).diagonal(), torch.ones(3))
    everything = masked_cosines(seen, torch.ones(3, 4, 4), drawn, share).diagonal()
    assert (everything < 0.9).all()
    elsewhere = torch.where(share[:, None] > 0.0, drawn, hidden)
    torch.testing.assert_close(masked_cosines(elsewhere, visible, drawn, share).diagonal(), torch.ones(3))


def test_what_is_hardly_visible_is_like_nothing() -> None:
    drawn = random_descriptors(1, 0)
    share = torch.full((1, 4, 4), 1.0 / 16.0)
    sliver = torch.zeros(1, 4, 4)
    sliver[0, 0, 0] = 0.1
    assert float(masked_cosines(drawn, sliver, drawn, share)) == pytest.approx(0.1 / 16.0 / 0.05)
