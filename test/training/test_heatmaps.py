"""The recipe of the heatmaps: the loss, its gradient, and what counts as background."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.networks.heatmap_net import CANVAS, STRIDE
from pose_estimation_ros.training.heatmaps import SquaredError, target_heatmaps, target_profiles


def test_the_error_and_its_gradient_are_those_of_the_plain_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted = torch.rand(2, 3, 4, 6, 6, generator=generator, requires_grad=True)
    down, across = torch.rand(2, 3, 4, 6, generator=generator), torch.rand(2, 3, 4, 6, generator=generator)
    plain = (predicted - down[..., :, None] * across[..., None, :]).square().mean()
    (expected,) = torch.autograd.grad(3.0 * plain, predicted)
    error = SquaredError.apply(predicted, down, across)
    (gradient,) = torch.autograd.grad(3.0 * error, predicted)
    torch.testing.assert_close(error, plain)
    torch.testing.assert_close(gradient, expected)


def test_targets_peak_where_the_control_points_are() -> None:
    pixels = torch.tensor([[[60.0, 44.0], [500.0, 44.0]]])
    centres = torch.tensor([[[64.0, 64.0]]])
    target = target_heatmaps(pixels, centres, 8.0)[0, 0]
    row, column = divmod(int(target[0].argmax()), CANVAS)
    middle = (CANVAS - 1) / 2.0
    assert (column - middle) * STRIDE == pytest.approx(-4.0, abs=STRIDE / 2)
    assert (row - middle) * STRIDE == pytest.approx(-20.0, abs=STRIDE / 2)
    assert float(target[1].abs().max()) == 0.0  # off the canvas


def test_points_near_the_rim_are_left_out_whole() -> None:
    centres = torch.zeros(1, 1, 2)
    rim = CANVAS / 2.0 * STRIDE
    for x, kept in ((rim - 17.0, True), (rim - 15.0, False)):
        down, _ = target_profiles(torch.tensor([[[x, 0.0]]]), centres, 8.0)
        assert bool(down.max() > 0.5) == kept
