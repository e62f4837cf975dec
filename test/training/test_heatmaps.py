"""The recipe of the heatmaps: the loss, its gradient, and what counts as background."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.networks.heatmap_net import CANVAS, CELL, HeatmapNet
from pose_estimation_ros.training.heatmaps import drawn_points, target_heatmaps, target_votes, vote_losses


def test_targets_peak_where_the_control_points_are() -> None:
    pixels = torch.tensor([[[60.0, 40.0], [500.0, 44.0]]])
    centres = torch.tensor([[[64.0, 64.0]]])
    target = target_heatmaps(pixels, centres)[0, 0]
    row, column = divmod(int(target[0].argmax()), CANVAS)
    middle = (CANVAS - 1) / 2.0
    assert (column - middle) * CELL == pytest.approx(-4.0, abs=CELL / 2)
    assert (row - middle) * CELL == pytest.approx(-24.0, abs=CELL / 2)
    assert float(target[1].abs().max()) == 0.0  # off the canvas


def test_points_near_the_rim_are_left_out_whole() -> None:
    centres = torch.zeros(1, 1, 2)
    rim = CANVAS / 2.0 * CELL
    for x, kept in ((rim - 25.0, True), (rim - 23.0, False)):
        target = target_heatmaps(torch.tensor([[[x, 0.0]]]), centres)
        assert bool(target.max() > 0.5) == kept


def test_targets_share_out_one_vote_or_none() -> None:
    pixels = torch.tensor([[[60.0, 40.0], [500.0, 44.0]]])
    centres = torch.tensor([[[64.0, 64.0], [64.0, 64.0]]])
    votes = target_votes(pixels, centres, torch.tensor([[True, False]]))
    torch.testing.assert_close(votes.sum(dim=-1), torch.ones(1, 2, 2))
    expected = torch.tensor([[0.0, 1.0], [1.0, 1.0]])  # the last share is for "nowhere"
    torch.testing.assert_close(votes[0, :, :, -1], expected, atol=1e-5, rtol=0.0)


def test_both_losses_are_least_at_the_mean_of_the_targets() -> None:
    """Patches that look alike: neither loss prefers one of the answers, or anything but their mean."""
    targets = torch.zeros(2, 10)
    targets[0, 2], targets[1, 7] = 1.0, 1.0
    logits = torch.zeros(1, 10, requires_grad=True)
    for kind in (0, 1):
        with torch.no_grad():
            logits.copy_(torch.randn(1, 10, generator=torch.Generator().manual_seed(kind)))
        optimiser = torch.optim.Adam([logits], lr=0.1)
        for _ in range(400):
            loss = vote_losses(logits.log_softmax(dim=-1).expand(2, -1), targets)[kind]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        found = logits.detach().softmax(dim=-1)[0]
        assert found[[2, 7]].tolist() == pytest.approx([0.5, 0.5], abs=0.03)


def test_a_step_trains_corners_or_surface_in_the_wanted_shares() -> None:
    torch.manual_seed(0)
    assert drawn_points(16, None) == range(16)
    assert drawn_points(8, 0.9) == range(8)  # corners are all there is
    drawn = [drawn_points(16, 0.25) for _ in range(400)]
    assert set(drawn) == {range(8), range(8, 16)}
    assert 70 < drawn.count(range(8, 16)) < 130


def test_points_of_a_step_are_read_as_if_all_were() -> None:
    torch.manual_seed(0)
    network = HeatmapNet(objects=2).eval()
    crops, index, chosen = torch.rand(2, 3, 64, 64), torch.tensor([0, 1]), torch.tensor([[0, 7, 24], [3, 4, 5]])
    torch.nn.init.normal_(network.out.weight)
    with torch.inference_mode():
        votes = network.log_votes(crops, index, chosen)
        surface = network.log_votes(crops, index, chosen, range(8, 16))
    assert float((votes[:, :, :8] - votes[:, :, 8:]).abs().mean()) > 1.0  # points differ
    torch.testing.assert_close(surface, votes[:, :, 8:])
