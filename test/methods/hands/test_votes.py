"""Joints as means of votes."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.data.hand_scenes import HandCropDraw
from pose_estimation_ros.methods.hands.network import HandNet, fit_prior
from pose_estimation_ros.methods.hands.training import TRIAL, HandRecipe, HandStep, prior_joints
from pose_estimation_ros.methods.hands.votes import JointVotes

SMALL = {"size": 64, "widths": [16, 16, 16, 16], "blocks": 1, "features": 24, "reading": "votes"}
RECIPE = HandRecipe.model_validate(TRIAL.recipe)


def test_a_joint_is_where_the_surest_places_say_it_is():
    votes = JointVotes([4], channels=2, joints=3)
    with torch.no_grad():
        for parameter in votes.votes.parameters():
            parameter.zero_()
        votes.votes.weight[4 * torch.arange(3), 0] = 60.0  # the first channel says how sure a place is
        votes.votes.bias.view(3, 4)[:, 1:] = torch.tensor([[0.1, 0.0, 0.5], [0.0, -0.2, -0.5], [0.0, 0.0, 0.0]])
    features = torch.zeros(1, 2, 4, 8)
    features[0, 0, 1, 6] = features[0, 0, 3, 6] = 1.0  # x = 0.625, y = -0.25 and 0.75
    found = votes(features)[0]
    expected = torch.tensor([[0.725, 0.25, 0.5], [0.625, 0.05, -0.5], [0.625, 0.25, 0.0]])
    assert torch.allclose(found, expected, atol=1e-5)


def test_features_of_all_levels_reach_the_places_that_vote():
    torch.manual_seed(0)
    votes = JointVotes([3, 5], channels=8, joints=2).eval()
    fine, coarse = torch.randn(1, 3, 4, 4), torch.randn(1, 5, 2, 2)
    features = votes.features([fine, coarse])
    assert features.shape == (1, 8, 4, 4)
    for levels in ([fine + 1.0, coarse], [fine, coarse + 1.0]):
        assert (votes.features(levels) - features).abs().max() > 1e-2


def test_joints_are_those_that_the_prior_can_say():
    network = HandNet(**SMALL, components=5).eval()
    basis = torch.linalg.qr(torch.randn(42, 5, generator=torch.Generator().manual_seed(1))).Q.T
    mean = torch.linspace(-0.5, 0.5, 42)
    network.set_prior(mean, basis)
    crops = torch.rand(2, 1, 64, 64)
    voted = network.votes(network.features(crops)).flatten(1)
    expected = mean + (voted - mean) @ basis.T @ basis
    assert torch.allclose(network(crops).flatten(1), expected, atol=1e-5)
    assert (expected - voted).abs().max() > 0.1 < (expected - mean).abs().max()


def test_training_by_votes_learns_and_gradients_reach_every_level():
    torch.manual_seed(0)
    network = HandNet(**SMALL)
    draw = HandCropDraw(RECIPE.scenes, RECIPE.crops.model_copy(update={"size": 64}))
    network.set_prior(*fit_prior(prior_joints(RECIPE), 30))
    batch, step = draw(5, 16), HandStep(RECIPE, torch.device("cpu"))
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    errors = []
    for number in range(25):
        loss, figures = step(network, batch)
        optimiser.zero_grad()
        loss.backward()
        if number == 0:
            assert all(float(item.weight.grad.norm()) > 0.0 for item in network.votes.lateral)
        optimiser.step()
        errors.append(float(figures["joints_mm"]))
    assert errors[-1] < 0.6 * errors[0]


def test_another_reading_is_refused():
    with pytest.raises(ValueError, match="reading = heat: expected vector or votes"):
        HandNet(reading="heat")
