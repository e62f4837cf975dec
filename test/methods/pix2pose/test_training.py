"""A tiny training from start to bundle: the loss falls and the poses beat chance on renders never trained on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from pose_estimation_ros.cli.train import main
from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.data.synthetic import CropConfig, CropSource
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.pix2pose.estimator import Pix2Pose
from pose_estimation_ros.methods.pix2pose.network import Pix2PoseNet
from pose_estimation_ros.methods.pix2pose.settings import Pix2PoseSettings
from pose_estimation_ros.methods.pix2pose.training import Pix2PoseRecipe, size_reached
from pose_estimation_ros.networks.attention_paper import make_attention_net
from pose_estimation_ros.networks.heatmap_net import HeatmapNet
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.training.crop_source import build_network, load_bank

from ..box_training import write_box

RECIPE = """
seed: 1
stages: [{size: 32, samples: 6400}]
network: {widths: [32, 64, 64, 64], decoder: [64, 64, 48], blocks: [1, 1, 1, 1], bins: 16}
optimiser: {batch: 32, learning_rate: 0.004, warmup_samples: 640, ema_samples: 1600, bf16: false}
crops: {front_layers: 0, back_layers: 0, masked_share: 0.0, noise: 0.01, image_side_px: [32, 32], size: 32}
bank: {views: 300, clutter: 2, clutter_views: 4, size: 40, backgrounds: 8}
workers: 0
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write_box(folder / "box.ply")
    (folder / "recipe.yaml").write_text(RECIPE)
    arguments = ["--bundle", str(folder / "bundle"), "--network", "pix2pose", "--mesh", str(folder / "box.ply")]
    arguments += ["--unit", "mm", "--elevation", "10", "80", "--roll", "-30", "30", "--distance", "0.4", "0.8"]
    arguments += ["--config", str(folder / "recipe.yaml"), "--work-dir", str(folder / "work"), "--device", "cpu"]
    torch.manual_seed(0)
    assert main(arguments) == 0
    return folder


def test_the_loss_falls(trained: Path) -> None:
    log = [json.loads(line) for line in (trained / "work" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["l1"] < 0.5 * log[0]["l1"]


def test_the_bundle_says_how_it_was_made(trained: Path) -> None:
    bundle = load_bundle(trained / "bundle")
    training = bundle.networks["pix2pose"].training
    assert training["samples"] == 6400 and training["finished"] and training["recipe"]["seed"] == 1
    assert bundle.catalog[0].name == "box"
    assert bundle.catalog[0].diameter_m == pytest.approx(np.sqrt(0.1**2 + 0.08**2 + 0.06**2), rel=1e-4)
    assert bundle.pose_prior.elevation_deg == (10.0, 80.0)


def test_training_goes_on_through_pnp(trained: Path, tmp_path: Path) -> None:
    """End to end, from weights that were trained on coordinates alone: solved poses put true points nearer.

    A stage that is told to leaves PnP out.
    """
    shutil.copytree(trained / "bundle", tmp_path / "bundle")
    stages = [{"size": 32, "samples": 1600, "projection": False}, {"size": 32, "samples": 3200}]
    content = yaml.safe_load(RECIPE) | {"stages": stages, "projection": {"weight": 0.3}}
    content |= {"initial": str(trained / "bundle"), "losses": {"bins": 0.0, "l1": 0.0}}  # nothing but the poses
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    work = tmp_path / "work"
    (tmp_path / "pix2pose").symlink_to(trained / "work")  # where the bank of views is
    arguments = ["--bundle", str(tmp_path / "bundle"), "--network", "pix2pose", "--work-dir", str(work)]
    assert main([*arguments, "--config", str(tmp_path / "recipe.yaml"), "--device", "cpu"]) == 0
    log = [json.loads(line) for line in (work / "log.jsonl").read_text().splitlines()]
    assert ["posed" in line for line in log] == [False, True, True]
    assert all(line["posed"] > 0.5 for line in log[1:])
    assert log[-1]["projection"] < 0.8 * log[1]["projection"]
    recipe = load_bundle(tmp_path / "bundle").networks["pix2pose"].training["recipe"]
    assert recipe["projection"]["weight"] == 0.3


def test_poses_of_unseen_renders_beat_chance(trained: Path) -> None:
    """Chance is the pose of another sample: its median rotation error is above 60 degrees here."""
    bundle = load_bundle(trained / "bundle")
    recipe = Pix2PoseRecipe()
    config = recipe.bank.model_copy(update={"views": 60, "clutter": 2, "clutter_views": 4, "size": 40})
    bank = load_bank(bundle, config, 99, trained / "held_out", None, "cpu")
    crops = CropConfig(size=32, roll_deg=(-30, 30), front_layers=0, back_layers=0, masked_share=0.0, noise=0.01)
    crops = crops.model_copy(update={"image_side_px": (32, 32)})
    batch = CropSource(bank, background_pool(8, seed=7), crops, seed=3).batch(48)
    backend = Pix2Pose.from_bundle(bundle, torch.device("cpu"), Pix2PoseSettings(outlier_errors=(), inlier_error=0.3))
    errors, chance = [], []
    for number in range(len(batch)):
        pose = _estimate(backend, batch, number)
        truth = batch.camera_from_object[number].numpy()
        errors.append(180.0 if pose is None else _angle(pose, truth))
        chance.append(_angle(batch.camera_from_object[number - 1].numpy(), truth))
    assert np.median(chance) > 60.0
    assert np.median(errors) < 30.0


def _estimate(backend: Pix2Pose, batch, number: int) -> np.ndarray | None:
    image = batch.images[number].permute(1, 2, 0).numpy()
    frame = Frame(np.ascontiguousarray(image), Camera(batch.camera[number].numpy(), 32, 32))
    detection = Detection(0, 1.0, np.array([0.0, 0.0, 32.0, 32.0]))
    square = torch.tensor([[15.5, 15.5, 32.0]])
    crops = Crops(batch.images[number][None].float() / 255.0, batch.camera[number][None], torch.tensor([0]), square)
    found = backend.estimate(frame, crops, [detection])
    return found[0].camera_from_object if found else None


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    cosine = (np.trace(a[:3, :3].T @ b[:3, :3]) - 1.0) / 2.0
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def test_errors_name_the_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bundle", str(tmp_path / "new"), "--network", "pix2pose"]) == 2
    assert "give one of --bop DIR, --mesh FILE or --categories DIR" in capsys.readouterr().err
    write_box(tmp_path / "box.ply")
    assert main(["--bundle", str(tmp_path / "new"), "--network", "pix2pose", "--mesh", str(tmp_path / "box.ply")]) == 2
    assert "its unit looks like mm" in capsys.readouterr().err
    (tmp_path / "bad.yaml").write_text("stagess: 3")
    arguments = ["--bundle", str(tmp_path / "new"), "--network", "pix2pose", "--mesh", str(tmp_path / "box.ply")]
    assert main([*arguments, "--unit", "mm", "--config", str(tmp_path / "bad.yaml")]) == 2
    assert "stagess" in capsys.readouterr().err


@pytest.mark.parametrize("make", [HeatmapNet, Pix2PoseNet, make_attention_net])
def test_a_wrong_key_of_a_network_is_named(make: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"network = \{'depht': 3\}: .*unexpected keyword argument 'depht'"):
        build_network(make, *([] if make is make_attention_net else [2]), depht=3)


def test_an_interrupted_training_ships_the_crop_size_it_has_reached() -> None:
    """A network that has seen 64-pixel crops alone is of no use at 96."""
    recipe = Pix2PoseRecipe.model_validate({"stages": [{"size": 64, "samples": 100}, {"size": 96, "samples": 50}]})
    assert [size_reached(recipe, samples) for samples in (10, 100, 101, 150, 160)] == [64, 64, 96, 96, 96]
