"""Every training that was interrupted ends with the weights of one that was not, to the last bit."""

from __future__ import annotations

import os
import signal
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
    content = torch.load(path / "checkpoint.pt", weights_only=True)
    del content["seconds"]
    return tree_flatten(content)


@pytest.mark.parametrize(
    ("network", "workers"), [*((network, 1) for network in RECIPES), ("detector", 0), ("pix2pose", 0)]
)
def test_two_halves_are_one_whole(network: str, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_box(tmp_path / "box.ply")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe(network, workers)))
    (tmp_path / "pix2pose").mkdir()  # the bank of views is kept here
    seed_step = trainer.seed_step

    def train(folder: str, *more: str, cut: int | None = None) -> Path:
        def seed_or_stop(seed: int, number: int, device: torch.device) -> None:
            seed_step(seed, number, device)
            if number == cut:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(trainer, "seed_step", seed_or_stop)
        arguments = ["--bundle", tmp_path / folder / "bundle", "--network", network, "--work-dir", tmp_path / folder]
        assert main([str(item) for item in [*arguments, "--config", tmp_path / "recipe.yaml", *more]]) == 0
        return tmp_path / folder

    meshes = ("--mesh", str(tmp_path / "box.ply"), "--unit", "mm")
    whole = flat(train("whole", *meshes))
    halves = train("halves", *meshes, cut=CUT - 1)
    assert torch.load(halves / "checkpoint.pt", weights_only=True)["steps"] == CUT
    again = flat(train("halves", "--resume"))
    assert again[1] == whole[1]
    for one, other in zip(again[0], whole[0], strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.parametrize("network", ["detector", "pix2pose"])  # whole scenes, and stages
def test_a_pause_leaves_the_weights_so_far_and_changes_nothing(network: str, tmp_path: Path) -> None:
    write_box(tmp_path / "box.ply")
    (tmp_path / "pix2pose").mkdir()
    training = find_training(network)
    content = training.recipe_model().model_validate(recipe(network, 0))

    def train(folder: str, pause: Pause | None = None, resume: bool = False) -> dict[str, Any]:
        path = tmp_path / folder
        if not resume:
            BundleSource(meshes=MeshSource(mesh=(tmp_path / "box.ply",), unit="mm")).make(path)
        run = TrainingRun(load_bundle(path), tmp_path / f"{folder} {network}", None, "cpu", resume, pause)
        training.function()(run, content)
        return load_bundle(path).network(network).training

    train("whole")
    pause = Pause(4 * CUT)
    begun = train("parts", pause)
    assert pause.reached and not begun["finished"] and begun["samples"] == 4 * CUT
    early = load_bundle(tmp_path / "parts").weights(network)
    assert train("parts", resume=True)["finished"]
    weights = [load_bundle(tmp_path / name).weights(network) for name in ("whole", "parts")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert any(not torch.equal(early[key], weights[1][key]) for key in early)
