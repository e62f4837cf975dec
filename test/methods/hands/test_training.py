"""Training of the hand network, in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pose_estimation_ros.cli.train import main
from pose_estimation_ros.data.hand_scenes import HandCropDraw
from pose_estimation_ros.methods.hands.network import HandNet, fit_prior
from pose_estimation_ros.methods.hands.training import (
    TRIAL,
    HandRecipe,
    HandStep,
    new_bundle,
    prior_joints,
    train_hands,
)
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.training.pause import Pause
from pose_estimation_ros.training.trainer import TrainingRun

RECIPE = HandRecipe.model_validate(TRIAL.recipe)
CPU = torch.device("cpu")


def test_training_learns_and_the_bundle_holds_what_it_needs(tmp_path: Path):
    recipe = RECIPE.model_copy(update={"samples": 640})
    bundle = train_hands(TrainingRun(new_bundle(tmp_path / "hands"), tmp_path / "run"), recipe)
    network = load_bundle(bundle.path).load_network("hands", HandNet, CPU)
    batch = HandCropDraw(recipe.scenes, recipe.crops)(99, 32)
    untrained = HandNet(**bundle.networks["hands"].architecture).eval()
    untrained.set_prior(network.prior_mean, network.prior_basis)
    with torch.no_grad():
        errors = [float(HandStep(recipe, CPU)(item, batch)[1]["centre_mm"]) for item in (untrained, network)]
    assert errors[1] < 0.9 * errors[0]
    assert bundle.networks["hands"].training["recipe"]["components"] == 30


@pytest.mark.parametrize("centre_weight", [0.0, 0.5])
def test_the_loss_of_the_joints_reaches_the_coefficients_and_that_of_the_centre_its_own_network(centre_weight: float):
    recipe = RECIPE.model_copy(update={"centre_weight": centre_weight})
    torch.manual_seed(0)
    network = HandNet(size=recipe.crops.size, components=recipe.components, **recipe.network)
    network.set_prior(*fit_prior(prior_joints(recipe), recipe.components))
    loss, _ = HandStep(recipe, CPU)(network, HandCropDraw(recipe.scenes, recipe.crops)(5, 8))
    loss.backward()
    for parameter in (network.coefficients.weight, network.coefficients.bias, network.stem.weight):
        assert float(parameter.grad.norm()) > 1e-4
    assert (float(network.centre.leave.weight.grad.norm()) > 1e-4) == (centre_weight > 0.0)


def test_the_command_makes_a_bundle_without_meshes(tmp_path: Path, capsys: pytest.CaptureFixture):
    command = ["--bundle", str(tmp_path / "b"), "--network", "hands", "--work-dir", str(tmp_path / "run")]
    (tmp_path / "recipe.yaml").write_text(
        "samples: 16\nworkers: 0\nprior_poses: 100\ncrops: {size: 32}\noptimiser: {batch: 8}\n"
        "network: {widths: [16, 16, 16, 16], blocks: 1, features: 32}\n"
    )
    assert main([*command, "--config", str(tmp_path / "recipe.yaml"), "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main([*command, "--unit", "mm"]) == 2  # nor is it ignored when the bundle is there
    assert "--unit: network 'hands' needs no meshes; leave it out" in capsys.readouterr().err
    assert [model.name for model in load_bundle(tmp_path / "b").catalog] == ["hand"]


@pytest.mark.parametrize(
    "option",
    [
        ("--bop", "lmo"),
        ("--mesh", "hand.ply"),
        ("--categories", "cups"),
        ("--held-out", "2"),
        ("--unit", "mm"),
        ("--mesh-dir", "meshes"),
        ("--elevation", "0", "90"),
        ("--roll", "0", "0"),
        ("--distance", "0.5", "1"),
    ],
    ids=lambda option: option[0],
)
def test_options_about_meshes_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture, option: tuple):
    assert main(["--bundle", str(tmp_path / "b"), "--network", "hands", *option]) == 2
    assert f"error: {option[0]}: network 'hands' needs no meshes; leave it out" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_training_that_goes_on_has_the_prior_and_the_weights_of_one_that_never_stopped(tmp_path: Path):
    whole, parts = (TrainingRun(new_bundle(tmp_path / name), tmp_path / f"run_{name}") for name in ("whole", "parts"))
    recipe = RECIPE.model_copy(update={"samples": 32})
    train_hands(replace(parts, pause=Pause(16)), recipe)
    found = [train_hands(run, recipe) for run in (whole, replace(parts, resume=True))]
    first, second = (bundle.weights("hands") for bundle in found)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_arguments_that_follow_from_the_recipe_are_refused(tmp_path: Path):
    recipe = RECIPE.model_copy(update={"network": {"size": 64}})
    with pytest.raises(ValueError, match="network.size = 64: .*crops.size"):
        train_hands(TrainingRun(new_bundle(tmp_path / "hands"), tmp_path / "run"), recipe)
