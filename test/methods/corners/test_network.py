"""The corner network: object by object, one size of crops."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.methods.corners.network import CornersNet


def small() -> CornersNet:
    torch.manual_seed(0)
    network = CornersNet(3, 64, 32, 8, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1)).eval()
    torch.nn.init.normal_(network.modulate.weight, std=0.3)
    return network


def test_every_object_has_its_own_predictor() -> None:
    network, crops = small(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        first, second = (network(crops, torch.tensor([index])).offsets for index in (0, 1))
        assert float((first - second).abs().mean()) > 1e-3
        network.head_weight[1] += 1.0
        assert torch.equal(network(crops, torch.tensor([0])).offsets, first)
        assert float((network(crops, torch.tensor([1])).offsets - second).abs().mean()) > 1e-2


def test_the_predictor_is_linear_in_the_features() -> None:
    network, index = small(), torch.tensor([2, 2])
    with torch.no_grad():
        network.head_bias.normal_()
        first, second = torch.randn(2, 2, 32)
        between = network.read(0.3 * first + 0.7 * second, index).offsets
        expected = 0.3 * network.read(first, index).offsets + 0.7 * network.read(second, index).offsets
    torch.testing.assert_close(between, expected)


def test_crops_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"crops of \(96, 96\) pixels, expected 64 a side"):
        small()(torch.rand(1, 3, 96, 96), torch.tensor([0]))


@pytest.mark.parametrize("size", [0, 16, 100])
def test_a_size_that_the_encoder_cannot_divide_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size = {size}: expected a multiple of 32 pixels"):
        CornersNet(1, size)
