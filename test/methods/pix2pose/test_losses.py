from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pose_estimation_ros.methods.pix2pose.losses import (
    coordinate_losses,
    nearest_symmetric_target,
    placement_loss,
    symmetry_table,
)
from pose_estimation_ros.methods.pix2pose.network import COORDINATE_LIMIT, CoordinateMaps
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel


def model(number: int, *symmetries: np.ndarray) -> ObjectModel:
    low, high = np.array([-0.04, -0.02, -0.01]) + 0.003, np.array([0.04, 0.02, 0.01]) + 0.003
    return ObjectModel(
        object_id=number,
        name=f"object_{number}",
        diameter_m=0.1,
        bounds_m=(tuple(low), tuple(high)),
        mesh=Path("absent.ply"),
        discrete_symmetries=symmetries,
    )


def half_turn() -> np.ndarray:
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0])
    matrix[:3, 3] = [0.004, 0.001, 0.0]  # the axis passes beside the box centre
    return matrix


def test_symmetry_table_moves_normalised_coordinates_as_the_transform_moves_points() -> None:
    catalog = Catalog((model(1), model(2, half_turn())))
    table = symmetry_table(catalog)
    assert table.linear.shape[:2] == (2, 2)
    torch.testing.assert_close(table.linear[0], torch.eye(3).expand(2, 3, 3))  # padding: identity
    points = np.random.default_rng(0).uniform(-0.02, 0.02, (50, 3))
    centre, half = catalog[1].centre_m, catalog[1].half_size_m
    moved = points @ half_turn()[:3, :3].T + half_turn()[:3, 3]
    normalised = ((points - centre) / half) @ table.linear[1, 1].numpy().T + table.shift[1, 1].numpy()
    np.testing.assert_allclose(normalised, (moved - centre) / half, atol=1e-5)


def test_the_nearest_symmetric_target_is_chosen_per_sample() -> None:
    table = symmetry_table(Catalog((model(1), model(2, half_turn()))))
    target = torch.rand(3, 3, 4, 4) * 2 - 1
    index = torch.tensor([1, 1, 0])
    flipped = torch.einsum("ij,bjhw->bihw", table.linear[1, 1], target) + table.shift[1, 1][None, :, None, None]
    predicted = torch.stack([flipped[0], target[1], flipped[2]]) + 0.01
    chosen = nearest_symmetric_target(predicted, target, torch.ones(3, 4, 4), index, table)
    torch.testing.assert_close(chosen, torch.stack([flipped[0], target[1], target[2]]))


def maps_of(coordinates: torch.Tensor, bins: int = 32, sharpness: float = 0.7) -> CoordinateMaps:
    """Return what a confident network would say for these coordinates."""
    centres = ((torch.arange(bins) + 0.5) / bins * 2 - 1) * COORDINATE_LIMIT
    width = 2 * COORDINATE_LIMIT / bins
    logits = -0.5 * (((coordinates[:, :, None] - centres[:, None, None]) / width) / sharpness) ** 2
    batch, _, height, side = coordinates.shape
    return CoordinateMaps(
        coordinates, torch.full((batch, height, side), 0.1), torch.zeros(batch, 2, height, side), logits
    )


def test_losses_are_least_at_the_truth_and_count_visible_cells_most() -> None:
    target = torch.rand(2, 3, 4, 4) * 1.6 - 0.8
    full = torch.ones(2, 4, 4, dtype=torch.bool)
    visible = full.clone()
    visible[:, :, 2:] = False
    right = coordinate_losses(maps_of(target), target, full, visible)
    assert right["l1"] == 0.0
    spoiled_visible, spoiled_hidden = target.clone(), target.clone()
    spoiled_visible[..., 0] += 0.3
    spoiled_hidden[..., 3] += 0.3
    at_visible = coordinate_losses(maps_of(spoiled_visible), target, full, visible)
    at_hidden = coordinate_losses(maps_of(spoiled_hidden), target, full, visible)
    assert at_visible["bins"] > at_hidden["bins"] > right["bins"]
    assert float(at_visible["l1"]) == pytest.approx(0.3 * 8 / (16 + 0.3 * 16), rel=1e-4)
    assert float(at_hidden["l1"]) == pytest.approx(0.3 * float(at_visible["l1"]), rel=1e-4)


def test_expected_error_is_one_off_the_object_and_the_true_error_on_it() -> None:
    target = torch.zeros(1, 3, 2, 2)
    full = torch.tensor([[[True, True], [False, False]]])
    maps = maps_of(target + 0.25)._replace(error=torch.tensor([[[0.25, 0.25], [1.0, 1.0]]]))
    assert float(coordinate_losses(maps, target, full, full)["error"]) == pytest.approx(0.0, abs=1e-9)


def test_harder_objects_can_be_drawn_more_often(tmp_path: Path) -> None:
    from pose_estimation_ros.objects.bundle import Bundle, PosePrior
    from pose_estimation_ros.training.crop_source import object_weights

    bundle = Bundle(tmp_path, "two", Catalog((model(1), model(2))), {}, PosePrior())
    assert object_weights(bundle, {"object_2": 3.0}).tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match=r"object_weights: object_3 = 2.0: expected a known object"):
        object_weights(bundle, {"object_3": 2.0})


def test_placement_loss_is_least_at_the_median_and_the_mean_deviation():
    targets = torch.tensor([[-1.0], [0.0], [4.0]]).expand(3, 3)
    best = torch.tensor([0.0, np.log(5.0 / 3.0)]).float()

    def loss(centre, log_scale):
        prediction = torch.cat([torch.full((3, 3), float(centre)), torch.full((3, 3), float(log_scale))], dim=1)
        return float(placement_loss(prediction, targets))

    for shift in (-0.1, 0.1):
        assert loss(best[0], best[1]) < loss(best[0] + shift, best[1])
        assert loss(best[0], best[1]) < loss(best[0], best[1] + shift)
