"""Covariances of refined poses: from updates to poses, and what further updates would still change."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from pose_estimation_ros.geometry.virtual_camera import PoseUpdate, VirtualCameras, updated_poses, virtual_cameras
from pose_estimation_ros.methods.update_covariance import chosen_covariances, remaining_covariance


def _prediction(update: Tensor, covariance: Tensor | None) -> Any:
    return SimpleNamespace(
        shift=update[:, :2], log_distance=update[:, 2], axis_angle=update[:, 3:], update_covariance=covariance
    )


def _object() -> tuple[Tensor, Tensor, VirtualCameras]:
    """Return a pose (1, 4, 4), the object's centre (1, 3) beside its origin, and a camera that looks at it."""
    pose = torch.eye(4, dtype=torch.float64)[None].clone()
    pose[0, :3, 3] = torch.tensor([0.2, -0.1, 0.8])
    centre = torch.tensor([[0.02, 0.01, -0.03]], dtype=torch.float64)
    outline = 0.05 * torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return pose, centre, virtual_cameras(pose, centre, outline, 80, 1.3)


def test_poses_scatter_as_the_updates_say() -> None:
    pose, centre, cameras = _object()
    generator = torch.Generator().manual_seed(1)
    factor = 1e-3 * torch.randn(6, 6, generator=generator, dtype=torch.float64)
    drawn = torch.randn(20_000, 6, generator=generator, dtype=torch.float64) @ factor.T
    update = PoseUpdate(drawn[:, :2], drawn[:, 2], drawn[:, 3:])
    many = VirtualCameras(cameras.virtual_from_camera.expand(20_000, 3, 3), cameras.intrinsics.expand(20_000, 3, 3), 80)
    moved = updated_poses(pose.expand(20_000, 4, 4), centre.expand(20_000, 3), many, update)
    turn = moved[:, :3, :3] @ pose[0, :3, :3].T  # near the identity: its skew part is the axis-angle vector
    turn = (turn - turn.mT)[:, [2, 0, 1], [1, 2, 0]] / 2.0
    seen = torch.cov(torch.cat([moved[:, :3, 3], turn], dim=1).T)
    stage: Any = SimpleNamespace(
        cameras=cameras, prediction=_prediction(torch.zeros(1, 6, dtype=torch.float64), (factor @ factor.T)[None])
    )
    said = chosen_covariances([stage], torch.stack([pose, pose]), centre, torch.tensor([0]))[0]
    units = seen.diagonal().sqrt()
    torch.testing.assert_close(said / units / units[:, None], seen / units / units[:, None], atol=0.05, rtol=0.0)


def test_what_a_comparison_still_asks_for_is_uncertain_several_times() -> None:
    update = torch.tensor([[0.01, 0.0, -0.02, 0.0, 0.03, 0.0]])
    small = 1e-8 * torch.eye(6)[None]
    deviation = remaining_covariance(_prediction(update, small))[0].diagonal().sqrt()
    expected = 5.0 * torch.tensor([0.01 / 2**0.5] * 2 + [0.02] + [0.03 / 3**0.5] * 3)
    torch.testing.assert_close(deviation, expected, rtol=1e-3, atol=0.0)


def test_networks_that_cannot_tell_and_poses_never_compared_have_none() -> None:
    pose, centre, cameras = _object()
    update = torch.zeros(1, 6, dtype=torch.float64)
    unsure: Any = SimpleNamespace(cameras=cameras, prediction=_prediction(update, None))
    sure: Any = SimpleNamespace(
        cameras=cameras, prediction=_prediction(update, torch.eye(6, dtype=torch.float64)[None])
    )
    poses = torch.stack([pose] * 3)
    assert remaining_covariance(unsure.prediction) is None
    for trace, chosen, is_known in (([sure, sure], 1, True), ([sure, sure], 2, False), ([unsure, sure], 0, False)):
        said = chosen_covariances(trace, poses, centre, torch.tensor([chosen]))
        assert bool(torch.isfinite(said).all()) == is_known
