from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.methods.pix2pose.network import COORDINATE_LIMIT, STRIDE, Pix2PoseNet
from pose_estimation_ros.networks.encoder import ResNetEncoder

SMALL = {"widths": (8, 8, 16, 16), "blocks": (1, 1, 1, 1), "decoder": (16, 8, 8), "bins": 8}


def network(objects: int = 3) -> Pix2PoseNet:
    torch.manual_seed(0)
    net = Pix2PoseNet(objects, **SMALL)
    torch.nn.init.normal_(net.head_weight)
    for merge in net.merges:
        torch.nn.init.normal_(merge.modulate.weight, std=0.1)
    return net.eval()


def test_coordinates_are_the_mean_of_the_bins() -> None:
    net = network()
    logits = torch.full((1, 3, 8, 2, 2), -50.0)
    logits[0, 0, 2], logits[0, 1, 7], logits[0, 2, 3:5] = 50.0, 50.0, 50.0
    mean = net.coordinates_of(logits)
    width = 2.0 * COORDINATE_LIMIT / 8
    expected = torch.tensor([-COORDINATE_LIMIT + 2.5 * width, COORDINATE_LIMIT - 0.5 * width, 0.0])
    torch.testing.assert_close(mean, expected[None, :, None, None].expand(1, 3, 2, 2))


def test_a_sample_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    net = network()
    crops, index = torch.rand(3, 3, 64, 64), torch.tensor([2, 0, 1])
    with torch.inference_mode():
        together = net(crops, index)
        for number in range(3):
            alone = net(crops[number : number + 1], index[number : number + 1])
            torch.testing.assert_close(alone.coordinates[0], together.coordinates[number], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(alone.error[0], together.error[number], atol=1e-5, rtol=1e-4)


def test_the_same_crop_means_different_things_for_different_objects() -> None:
    net = network()
    crop = torch.rand(1, 3, 64, 64).expand(3, -1, -1, -1)
    with torch.inference_mode():
        maps = net(crop, torch.arange(3))
    assert (maps.coordinates[0] - maps.coordinates[1]).abs().max() > 0.05


def test_cells_see_the_pixels_they_stand_for() -> None:
    """The gradient of a cell of the finest features lies around the cell's centre in the crop."""
    torch.manual_seed(0)
    encoder = ResNetEncoder((8, 8, 8, 8), (1, 1, 1, 1)).eval()
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    row, column = 6, 9
    encoder.stem(image)[0, :, row, column].abs().sum().backward()
    weight = image.grad.abs().sum(dim=(0, 1))
    rows, columns = torch.nonzero(weight, as_tuple=True)
    centre = torch.stack([(rows.min() + rows.max()) / 2.0, (columns.min() + columns.max()) / 2.0])
    expected = (torch.tensor([row, column]) + 0.5) * STRIDE - 0.5
    torch.testing.assert_close(centre, expected)


def test_wrong_widths_are_named() -> None:
    with pytest.raises(ValueError, match=r"widths \(8, 8\).*expected 4 of each"):
        ResNetEncoder((8, 8))
