"""Every training that was interrupted ends with the weights of one that was not, to the last bit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.utils._pytree import tree_flatten

from pose_estimation_ros.cli.train import main
from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.bundle_source import BundleSource, MeshSource
from pose_estimation_ros.training import trainer
from pose_estimation_ros.training.pause import Pause
from pose_estimation_ros.training.trainer import TrainingRun

from ..methods.box_training import write_box

STEPS, CUT = 40, 19  # CUT is no multiple of the steps between updates of the average
ENCODER: dict[str, Any] = {"widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1]}
DECODER = {**ENCODER, "decoder": [8, 8, 8]}
SCENES = {"width": 96, "height": 64, "focal_px": [80, 100], "objects": [1, 2], "collage": [0, 2], "clutter": [0, 2]}
RECIPES: dict[str, dict[str, Any]] = {
    "attention": {"size": 32, "network": {"widths": [8, 8], "blocks": [1, 1], "hidden": 8, "frozen": False}},
    "detector": {
        "scenes": SCENES,
        "input_width": 96,
        "network": {**ENCODER, "channels": 8, "box_hidden": 8, "proposals_train": [32, 16], "box_samples": 8},
    },
    "heatmaps": {"size": 64, "patches": 4, "surface_share": 0.5, "network": {"widths": [4, 4, 4, 4, 8], "hidden": 8}},
    "nemo": {
        "size": 64,
        "shape": "cuboid",
        "vertices": 60,
        "directions": 16,
        "network": {**DECODER, "stride": 8, "features": 8, "clutter": 16},
    },
    "pix2pose": {
        "stages": [{"size": 32, "samples": 4 * 30}, {"size": 64, "samples": 4 * 10}],
        "network": {**DECODER, "bins": 4},
        "projection": {"weight": 0.1},
    },
}


def recipe(network: str, workers: int) -> dict[str, Any]:
    common: dict[str, Any] = {
        "seed": 4,
        "bank": {"views": 40, "clutter": 2, "clutter_views": 4, "size": 40, "backgrounds": 4},
        "optimiser": {"batch": 4, "kind": "muon", "warmup_samples": 16, "ema_samples": 64},
        "workers": workers,
    }
    return {**common, **({} if network == "pix2pose" else {"samples": 4 * STEPS}), **RECIPES[network]}


def flat(path: Path) -> tuple[list[Any], Any]:
    """Return the content of a checkpoint but for how long it took and in how many processes."""
    content = torch.load(path / "checkpoint.pt", weights_only=True)
    del content["seconds"], content["recipe"]["workers"]
    return tree_flatten(content)


def train(folder: Path, network: str, workers: int, *more: str) -> Path:
    """Run the command, whose bank of views is beside the folder; return the folder."""
    (folder.parent / "pix2pose").mkdir(exist_ok=True)  # the bank is kept here
    file = folder.parent / f"{network}_{workers}.yaml"
    file.write_text(yaml.safe_dump(recipe(network, workers)))
    arguments = ["--bundle", folder / "bundle", "--network", network, "--work-dir", folder, "--config", file]
    assert main([*map(str, arguments), *more]) == 0
    return folder


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    file = tmp_path_factory.mktemp("mesh") / "box.ply"
    write_box(file)
    return ["--mesh", str(file), "--unit", "mm"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, meshes: list[str]) -> Callable[[str], Path]:
    """Return a function from a network to the folder of its training that nothing interrupted, made once."""
    return cache(lambda network: train(tmp_path_factory.mktemp(network) / "whole", network, 0, *meshes))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("network", RECIPES)
def test_two_halves_are_one_whole(
    network: str,
    workers: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: Callable[[str], Path],
    meshes: list[str],
) -> None:
    wanted = flat(whole(network))
    seed_step = trainer.seed_step

    def seed_and_stop(seed: int, number: int, device: torch.device) -> None:
        seed_step(seed, number, device)
        if number == CUT - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "seed_step", seed_and_stop)
        halves = train(tmp_path / "halves", network, workers, *meshes)
    assert torch.load(halves / "checkpoint.pt", weights_only=True)["steps"] == CUT
    again = flat(train(halves, network, workers, "--resume"))
    assert again[1] == wanted[1]
    for one, other in zip(again[0], wanted[0], strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.parametrize("network", RECIPES)
def test_a_pause_leaves_the_weights_so_far_and_changes_nothing(
    network: str, tmp_path: Path, whole: Callable[[str], Path]
) -> None:
    wanted = load_bundle(whole(network) / "bundle").weights(network)
    write_box(tmp_path / "box.ply")
    (tmp_path / "pix2pose").mkdir()
    training = find_training(network)
    content = training.recipe_model().model_validate(recipe(network, 0))
    path = tmp_path / "parts"
    BundleSource(meshes=MeshSource(mesh=(tmp_path / "box.ply",), unit="mm")).make(path)

    def go_on(pause: Pause | None = None, resume: bool = False) -> dict[str, Any]:
        run = TrainingRun(load_bundle(path), tmp_path / network, None, "cpu", resume, pause)
        training.function()(run, content)
        return load_bundle(path).network(network).training

    pause = Pause(4 * CUT)
    begun = go_on(pause)
    assert pause.reached and not begun["finished"] and begun["samples"] == 4 * CUT
    early = load_bundle(path).weights(network)
    assert go_on(resume=True)["finished"]
    weights = load_bundle(path).weights(network)
    assert weights.keys() == wanted.keys()
    assert all(torch.equal(weights[key], wanted[key]) for key in wanted)
    assert any(not torch.equal(early[key], weights[key]) for key in early)
