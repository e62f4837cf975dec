"""Other rotations: objects turn where they stand, and only better poses replace what was found."""

from __future__ import annotations

import math

import torch

from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.methods.attention.rotation_hypotheses import (
    Outcome,
    half_turns,
    right_angle_rotations,
    rotated_poses,
)
from pose_estimation_ros.methods.view_search import Found


def outcome(first: float, cost: list[float], rejected: list[bool]) -> Outcome:
    """Poses that are told apart by their distance."""
    poses = torch.eye(4).repeat(len(cost), 1, 1)
    poses[:, 2, 3] = first + torch.arange(len(cost))
    fits = torch.tensor(cost)
    covariance = torch.eye(6) * poses[:, 2, 3, None, None]
    return Outcome(poses, fits + 1.0, fits, torch.tensor(rejected), covariance, -fits)


def test_right_angles_are_all_different() -> None:
    turns = right_angle_rotations()
    assert turns.shape == (9, 3, 3)
    everything = torch.cat([turns, torch.eye(3)[None]])
    distances = (everything[:, None] - everything[None]).abs().amax(dim=(2, 3))
    assert float(distances[~torch.eye(10, dtype=torch.bool)].min()) > 0.9
    torch.testing.assert_close(turns.det(), torch.ones(9))


def test_half_turns_are_those_right_angles_that_are_their_own_inverse() -> None:
    turns = right_angle_rotations()
    torch.testing.assert_close(half_turns(), turns[[1, 4, 7]], atol=1e-6, rtol=0.0)
    torch.testing.assert_close(half_turns() @ half_turns(), torch.eye(3).repeat(3, 1, 1), atol=1e-6, rtol=0.0)


def test_objects_turn_about_their_middles_in_their_own_axes() -> None:
    poses = torch.eye(4).repeat(2, 1, 1)
    poses[:, :3, :3] = matrix_from_axis_angle(torch.tensor([[0.3, -0.2, 0.9], [2.0, 0.1, 0.0]]))
    poses[:, :3, 3] = torch.tensor([[0.1, -0.2, 0.8], [0.0, 0.3, 1.5]])
    centre = torch.tensor([[0.01, 0.02, 0.03], [-0.05, 0.0, 0.1]])
    turns = right_angle_rotations()
    turned = rotated_poses(poses, centre, turns)
    before = (poses[:, :3, :3] @ centre[..., None])[..., 0] + poses[:, :3, 3]
    after = (turned[:, :, :3, :3] @ centre[:, None, :, None])[..., 0] + turned[:, :, :3, 3]
    torch.testing.assert_close(after, before[:, None].expand(-1, 9, -1))
    torch.testing.assert_close(turned[:, 4, :3, :3], poses[:, :3, :3] @ turns[4])


def found(distance: float, cost: float) -> Found:
    """Return a pose that is told apart by its distance."""
    pose = torch.eye(4)
    pose[2, 3] = distance
    value = torch.tensor(cost)
    return Found(pose, value + 1.0, value, -value, torch.eye(6) * distance, 30)


def test_poses_are_replaced_where_others_fit_clearly_better() -> None:
    before = outcome(10.0, [1.0, 1.0, 1.0, math.nan], [False, False, True, False])
    after = before
    for row, cost in enumerate([0.7, 0.9, 2.0, 3.0]):
        after = after.improved(found(20.0 + row, cost), row, 0.2)
    assert after.poses[:, 2, 3].tolist() == [20.0, 11.0, 22.0, 23.0]
    assert after.covariance[:, 0, 0].tolist() == [20.0, 11.0, 22.0, 23.0]
    assert after.rejected.tolist() == [False] * 4
    torch.testing.assert_close(after.cost, torch.tensor([0.7, 1.0, 2.0, 3.0]))
    torch.testing.assert_close(after.log_error, torch.tensor([1.7, 2.0, 3.0, 4.0]))
    assert before.poses[0, 2, 3] == 10.0  # nothing is changed in place


def test_what_is_not_a_number_replaces_nothing() -> None:
    before = outcome(10.0, [1.0], [False])
    assert before.improved(found(20.0, math.nan), 0, 0.2).poses[0, 2, 3] == 10.0
