"""The projection loss: zero at the truth, downhill elsewhere, silent where there is no pose."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.methods.pix2pose.losses import SymmetryTable, nearest_symmetric_target
from pose_estimation_ros.methods.pix2pose.network import STRIDE, CoordinateMaps
from pose_estimation_ros.methods.pix2pose.projection import ProjectionConfig, projection_loss
from pose_estimation_ros.methods.pix2pose.training import Pix2PoseRecipe

SIDE = 16  # cells
HALF = torch.tensor([[0.05, 0.04, 0.06]])
CENTRE = torch.tensor([[0.01, 0.0, -0.01]])


def scene(batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return normalised coordinates (B, 3, S, S) of bumpy things half a metre away, their masks, and the cameras."""
    generator = torch.Generator().manual_seed(seed)
    size = SIDE * STRIDE
    camera = torch.tensor([[350.0, 0.0, size / 2.0], [0.0, 350.0, size / 2.0], [0.0, 0.0, 1.0]]).repeat(batch, 1, 1)
    line = (torch.arange(SIDE).float() + 0.5) * STRIDE - 0.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    rays = torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(-1, 3) @ torch.linalg.inv(camera[0]).T
    depth = 0.5 + 0.04 * (2.0 * torch.rand(batch, len(rays), 1, generator=generator) - 1.0)
    rotation = matrix_from_axis_angle(torch.randn(batch, 3, generator=generator))
    points = (rays * depth - torch.tensor([0.0, 0.0, 0.5])) @ rotation  # R^T (X - t)
    normalised = (points - CENTRE) / HALF
    mask = (torch.hypot(x - size / 2, y - size / 2) < 0.4 * size).expand(batch, -1, -1)
    return normalised.transpose(1, 2).reshape(batch, 3, SIDE, SIDE), mask, camera


def losses_of(
    coordinates: Tensor, target: Tensor, mask: Tensor, camera: Tensor, error: Tensor | None = None, **config: float
) -> dict[str, Tensor]:
    batch = len(target)
    error = torch.full((batch, SIDE, SIDE), 0.1) if error is None else error
    empty = torch.zeros(batch, 2, SIDE, SIDE)
    maps = CoordinateMaps(coordinates, error, empty, torch.zeros(batch, 3, 4, SIDE, SIDE))
    box = HALF.expand(batch, 3), CENTRE.expand(batch, 3)
    torch.manual_seed(0)
    loss, parts = projection_loss(maps, target, mask, camera, *box, ProjectionConfig(**{"weight": 1.0, **config}))
    return {"loss": loss, **parts}


def test_true_coordinates_have_no_loss_and_no_gradient() -> None:
    target, mask, camera = scene()
    coordinates = target.clone().requires_grad_()
    found = losses_of(coordinates, target, mask, camera)
    found["loss"].backward()
    assert found["projection"].item() < 1e-4
    assert found["regulariser"].item() < 1e-4
    assert found["posed"].item() == 1.0
    wrong = (1.05 * target).requires_grad_()
    losses_of(wrong, target, mask, camera)["loss"].backward()
    assert coordinates.grad is not None and wrong.grad is not None
    assert float(coordinates.grad.norm()) < 0.01 * float(wrong.grad.norm())


def test_coordinates_learn_the_pose_through_the_loss_alone() -> None:
    target, mask, camera = scene()
    shift = torch.tensor([0.25, -0.2, 0.15])[None, :, None, None]
    coordinates = (target * 1.1 + shift).requires_grad_()
    before = losses_of(coordinates, target, mask, camera)["projection"].item()
    optimiser = torch.optim.Adam([coordinates], lr=0.01)
    for _ in range(60):
        found = losses_of(coordinates, target, mask, camera)
        optimiser.zero_grad()
        found["loss"].backward()
        optimiser.step()
    assert before > 1.0
    assert losses_of(coordinates, target, mask, camera)["projection"].item() < 0.05 * before


def test_any_of_the_equivalent_poses_of_a_symmetric_object_is_right() -> None:
    target, mask, camera = scene()
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    table = SymmetryTable(torch.stack([torch.eye(3), half_turn])[None], torch.zeros(1, 2, 3))
    predicted = torch.einsum("ij,bjhw->bihw", half_turn, target)
    index = torch.zeros(2, dtype=torch.long)
    chosen = nearest_symmetric_target(predicted, target, mask, index, table)
    assert losses_of(predicted, chosen, mask, camera)["projection"].item() < 1e-4
    assert losses_of(predicted, target, mask, camera)["projection"].item() > 1.0


@pytest.mark.parametrize("part", ["projection", "regulariser"])
def test_the_gradient_is_that_of_the_loss(part: str) -> None:
    target, mask, camera = (item.double() if item.is_floating_point() else item for item in scene(1))
    generator = torch.Generator().manual_seed(3)
    noisy = target + 0.05 * torch.randn(target.shape, generator=generator, dtype=torch.float64)
    direction = torch.randn(target.shape, generator=generator, dtype=torch.float64)
    doubt = torch.rand(1, SIDE, SIDE, generator=generator, dtype=torch.float64)
    limits = {"gradient_norm": 1e9, "threshold": 0.5, "cells": 64}

    def value(step: float) -> float:
        error = 0.2 + step * doubt
        return losses_of(noisy + step * direction, target, mask, camera, error, **limits)[part].item()

    coordinates, error = noisy.clone().requires_grad_(), torch.full_like(doubt, 0.2).requires_grad_()
    losses_of(coordinates, target, mask, camera, error, **limits)[part].backward()
    assert coordinates.grad is not None and error.grad is not None
    along = float((coordinates.grad * direction).sum() + (error.grad * doubt).sum())
    assert along == pytest.approx((value(1e-3) - value(-1e-3)) / 2e-3, rel=1e-3)


def test_expected_errors_learn_which_cells_to_trust() -> None:
    target, mask, camera = scene(1)
    wrong = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    wrong[:, :, SIDE // 2 :] = True
    coordinates = target + 0.15 * wrong[:, None]
    error = torch.full((1, SIDE, SIDE), 0.2, requires_grad=True)
    losses_of(coordinates, target, mask, camera, error, threshold=0.5)["projection"].backward()
    assert error.grad is not None
    assert float(error.grad[wrong & mask].sum()) < 0.0  # a larger error there lowers the loss
    assert float(error.grad[~wrong & mask].sum()) > 0.0


def test_crops_without_a_pose_teach_nothing() -> None:
    target, mask, camera = scene(3)
    generator = torch.Generator().manual_seed(4)
    coordinates = target + 0.05 * torch.randn(target.shape, generator=generator)
    coordinates[1] = 2.0 * torch.rand(3, SIDE, SIDE, generator=generator) - 1.0  # noise: no pose agrees with it
    mask = mask.clone()
    mask[2] = False  # nothing to see
    coordinates.requires_grad_()
    error = torch.full((3, SIDE, SIDE), 0.1, requires_grad=True)
    found = losses_of(coordinates, target, mask, camera, error)
    found["loss"].backward()
    assert found["posed"].item() == pytest.approx(1.0 / 3.0)
    for leaf in (coordinates, error):
        assert leaf.grad is not None and bool(torch.isfinite(leaf.grad).all())
        assert float(leaf.grad[0].abs().max()) > 0.0
        assert float(leaf.grad[1:].abs().max()) == 0.0


def test_no_crop_pulls_harder_than_the_limit() -> None:
    target, mask, camera = scene(3)
    mask = mask.clone()
    mask[2] = False  # of the three, two have a pose
    coordinates = (1.2 * target + 0.4).requires_grad_()
    losses_of(coordinates, target, mask, camera, gradient_norm=0.02, weight=0.5)["loss"].backward()
    assert coordinates.grad is not None
    expected = torch.tensor([1.0, 1.0, 0.0]) * 0.02 * 0.5 / 2.0
    torch.testing.assert_close(coordinates.grad.flatten(1).norm(dim=1), expected, rtol=1e-3, atol=0.0)


def test_wrong_values_are_named() -> None:
    with pytest.raises(ValidationError, match="cells"):
        Pix2PoseRecipe.model_validate({"projection": {"cells": 3}})
    with pytest.raises(ValidationError, match="betta"):
        Pix2PoseRecipe.model_validate({"projection": {"betta": 1.0}})
