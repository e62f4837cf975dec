"""pose_train --recipes: a bundle from a folder of recipes, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pose_estimation_ros.cli.recipe_set import read_objects, read_recipes
from pose_estimation_ros.cli.recipes import read_recipe
from pose_estimation_ros.cli.train import main
from pose_estimation_ros.cli.train_set import open_bundle
from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, load_bundle
from pose_estimation_ros.training import trainer

from ..methods.box_training import write_box

ROOT = Path(__file__).resolve().parents[2]
SETS = ("category", "demo", "generic", "lmo")
ENCODER = {"widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1]}
COMMON: dict[str, Any] = {
    "bank": {"views": 20, "clutter": 2, "clutter_views": 4, "size": 40, "backgrounds": 4},
    "optimiser": {"batch": 4, "warmup_samples": 8, "ema_samples": 32},
    "workers": 0,
}
PIX2POSE = {**COMMON, "stages": [{"size": 32, "samples": 40}], "network": {**ENCODER, "decoder": [8] * 3, "bins": 4}}
NEMO = {
    **COMMON,
    "size": 64,
    "samples": 24,
    "shape": "cuboid",
    "vertices": 60,
    "directions": 16,
    "network": {**ENCODER, "decoder": [8] * 3, "stride": 8, "features": 8, "clutter": 16, "frozen": True},
}
OBJECTS = {
    "meshes": {"mesh": ["cad/box.ply"], "unit": "mm"},
    "names": {1: "parcel"},
    "symmetries": {"parcel": {"discrete": [[-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]]}},
    "pose_prior": {"elevation_deg": [10, 80], "distance_m": [0.4, 0.8]},
}


def write_set(folder: Path, **files: dict[str, Any]) -> Path:
    """Write a folder of recipes, by default one of pix2pose and one of nemo."""
    (folder / "cad").mkdir(parents=True, exist_ok=True)
    write_box(folder / "cad" / "box.ply")
    for name, content in {"objects": OBJECTS, "1_pix2pose": PIX2POSE, "2_nemo": NEMO, **files}.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


def train(folder: Path, *more: str) -> int:
    """Make the bundle `bundle` beside the recipes."""
    places = ["--bundle", str(folder.parent / "bundle"), "--work-dir", str(folder.parent / "runs")]
    return main(["--recipes", str(folder), *places, *more])


def digests(folder: Path) -> dict[str, str]:
    return {role: entry.sha256 for role, entry in load_bundle(folder.parent / "bundle").networks.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a bundle; return the folder of its recipes."""
    folder = write_set(tmp_path_factory.mktemp("made") / "recipes")
    assert train(folder) == 0
    return folder


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """Return a copy of recipes, bundle and checkpoints that a test may change."""
    shutil.copytree(made.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / made.name


def test_the_recipes_make_the_whole_bundle(made: Path) -> None:
    bundle = load_bundle(made.parent / "bundle")
    assert list(bundle.networks) == ["pix2pose", "nemo"]
    assert all(entry.training["finished"] for entry in bundle.networks.values())
    assert bundle.networks["nemo"].training["starts_from"] == {"pix2pose": bundle.networks["pix2pose"].sha256}
    (model,) = bundle.catalog
    assert model.name == "parcel" and len(model.discrete_symmetries) == 1 and bundle.mesh_path(0).is_file()
    assert bundle.pose_prior.elevation_deg == (10.0, 80.0)


def test_what_is_finished_is_left_as_it_is(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(copied.parent / "runs")  # what is finished needs no checkpoint
    before = (copied.parent / "bundle" / BUNDLE_FILE).read_text()
    assert train(copied) == 0
    assert (copied.parent / "bundle" / BUNDLE_FILE).read_text() == before
    assert "1_pix2pose.yaml: finished (40 samples)\n  2_nemo.yaml: finished (24 samples)\n" in capsys.readouterr().out


@pytest.mark.parametrize("cuts", [(3,), (13,), (3, 12)])
def test_a_set_that_was_interrupted_makes_the_same_weights(
    cuts: tuple[int, ...],
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, seed_step, steps = write_set(tmp_path / "recipes"), trainer.seed_step, 0

    def seed_or_stop(seed: int, number: int, device: torch.device) -> None:
        nonlocal steps
        seed_step(seed, number, device)
        steps += 1
        if steps in cuts:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(trainer, "seed_step", seed_or_stop)
    for cut in cuts:
        assert train(folder) == 130
        name = "1_pix2pose.yaml" if cut <= 10 else "2_nemo.yaml"
        assert f"{name}: interrupted; the same command goes on" in capsys.readouterr().out
    assert train(folder) == 0
    name, seen = ("1_pix2pose.yaml", "12 of 40") if cuts == (3,) else ("2_nemo.yaml", f"{4 * (cuts[-1] - 10)} of 24")
    assert f"  {name}: goes on after {seen} samples" in capsys.readouterr().out
    assert digests(folder) == digests(made)


def test_other_recipes_replace_only_when_told_to(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = digests(copied)
    write_set(copied, **{"1_pix2pose": {**PIX2POSE, "seed": 7}})
    assert train(copied) == 2
    assert "1_pix2pose.yaml: would replace network 'pix2pose' of" in (error := capsys.readouterr().err)
    assert "which has another recipe (seed = 7 instead of 0); make another bundle" in error
    assert digests(copied) == before
    assert train(copied, "--replace") == 0
    after = digests(copied)
    assert after["pix2pose"] != before["pix2pose"]
    assert (
        load_bundle(copied.parent / "bundle").networks["nemo"].training["starts_from"]["pix2pose"] == after["pix2pose"]
    )


def test_a_network_of_another_parent_is_not_taken_for_finished(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copied.parent / "runs")
    file = copied.parent / "bundle" / BUNDLE_FILE
    content = yaml.safe_load(file.read_text())
    content["networks"]["nemo"]["training"]["starts_from"]["pix2pose"] = "of before"
    file.write_text(yaml.safe_dump(content))
    assert train(copied) == 2
    assert "2_nemo.yaml: would replace network 'nemo'" in (error := capsys.readouterr().err)
    assert "started from another pix2pose" in error


@pytest.mark.parametrize("initial", ["bundle", "../elsewhere/bundle", "here"])
def test_a_recipe_that_begins_with_what_it_makes_is_refused(
    initial: str, tmp_path: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if initial == "here":
        shutil.copytree(made.parent / "bundle", tmp_path / "bundle")
        (tmp_path / "other_name").symlink_to(tmp_path / "bundle")
        initial = str(tmp_path / "other_name")
    folder = write_set(tmp_path / "recipes", **{"2_nemo": {**NEMO, "initial": initial}})
    assert train(folder) == 2
    assert f"2_nemo.yaml: initial = {initial!r} is the bundle that the recipe makes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"2_nemo": {**NEMO, "exclusoin": 0.1}}, "2_nemo.yaml: unknown key 'exclusoin'; did you mean 'exclusion'?"),
        ({"2_nemo": {**NEMO, "initial": "nowhere"}}, "2_nemo.yaml: bundle 'nowhere': no bundle.yaml in"),
        ({"2_nem": NEMO}, "2_nem.yaml: network 'nem': "),
        ({"nemo": NEMO}, "nemo.yaml: expected a name such as 1_pix2pose.yaml, or objects.yaml"),
        ({"3_nemo": NEMO}, "3_nemo.yaml: 2_nemo.yaml makes network 'nemo' already"),
        ({"objects": {**OBJECTS, "names": {2: "other"}}}, "names: 2: no object has this id"),
        ({"objects": {**OBJECTS, "symmetries": {"box": {}}}}, "symmetries: 'box': no such object (there are parcel)"),
        ({"objects": {"meshes": {"bop": "a", "mesh": ["b"]}}}, "bop and mesh given: expected one of"),
        ({"objects": {"meshes": {"mesh": ["cad/box.ply"], "held_out": 1}}}, "held_out is for categories"),
    ],
)
def test_bad_files_are_named_before_anything_is_trained(
    files: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_set(tmp_path / "recipes", **files)
    assert train(folder) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "runs").exists()


def test_a_training_that_fails_names_its_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_set(tmp_path / "recipes", **{"1_pix2pose": {**PIX2POSE, "network": {"depht": 3}}})
    assert train(folder) == 2
    assert "1_pix2pose.yaml: network = {'depht': 3}" in capsys.readouterr().err


def test_a_bundle_of_other_objects_is_refused(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prior = {"elevation_deg": [10, 70], "distance_m": [0.4, 0.8]}
    write_set(copied, objects={**OBJECTS, "pose_prior": prior, "names": {1: "brick"}, "symmetries": {}})
    assert train(copied) == 2
    error = capsys.readouterr().err
    assert "has other objects than" in error and "objects.0.name = 'brick' instead of 'parcel'" in error
    assert "pose_prior.elevation_deg = [10.0, 70.0] instead of [10.0, 80.0]" in error


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--set", "seed=3"), "--set: not with --recipes"),
        (("--resume",), "--resume: not with --recipes"),
        (("--network", "nemo"), "--network: not with --recipes"),
        (("--bop", "somewhere"), "--bop: "),
    ],
)
def test_options_of_single_networks_are_refused_and_not_ignored(
    option: tuple[str, ...], said: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(made, *option) == 2
    assert said in capsys.readouterr().err


def test_one_of_bundle_and_recipes_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--network", "nemo"])
    assert "expected --bundle and --network, or --recipes" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--network", "nemo", "--bundle", "demo", "--replace"])
    assert "--replace is for --recipes" in capsys.readouterr().err


@pytest.mark.parametrize("name", SETS)
def test_shipped_recipes_can_be_read_and_go_back_to_nothing(name: str) -> None:
    """Or to another shipped bundle whose own recipes do."""
    recipes = read_recipes(ROOT / "config" / "train" / name, ROOT / "models" / name)
    assert {item.training.role for item in recipes} == set(load_bundle(ROOT / "models" / name).networks)
    made: set[str] = set()
    for recipe in recipes:
        if recipe.initial is not None:
            others = read_recipes(ROOT / "config" / "train" / recipe.initial, ROOT / "models" / recipe.initial)
            (first,) = (other for other in others if other.training.role == recipe.training.role)
            assert (first.initial, recipe.parent) == (None, None)
        assert recipe.parent is None or recipe.parent in made  # it would be left out silently
        made.add(recipe.training.role)


@pytest.mark.parametrize("file", sorted((ROOT / "config" / "train").glob("*.yaml")), ids=lambda file: file.stem)
def test_default_recipes_can_be_read(file: Path) -> None:
    training = find_training(file.stem.partition("_")[0])
    read_recipe(training, file)


def test_the_demo_is_made_of_the_objects_it_has() -> None:
    folder, path = ROOT / "config" / "train" / "demo", ROOT / "models" / "demo"
    bundle = open_bundle(read_objects(folder, {}), path, folder / "objects.yaml")
    described = read_objects(folder, {}).describe(path)
    assert (described.description, described.meshes) == (bundle.description, bundle.meshes)
