"""PnP as a layer: its gradient against finite differences of the converged solver, and what happens when it fails."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pose_estimation_ros.geometry import bpnp as module
from pose_estimation_ros.geometry.bpnp import bpnp, project_pose
from pose_estimation_ros.geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle

CAMERA = torch.tensor([[572.0, 0.0, 325.0], [0.0, 573.0, 242.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
CORNERS = torch.tensor([[x, y, z] for x in (-0.05, 0.05) for y in (-0.075, 0.075) for z in (-0.1, 0.1)]).double()


def problem(distance: float, noise_px: float, seed: int = 0, batch: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return pixels, points, intrinsics and true poses."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.randn(batch, 3, generator=generator, dtype=torch.float64)
    place = torch.randn(batch, 2, generator=generator, dtype=torch.float64) * 0.05 * distance
    pose = torch.cat([turn, place, torch.full((batch, 1), distance, dtype=torch.float64)], dim=1)
    points, camera = CORNERS.expand(batch, -1, -1).clone(), CAMERA.expand(batch, -1, -1).clone()
    pixels = project_pose(pose, points, camera)
    noise = noise_px * torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
    return pixels + noise, points, camera, pose


def as_one(pose: Tensor) -> Tensor:
    """Return entries that do not jump where the axis-angle vector does: rotation matrix and translation."""
    return torch.cat([matrix_from_axis_angle(pose[:, :3]).flatten(1), pose[:, 3:]], dim=1)


def jacobians(inputs: list[Tensor], initial: Tensor, which: int, h: float) -> tuple[Tensor, Tensor]:
    """Return analytic and numeric derivatives of the first sample's pose by one of the inputs."""
    leaves = [item.clone().requires_grad_(number == which) for number, item in enumerate(inputs)]
    out = as_one(bpnp(*leaves, initial=initial))
    rows = [torch.autograd.grad(value, leaves[which], retain_graph=True)[0][0].flatten() for value in out[0]]
    columns = []
    for index in range(inputs[which][0].numel()):
        shifted = []
        for sign in (1.0, -1.0):
            moved = [item.clone() for item in inputs]
            moved[which][0].view(-1)[index] += sign * h
            shifted.append(as_one(bpnp(*moved, initial=initial))[0])
        columns.append((shifted[0] - shifted[1]) / (2.0 * h))
    return torch.stack(rows), torch.stack(columns, dim=1)


@pytest.mark.parametrize("distance", [0.3, 0.6, 1.5])
@pytest.mark.parametrize("noise_px", [0.0, 1.0, 2.0])
@pytest.mark.parametrize(("which", "h"), [(0, 1e-3), (1, 1e-6), (2, 1e-3), (3, 1e-4)])
def test_the_gradient_is_that_of_the_converged_solver(distance: float, noise_px: float, which: int, h: float) -> None:
    pixels, points, camera, pose = problem(distance, noise_px, seed=int(10 * distance))
    weights = 0.5 + torch.rand(pixels.shape[:2], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    analytic, numeric = jacobians([pixels, points, camera, weights], pose, which, h)
    if which == 3 and noise_px == 0.0:
        assert float(analytic.abs().max()) < 1e-9  # exact matches: the weights do not matter
        return
    if which == 2:
        analytic, numeric = analytic[:, [0, 2, 4, 5]], numeric[:, [0, 2, 4, 5]]
    assert float((analytic - numeric).norm() / numeric.norm()) < 1e-4


def test_gauss_newton_is_exact_without_residuals_and_close_with_them() -> None:
    for noise_px, limit in ((0.0, 1e-8), (1.0, 0.05)):
        pixels, points, camera, pose = problem(0.6, noise_px)
        gradients = []
        for gauss_newton in (False, True):
            leaf = pixels.clone().requires_grad_()
            bpnp(leaf, points, camera, initial=pose, gauss_newton=gauss_newton)[:, 5].sum().backward()
            gradients.append(leaf.grad)
        assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < limit


def test_poses_are_found_without_a_start_and_outliers_take_no_part() -> None:
    pixels, points, camera, pose = problem(0.6, 0.0, batch=3)
    generator = torch.Generator().manual_seed(3)
    points = torch.cat([points, torch.rand(3, 20, 3, generator=generator, dtype=torch.float64) * 0.1 - 0.05], dim=1)
    pixels = project_pose(pose, points, camera)
    pixels[:, 5] += 80.0
    leaf = pixels.clone().requires_grad_()
    found = bpnp(leaf, points, camera)
    solved = found.detach()
    turned = matrix_from_axis_angle(solved[:, :3]).transpose(1, 2) @ matrix_from_axis_angle(pose[:, :3])
    assert float(axis_angle_from_matrix(turned).abs().max()) < 1e-8
    assert float((solved[:, 3:] - pose[:, 3:]).abs().max()) < 1e-8
    found[:, 5].sum().backward()
    assert float(leaf.grad[:, 5].abs().max()) == 0.0
    assert float(leaf.grad[:, 6].abs().min()) > 0.0


def test_the_regulariser_has_no_gradient_where_the_points_are_projections() -> None:
    pixels, points, camera, pose = problem(0.6, 0.0)
    leaf = pixels.clone().requires_grad_()
    solved = bpnp(leaf, points, camera, initial=pose)
    (leaf - project_pose(solved, points, camera)).square().sum().backward()
    assert float(leaf.grad.abs().max()) < 1e-8


def test_turning_the_object_and_its_pose_together_changes_no_gradient() -> None:
    pixels, points, camera, pose = problem(0.6, 1.0)
    turn = matrix_from_axis_angle(torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64))
    gradients = []
    for rotation in (torch.eye(3, dtype=torch.float64)[None], turn):
        leaf = pixels.clone().requires_grad_()
        rotated = points @ rotation.transpose(1, 2)
        start = axis_angle_from_matrix(matrix_from_axis_angle(pose[:, :3]) @ rotation.transpose(1, 2))
        solved = bpnp(leaf, rotated, camera, initial=torch.cat([start, pose[:, 3:]], dim=1))
        (project_pose(solved, rotated, camera) - 300.0).square().sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-8)


def test_what_cannot_be_solved_has_no_gradient_and_is_counted() -> None:
    pixels, points, camera, pose = problem(0.6, 0.5, batch=4)
    points[1] = torch.linspace(0.0, 0.1, 8, dtype=torch.float64)[:, None] * torch.ones(3, dtype=torch.float64)  # a line
    pixels[2] = math.nan
    pose[3, 5] = -0.6  # behind the camera
    module.failures.clear()
    leaf = pixels.clone().requires_grad_()
    solved = bpnp(leaf, points, camera, initial=pose)
    solved[0].sum().backward(retain_graph=True)
    assert float(leaf.grad[0].abs().max()) > 0.0
    leaf.grad = None
    module.failures.clear()
    torch.nan_to_num(solved).sum().backward()
    assert torch.isfinite(leaf.grad).all()
    assert float(leaf.grad[1:].abs().max()) == 0.0
    assert float(leaf.grad[0].abs().max()) > 0.0
    assert sum(module.failures.values()) == 3
    assert module.failures["no pose"] == 1
    assert not torch.isnan(solved).any()


def test_robust_solver_that_fails_gives_a_pose_and_no_gradient() -> None:
    generator = torch.Generator().manual_seed(5)
    pixels = (torch.rand(1, 5, 2, generator=generator) * 600.0).requires_grad_()
    points = torch.rand(1, 5, 3, generator=generator) * 1e-9
    module.failures.clear()
    found = bpnp(pixels, points, CAMERA[None].float())
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert pixels.grad is not None and float(pixels.grad.abs().max()) == 0.0
    assert sum(module.failures.values()) == 1


def test_keypoints_learn_a_pose() -> None:
    """The authors' first experiment: free pixels, trained through the pose alone, end on a target pose."""
    _, points, camera, target = problem(0.6, 0.0, batch=1)
    goal = project_pose(target, points, camera)
    generator = torch.Generator().manual_seed(2)
    pixels = (goal + 15.0 * torch.randn(goal.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    optimiser = torch.optim.Adam([pixels], lr=1.0)
    pose = target + 0.05
    for _ in range(200):
        pose = bpnp(pixels, points, camera, initial=pose.detach())
        projected = project_pose(pose, points, camera)
        loss = (projected - goal).square().mean() + (pixels - projected).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 1e-2


def test_a_focal_length_is_learnt_through_the_poses_that_it_implies() -> None:
    pixels, points, _, _ = problem(0.4, 0.0, batch=6)
    focal = torch.tensor([500.0], dtype=torch.float64, requires_grad=True)  # it was 572 and 573
    optimiser = torch.optim.Adam([focal], lr=5.0)
    pose = None
    for _ in range(150):
        camera = torch.zeros(len(pixels), 3, 3, dtype=torch.float64)
        camera[:, 0, 0] = camera[:, 1, 1] = focal
        camera[:, 0, 2], camera[:, 1, 2], camera[:, 2, 2] = 325.0, 242.0, 1.0
        pose = bpnp(pixels, points, camera, initial=pose)
        loss = (project_pose(pose, points, camera) - pixels).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        pose = pose.detach()
    assert focal.item() == pytest.approx(572.5, abs=3.0)


@pytest.mark.parametrize(
    ("name", "shape"), [("points", (1, 7, 3)), ("intrinsics", (3, 3)), ("weights", (1, 9)), ("initial", (1, 7))]
)
def test_shapes_that_do_not_fit_are_named(name: str, shape: tuple[int, ...]) -> None:
    arguments = {"pixels": torch.zeros(1, 8, 2), "points": torch.zeros(1, 8, 3), "intrinsics": torch.eye(3)[None]}
    arguments[name] = torch.zeros(shape)
    with pytest.raises(ValueError, match=f"bpnp: {name} has shape"):
        bpnp(**arguments)
    with pytest.raises(ValueError, match=r"bpnp: pixels has shape \(8, 2\)"):
        bpnp(torch.zeros(8, 2), torch.zeros(1, 8, 3), torch.eye(3)[None])
