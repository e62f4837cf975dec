"""What a few depth images of a new camera change."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pose_estimation_ros.data.hand_pairs import HandPairSource, hand_windows
from pose_estimation_ros.data.hand_scenes import HandSceneConfig, HandScenes, draw_frames
from pose_estimation_ros.data.nyu_hand import CAMERA
from pose_estimation_ros.methods.hands.adaptation import HandAdaptationRecipe, adapt_hands
from pose_estimation_ros.methods.hands.network import HandNet
from pose_estimation_ros.methods.hands.training import TRIAL, HandRecipe, new_bundle, train_hands
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.training.pause import Pause
from pose_estimation_ros.training.trainer import TrainingRun

RECIPE = HandRecipe.model_validate(TRIAL.recipe)
ADAPTATION = HandAdaptationRecipe.model_validate({"samples": 192, "optimiser": {"batch": 16, "learning_rate": 3e-3}})


@pytest.fixture(scope="module")
def scenes() -> HandScenes:
    frames = draw_frames(6, HandSceneConfig(noisy_share=1.0), CAMERA, torch.Generator().manual_seed(2))
    return hand_windows(frames.depth, CAMERA, frames.joints)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return train_hands(TrainingRun(new_bundle(tmp_path / "hands"), tmp_path / "trained"), RECIPE)


def load(bundle: Bundle) -> HandNet:
    return load_bundle(bundle.path).load_network("hands", HandNet, torch.device("cpu"))


def test_the_mapping_is_learned_stored_and_for_real_images_alone(bundle: Bundle, scenes: HandScenes, tmp_path: Path):
    before = bundle.weights("hands")
    adapted = adapt_hands(TrainingRun(bundle, tmp_path / "run"), RECIPE, ADAPTATION, scenes)
    network = load(adapted)
    crops = torch.rand(2, 1, 32, 32) * 2.0 - 1.0
    real, synthetic = network(crops, True), network(crops, False)
    assert (real - synthetic).abs().max() > 1e-5
    after = adapted.weights("hands")
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert "stem.weight" in changed and "prior_mean" not in changed
    assert not any("running" in name for name in changed)  # a few images would spoil them
    record = adapted.network("hands").training["adaptation"]
    assert record["images"] == "6 depth images with known joints, and renderings" and record["finished"]
    assert adapted.network("hands").training["recipe"] == bundle.network("hands").training["recipe"]


def test_plain_fine_tuning_has_no_mapping(bundle: Bundle, scenes: HandScenes, tmp_path: Path):
    recipe = ADAPTATION.model_copy(update={"mapping": False, "samples": 32})
    network = load(adapt_hands(TrainingRun(bundle, tmp_path / "run"), RECIPE, recipe, scenes))
    assert network.mapping is None


def test_an_adaptation_brings_the_error_on_its_images_down(scenes: HandScenes, tmp_path: Path):
    def error(network: HandNet) -> float:
        pairs = HandPairSource(scenes, RECIPE.crops).pairs(64, 5)
        with torch.no_grad():
            joints = network(pairs.real.crops, True)
        return float((joints - pairs.real.joints).norm(dim=2).mean())

    untrained = TrainingRun(new_bundle(tmp_path / "hands"), tmp_path / "trained", pause=Pause(at_samples=0))
    bundle = train_hands(untrained, RECIPE)
    start = error(load(bundle))
    recipe = ADAPTATION.model_copy(update={"samples": 640})
    assert error(load(adapt_hands(TrainingRun(bundle, tmp_path / "run"), RECIPE, recipe, scenes))) < 0.85 * start
