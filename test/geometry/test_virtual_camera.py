"""Virtual cameras and pose updates: nothing changes nothing, and the right update ends at the right pose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from pose_estimation_ros.geometry.camera import transform_points
from pose_estimation_ros.geometry.rotations import axis_angle_from_matrix
from pose_estimation_ros.geometry.virtual_camera import (
    PoseUpdate,
    rotation_between,
    update_between,
    update_jacobian,
    updated_poses,
    virtual_cameras,
)

SIZE = 80


def _poses(seed: int, count: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    """Return poses (B, 4, 4), centres (B, 3) and outlines (B, 50, 3)."""
    generator = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    poses[:, :3, 3] = generator.uniform([-0.4, -0.3, 0.4], [0.4, 0.3, 1.5], (count, 3))
    centre = generator.uniform(-0.02, 0.02, (count, 3))
    outline = centre[:, None] + generator.uniform(-0.05, 0.05, (count, 50, 3))
    first, second, third = (torch.from_numpy(item) for item in (poses, centre, outline))
    return first, second, third


def _disturbed(poses: Tensor, seed: int) -> Tensor:
    generator = np.random.default_rng(seed)
    turned = poses.clone()
    turn = Rotation.from_rotvec(generator.normal(0.0, 0.25, (len(poses), 3))).as_matrix()
    turned[:, :3, :3] = torch.from_numpy(turn) @ poses[:, :3, :3]
    turned[:, :3, 3] += torch.from_numpy(generator.normal(0.0, [0.01, 0.01, 0.05], (len(poses), 3)))
    return turned


def test_the_middle_comes_into_the_middle_and_the_object_fills_the_image():
    poses, centre, outline = _poses(0)
    cameras = virtual_cameras(poses, centre, outline, SIZE, 1.25)
    seen = transform_points(centre[:, None], cameras.poses(poses))[:, 0]
    torch.testing.assert_close(seen[:, :2], torch.zeros(20, 2, dtype=torch.float64), atol=1e-12, rtol=0.0)
    points = transform_points(outline, cameras.poses(poses))
    pixels = points[..., :2] / points[..., 2:] * cameras.intrinsics[:, :1, :1]
    torch.testing.assert_close(pixels.abs().amax(dim=(1, 2)), torch.full((20,), SIZE / 2.5, dtype=torch.float64))


def test_zeros_leave_every_pose_as_it_is():
    poses, centre, outline = _poses(1)
    cameras = virtual_cameras(poses, centre, outline, SIZE, 1.3)
    nothing = PoseUpdate(*(torch.zeros(20, *shape, dtype=torch.float64) for shape in ((2,), (), (3,))))
    torch.testing.assert_close(updated_poses(poses, centre, cameras, nothing), poses, atol=1e-12, rtol=0.0)


def test_the_right_update_reproduces_the_true_pose():
    truth, centre, outline = _poses(2)
    start = _disturbed(truth, 3)
    cameras = virtual_cameras(start, centre, outline, SIZE, 1.3)
    update = update_between(start, truth, centre, cameras)
    torch.testing.assert_close(updated_poses(start, centre, cameras, update), truth, atol=1e-10, rtol=0.0)


def test_a_shift_moves_the_middle_by_its_share_of_the_image():
    poses, centre, outline = _poses(4)
    cameras = virtual_cameras(poses, centre, outline, SIZE, 1.3)
    shift = torch.tensor([[0.1, -0.05]], dtype=torch.float64).expand(20, -1)
    zero = torch.zeros(20, dtype=torch.float64)
    moved = cameras.poses(updated_poses(poses, centre, cameras, PoseUpdate(shift, zero, zero[:, None].expand(-1, 3))))
    at = transform_points(centre[:, None], moved)[:, 0]
    pixels = at[:, :2] / at[:, 2:] * cameras.intrinsics[:, :1, 0]
    torch.testing.assert_close(pixels, SIZE * shift)


@pytest.mark.parametrize("direction", [(0.0, 0.0, 2.0), (1.0, 0.0, 0.0), (1e-12, 0.0, 1.0), (0.3, -0.2, -0.9)])
def test_rotation_between_turns_one_direction_into_the_other(direction):
    source = torch.tensor([direction], dtype=torch.float64)
    target = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    rotation = rotation_between(source, target)
    torch.testing.assert_close((rotation @ source[:, :, None])[:, :, 0], target * source.norm())
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), torch.eye(3, dtype=torch.float64)[None])


def test_derivatives_of_poses_by_updates_are_those_of_finite_differences():
    poses, centre, outline = _poses(6)
    cameras = virtual_cameras(_disturbed(poses, 7), centre, outline, SIZE, 1.3)  # looks a little beside the objects
    exact = update_jacobian(poses, centre, cameras)
    step = 1e-6
    for column in range(6):
        update = torch.zeros(20, 6, dtype=torch.float64)
        update[:, column] = step
        moved = updated_poses(poses, centre, cameras, PoseUpdate(update[:, :2], update[:, 2], update[:, 3:]))
        turn = axis_angle_from_matrix(moved[:, :3, :3] @ poses[:, :3, :3].transpose(1, 2))
        numeric = torch.cat([moved[:, :3, 3] - poses[:, :3, 3], turn], dim=1) / step
        torch.testing.assert_close(exact[:, :, column], numeric, atol=1e-5, rtol=1e-5)
