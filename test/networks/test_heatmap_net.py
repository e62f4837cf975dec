"""Patch heatmaps: what a patch sees, what ambiguous patches say, how votes add up."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pose_estimation_ros.networks.efficientnet_lite import EfficientNetLite0
from pose_estimation_ros.networks.heatmap_net import (
    CANVAS,
    CELL,
    PATCH,
    STRIDE,
    HeatmapNet,
    accumulate,
    first_cell,
    patch_centres,
    patch_grid,
    spread_patches,
    votes_to_heatmaps,
)

SMALL: dict[str, Any] = {"points": 2, "widths": (8, 8, 8, 8, 16), "hidden": 32}


def network() -> HeatmapNet:
    torch.manual_seed(0)
    net = HeatmapNet(2, **SMALL)
    torch.nn.init.normal_(net.out.weight, std=0.1)
    return net.eval()


def test_a_patch_sees_its_own_pixels_and_no_others() -> None:
    net, images = network(), torch.rand(1, 3, 64, 64)
    grid = patch_grid(64)
    changed = images.clone()
    changed[:, :, :PATCH, :PATCH] = 0.0  # exactly the first patch
    with torch.no_grad():
        difference = (net(images, torch.tensor([0])) - net(changed, torch.tensor([0]))).abs().amax(dim=(2, 3, 4))[0]
    rows, columns = torch.arange(grid * grid) // grid, torch.arange(grid * grid) % grid
    touched = (rows * STRIDE < PATCH) & (columns * STRIDE < PATCH)
    assert float(difference[~touched].max()) == 0.0
    assert float(difference[touched].min()) > 0.0


@pytest.mark.parametrize(
    ("trunk", "window", "off_centre"),
    [
        ({"widths": (8, 8, 16)}, 96, 2.0),  # half a step of the encoder's first layers
        ({"widths": (16,), "encoder": "lite0"}, 83, -3.5),  # half of a cell: see EfficientNetLite0
        ({"widths": (16,), "encoder": "lite0", "deep": 3}, 163, -3.5),
    ],
)
def test_a_patch_of_the_encoder_sees_a_window(trunk: dict[str, Any], window: int, off_centre: float) -> None:
    torch.manual_seed(0)
    net = HeatmapNet(1, points=2, hidden=32, trunk="encoder", **trunk).eval()
    torch.nn.init.normal_(net.out.weight, std=0.1)
    images = torch.rand(1, 3, 192, 192, requires_grad=True)
    grid = patch_grid(192, net.window)
    number = 12 * grid + 11
    net(images, torch.tensor([0]), torch.tensor([[number]])).square().sum().backward()
    assert images.grad is not None
    rows, columns = (images.grad.abs().amax(dim=(0, 1, axis)).nonzero() for axis in (3, 2))
    centres = patch_centres(192, window=net.window)
    for seen, centre in ((rows, centres[12]), (columns, centres[11])):
        assert int(seen.max() - seen.min()) + 1 == window
        assert float(centre) - float(seen.min() + seen.max()) / 2.0 == off_centre


def test_a_deep_trunk_starts_from_any_encoder_of_its_kind() -> None:
    """All of its encoder is a part of the whole one, from which trainings start."""
    own = HeatmapNet(1, points=2, widths=(16,), hidden=32, trunk="encoder", encoder="lite0", deep=3).encoder
    whole = EfficientNetLite0()
    assert own.load_state_dict(whole.state_dict(), strict=False).missing_keys == []


def test_a_frozen_encoder_stays_as_it_is() -> None:
    net = HeatmapNet(1, points=2, widths=(8, 8, 16), hidden=32, trunk="encoder", frozen=True).train()
    torch.nn.init.normal_(net.out.weight, std=0.1)
    before = {key: value.clone() for key, value in net.encoder.state_dict().items()}
    net(torch.rand(2, 3, 64, 64), torch.tensor([0, 0])).square().sum().backward()
    assert all(parameter.grad is None for parameter in net.encoder.parameters())
    assert net.join.weight.grad is not None
    assert all(torch.equal(before[key], value) for key, value in net.encoder.state_dict().items())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trunk": "windows"}, "trunk 'windows', expected one of patches, encoder"),
        ({"trunk": "encoder", "widths": (8, 8, 8, 8, 16)}, "trunk 'encoder' has 3"),
        ({"frozen": True}, "only trunk 'encoder' has an encoder"),
        ({"deep": 3}, "deep = 3, but only encoder 'lite0'"),
        ({"trunk": "encoder", "widths": (16,), "encoder": "lite0", "deep": 7}, "deep = 7, expected 0 to 6"),
        ({"trunk": "encoder", "widths": (16,), "encoder": "lite0", "deep": -1}, "deep = -1, expected 0 to 6"),
    ],
)
def test_what_does_not_fit_the_trunk_is_named(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HeatmapNet(1, **{**SMALL, **changed})


def test_the_encoder_wants_whole_cells() -> None:
    net = HeatmapNet(1, points=2, widths=(8, 8, 16), hidden=32, trunk="encoder")
    with pytest.raises(ValueError, match="60x64, trunk 'encoder' wants sides divisible by 8"):
        net(torch.rand(1, 3, 64, 60), torch.tensor([0]))


def test_a_patch_alone_says_the_same_as_in_its_crop() -> None:
    net, images = network(), torch.rand(1, 3, 64, 64)
    number = 1 * patch_grid(64) + 3
    alone = net(images[:, :, STRIDE : STRIDE + PATCH, 3 * STRIDE : 3 * STRIDE + PATCH], torch.tensor([1]))
    torch.testing.assert_close(net(images, torch.tensor([1]))[:, number], alone[:, 0], atol=1e-5, rtol=1e-4)


def test_votes_of_a_patch_sum_to_one_and_can_be_read_for_some_points() -> None:
    net, index = network(), torch.tensor([1, 0])
    features = net.patch_features(torch.rand(2, 3, 64, 64))
    votes = net.read(features, index, range(2))
    torch.testing.assert_close(votes.exp().sum(dim=-1), torch.ones(votes.shape[:3]))
    torch.testing.assert_close(net.read(features, index, range(1, 2)), votes[:, :, 1:])
    assert float(votes.detach().std()) > 0.01


def test_chosen_patches_say_what_they_say_among_all() -> None:
    net, images, index = network(), torch.rand(2, 3, 64, 64), torch.tensor([1, 0])
    chosen = torch.tensor([[3, 7, 11], [0, 24, 5]])
    every = net(images, index)
    some = net(images, index, chosen)
    torch.testing.assert_close(some[0], every[0, chosen[0]])
    torch.testing.assert_close(some[1], every[1, chosen[1]])


def test_patches_that_look_alike_answer_with_the_mean() -> None:
    """Two targets for one patch: the squared error leaves both peaks at half their height."""
    torch.manual_seed(1)
    net = HeatmapNet(1, points=1, widths=(8, 8, 8, 8, 16), hidden=64)
    patch = torch.rand(1, 3, PATCH, PATCH).expand(2, -1, -1, -1)
    target = torch.zeros(2, 1, 1, CANVAS, CANVAS)
    target[0, 0, 0, 5, 6], target[1, 0, 0, 11, 9] = 1.0, 1.0
    net.train()
    for module in net.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm1d)):
            module.eval()
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(150):
        loss = 100.0 * (net(patch, torch.zeros(2, dtype=torch.long)) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    prediction = net(patch[:1], torch.tensor([0])).detach()[0, 0, 0]
    assert float(prediction[5, 6]) == pytest.approx(0.5, abs=0.05)
    assert float(prediction[11, 9]) == pytest.approx(0.5, abs=0.05)
    prediction[5, 6] = prediction[11, 9] = 0.0
    assert float(prediction.abs().max()) < 0.1


def test_votes_land_where_the_patches_point() -> None:
    size, point = 96, torch.tensor([47.5, 55.5])
    line, grid = patch_centres(size), patch_grid(size)
    maps = torch.zeros(1, grid * grid, 1, CANVAS, CANVAS)
    voted = 0
    for number in range(grid * grid):
        centre = torch.stack([line[number % grid], line[number // grid]])
        cell = (point - centre) / CELL + (CANVAS - 1) / 2.0
        if bool((cell == cell.round()).all()):  # every fourth patch has a cell just there
            maps[0, number, 0, int(cell[1]), int(cell[0])] = 1.0
            voted += 1
    total = accumulate(maps, torch.arange(grid * grid)[None], grid)[0, 0]
    row, column = divmod(int(total.argmax()), total.shape[1])
    assert voted > 10
    assert float(total[row, column]) == pytest.approx(voted * (6.0 / 8.0) ** 2)
    assert first_cell() + STRIDE * column == float(point[0])
    assert first_cell() + STRIDE * row == float(point[1])


def test_moving_the_patches_moves_the_sum() -> None:
    generator = torch.Generator().manual_seed(2)
    maps = torch.rand(1, 3, 2, CANVAS, CANVAS, generator=generator)
    here, there = torch.tensor([[8, 11, 19]]), torch.tensor([[16, 19, 27]])  # one row further down in a grid of eight
    total, moved = accumulate(maps, here, 8), accumulate(maps, there, 8)
    torch.testing.assert_close(total[:, :, :-1], moved[:, :, 1:])
    assert float(total.std()) > 0.1


def test_the_sum_holds_every_vote() -> None:
    """Between the cells of a patch lie those of its neighbours: each vote is spread over four cells' worth."""
    maps = torch.zeros(1, 2, 1, CANVAS, CANVAS)
    maps[0, 0, 0, 5, 6], maps[0, 1, 0, 9, 3] = 1.0, 0.5
    assert float(accumulate(maps, torch.tensor([[3, 8]]), 8).sum()) == pytest.approx(4.0 * 1.5)


def test_a_sharp_vote_is_a_peak_of_one() -> None:
    cells = (torch.arange(CANVAS) - 6.0) * CELL
    bell = torch.exp(-0.5 * (cells / 12.0) ** 2)
    votes = torch.outer(bell, bell).flatten()
    log_votes = torch.cat([votes / votes.sum(), torch.zeros(1)]).log()
    assert float(votes_to_heatmaps(log_votes)[6, 6]) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("count", "expected"), [(64, 64), (1, 1), (1000, 169)])
def test_spread_patches_are_different_and_reach_the_rim(count: int, expected: int) -> None:
    chosen = spread_patches(13, count)
    assert len(chosen.unique()) == len(chosen) == expected
    if expected > 1:
        assert {0, 12, 156, 168} <= set(chosen.tolist())


def test_a_crop_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="crops of 16 pixels, expected at least 32"):
        patch_grid(16)
