"""pose_adapt_hands, on renderings that lie in a folder as the NYU data set's images do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pose_estimation_ros.cli import adapt_hands
from pose_estimation_ros.data.hand_scenes import HandSceneConfig, draw_frames
from pose_estimation_ros.data.nyu_hand import CAMERA, uvd_from_points, write_joints
from pose_estimation_ros.methods.hands.training import TRIAL, HandRecipe, new_bundle, train_hands
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.training.trainer import TrainingRun

from ..nyu_layout import write_depth_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a trained bundle, images and their joints."""
    folder = tmp_path_factory.mktemp("adapt_hands")
    recipe = HandRecipe.model_validate(TRIAL.recipe)
    train_hands(TrainingRun(new_bundle(folder / "hands"), folder / "trained"), recipe)
    scenes = draw_frames(4, HandSceneConfig(around_share=0.0), CAMERA, torch.Generator().manual_seed(7))
    write_joints(folder / "truth.txt", uvd_from_points(scenes.joints.double().numpy()))
    depth_mm = torch.where(scenes.depth.isinf(), 0.0, 1000.0 * scenes.depth).round().numpy().astype(np.uint16)
    write_depth_images(folder / "images", depth_mm)
    return folder


def command(folder: Path, tmp_path: Path, *more: str) -> list[str]:
    data = ["--images", str(folder / "images"), "--groundtruth", str(folder / "truth.txt")]
    short = [
        "--set",
        "samples=32",
        "--set",
        "optimiser.batch=16",
        "--device",
        "cpu",
        "--work-dir",
        str(tmp_path / "run"),
    ]
    return ["--bundle", str(folder / "hands"), *data, *short, *more]


def test_a_copy_is_adapted_with_some_of_the_images_and_the_bundle_stays(folder: Path, tmp_path: Path, capsys):
    before = load_bundle(folder / "hands").network("hands").sha256
    assert adapt_hands.main(command(folder, tmp_path, "--out", str(tmp_path / "new"), "--count", "3")) == 0
    said = capsys.readouterr().out
    what = "3 depth images with known joints, and renderings, 32 samples, finished"
    assert said == f"{tmp_path / 'new'}: hands adapted with {what}\n"
    entry = load_bundle(tmp_path / "new").network("hands")
    assert entry.architecture["mapping"] and entry.training["adaptation"]["recipe"]["samples"] == 32
    assert load_bundle(folder / "hands").network("hands").sha256 == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--count", "5"], "--count 5: expected 1 to 4, as many as there are"),
        (["--minutes", "0"], "--minutes 0: expected a positive number"),
        (["--set", "photos.zoom=1"], "photos"),
        (["--set", "mappin=false"], "mappin"),
        (["--images", "nowhere"], "nowhere: no such folder"),
        (["--groundtruth", "nowhere.txt"], "nowhere.txt"),
        (["--bundle", "demo"], "hands"),
        (["--view", "2"], "4 of the 4 images that the ground truth has lines for are missing"),
    ],
    ids=lambda item: item[0] if isinstance(item, list) else "",
)
def test_wrong_input_is_named_and_nothing_is_left(
    folder: Path, tmp_path: Path, capsys, options: list[str], message: str
):
    assert adapt_hands.main(command(folder, tmp_path, "--out", str(tmp_path / "new"), *options)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_joints_of_left_hands_leave_no_half_bundle(folder: Path, tmp_path: Path, capsys):
    scenes = draw_frames(4, HandSceneConfig(around_share=0.0), CAMERA, torch.Generator().manual_seed(7))
    joints = scenes.joints.double().numpy() * [-1.0, 1.0, 1.0]
    write_joints(tmp_path / "left.txt", uvd_from_points(joints))
    options = ["--groundtruth", str(tmp_path / "left.txt"), "--out", str(tmp_path / "new")]
    assert adapt_hands.main(command(folder, tmp_path, *options)) == 2
    assert "hands have joints that no right hand can have" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_an_interrupted_adaptation_goes_on_though_its_time_is_measured_anew(folder: Path, tmp_path: Path, capsys):
    arguments = command(folder, tmp_path, "--out", str(tmp_path / "new"), "--minutes", "0.01")
    assert adapt_hands.main(arguments) == 0
    assert adapt_hands.main([*arguments, "--resume", "--minutes", "0.02"]) == 0
    assert capsys.readouterr().out.count("hands adapted with 4 depth images") == 2


def test_an_image_of_another_size_is_named(folder: Path, tmp_path: Path, capsys):
    write_depth_images(tmp_path / "small", np.zeros((4, 240, 320), dtype=np.uint16))
    options = ["--images", str(tmp_path / "small"), "--out", str(tmp_path / "new")]
    assert adapt_hands.main(command(folder, tmp_path, *options)) == 2
    assert "depth_1_0000001.png: 320x240 pixels" in capsys.readouterr().err
