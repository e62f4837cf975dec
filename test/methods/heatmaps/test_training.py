"""The recipe of the heatmaps: the loss, its gradient, and what counts as background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pose_estimation_ros.methods.heatmaps.estimator import Heatmaps
from pose_estimation_ros.methods.heatmaps.training import (
    HeatmapsRecipe,
    HeatmapsStep,
    drawn_points,
    shown_to_trunk,
    target_heatmaps,
    target_votes,
    train_heatmaps,
    vote_losses,
)
from pose_estimation_ros.networks.heatmap_net import CANVAS, CELL, PATCH, HeatmapNet
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.control_points import CORNERS, box_corners
from pose_estimation_ros.training.trainer import TrainingRun

from ..box_training import train_on_box


def test_targets_peak_where_the_control_points_are() -> None:
    pixels = torch.tensor([[[60.0, 40.0], [500.0, 44.0]]])
    centres = torch.tensor([[[64.0, 64.0]]])
    target = target_heatmaps(pixels, centres)[0, 0]
    row, column = divmod(int(target[0].argmax()), CANVAS)
    centre = (CANVAS - 1) / 2.0
    assert (column - centre) * CELL == pytest.approx(-4.0, abs=CELL / 2)
    assert (row - centre) * CELL == pytest.approx(-24.0, abs=CELL / 2)
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


def test_a_patch_shows_the_object_if_its_window_does() -> None:
    step = HeatmapsStep(load_bundle("demo"), HeatmapsRecipe(patches=256, background=1.0), torch.device("cpu"))
    visible = torch.zeros(1, 32, 32)
    visible[0, 10:12, 16:18] = 1.0  # 8x8 pixels
    chosen, shows = step.choose(visible, 8)
    assert chosen[shows].tolist() == [5 * 16 + 8]
    chosen, shows = step.choose(visible, PATCH)
    assert not shows.any()  # 64 of 1024 pixels


@pytest.mark.parametrize(("key", "instead"), [("points", "surface_points"), ("padding", "crops.padding")])
def test_what_follows_from_the_recipe_is_refused_in_its_network(key: str, instead: str, tmp_path: Path) -> None:
    run = TrainingRun(load_bundle("demo"), tmp_path)
    with pytest.raises(ValueError, match=rf"network\.{key} = 2: .*{instead}"):
        train_heatmaps(run, HeatmapsRecipe(network={key: 2}))


def test_a_training_writes_what_the_backend_needs(tmp_path: Path) -> None:
    bundle = train_on_box(
        tmp_path,
        "heatmaps",
        "samples: 16\nsize: 64\npatches: 16\nsurface_points: 3\nnetwork: {trunk: encoder, widths: [8, 16, 24], "
        "hidden: 16}\n"
        "crops: {padding: 1.6, masked_share: 0.0}\nbank: {views: 20, clutter: 2, clutter_views: 4, backgrounds: 4}\n"
        "optimiser: {batch: 16, warmup_samples: 0}\nworkers: 0\n",
    )
    backend = Heatmaps.from_bundle(bundle, torch.device("cpu"))
    assert backend.crop_padding == 1.6 and backend.crop_size == 64
    corners = box_corners(bundle.catalog[0])
    np.testing.assert_allclose(backend.network.control_points[0, :CORNERS], corners, atol=1e-4)
    reach = np.ptp(backend.network.outline[0].numpy(), axis=0)
    np.testing.assert_allclose(reach, [0.10, 0.08, 0.06], atol=1e-4)


@pytest.mark.parametrize("trunk", ["patches", "encoder"])
def test_masks_say_of_every_cell_of_the_trunk_how_much_it_shows(trunk: str) -> None:
    """A mask of the left half: cells that see nothing else show all, those of the right half nothing."""
    network = HeatmapNet(1, points=8, widths={"patches": (4,) * 5, "encoder": (4, 4, 4)}[trunk], hidden=4, trunk=trunk)
    visible = torch.zeros(1, 16, 16)
    visible[:, :, :8] = 1.0
    shown = shown_to_trunk(network.eval(), visible)
    maps = network.trunk_features(torch.rand(1, 3, 64, 64))
    for item in maps:
        share = torch.nn.functional.adaptive_avg_pool2d(shown[:, None], item.shape[2:])[0, 0]
        assert (share[:, 0] == 1.0).all() and (share[:, -1] == 0.0).all()
        assert (share.diff(dim=1) <= 0.0).all() and share.mean() == pytest.approx(0.5)
    if trunk == "patches":
        assert shown.shape[1:] == maps[0].shape[2:]  # as many as there are cells, each of what that one sees
