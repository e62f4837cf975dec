"""Hands whose joints lie where given ones do."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.data.hand_fit import fit_hands
from pose_estimation_ros.data.hand_scenes import HandSceneConfig, sample_hands
from pose_estimation_ros.data.nyu_hand import PALM


@pytest.fixture(scope="module")
def joints() -> torch.Tensor:
    _, skeletons, _ = sample_hands(8, HandSceneConfig(variation=0.065), torch.Generator().manual_seed(3))
    return skeletons.joints


def test_fitted_hands_have_their_joints_within_millimetres_of_the_given_ones(joints: torch.Tensor):
    fitted = fit_hands(joints)
    off = (fitted.skeletons.joints - joints).norm(dim=2)
    assert off.mean() < 0.0025 and off.max() < 0.02
    assert torch.allclose(fitted.residual, off.mean(dim=1))
    spread = joints - joints[:, PALM : PALM + 1]
    assert spread.norm(dim=2).mean() > 0.05  # which a hand of its own pose would be off by, about


def test_fitted_hands_have_angles_that_hands_have(joints: torch.Tensor):
    palm = joints[:, PALM]
    normal = torch.linalg.cross(joints[:, 12] - joints[:, 11], palm - joints[:, 11])
    normal = normal / normal.norm(dim=1, keepdim=True)
    depth = ((joints - palm[:, None]) * normal[:, None]).sum(dim=2)
    reversed_fingers = joints - 2.0 * depth[..., None] * normal[:, None]  # as a left hand has them
    assert fit_hands(reversed_fingers).residual.mean() > 4.0 * fit_hands(joints).residual.mean()


@pytest.mark.parametrize("wrong", [torch.zeros(2, 13, 3), torch.full((1, 14, 3), torch.nan)], ids=["13", "nan"])
def test_joints_that_are_none_are_refused(wrong: torch.Tensor):
    with pytest.raises(ValueError, match=r"fit_hands: joints of shape .* expected finite ones \(B, 14, 3\)"):
        fit_hands(wrong)
