"""pose_add --minutes: what it trains, how it goes on, and which methods it chooses."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from pose_estimation_ros.cli import add_growth, add_look, add_networks, add_plan, add_report, add_training
from pose_estimation_ros.cli.add_held_out import Outcome
from pose_estimation_ros.data.pose_scenes import PoseScene
from pose_estimation_ros.methods.base import import_object
from pose_estimation_ros.methods.registry import find_method, find_training
from pose_estimation_ros.objects.bundle import load_bundle, save_bundle
from pose_estimation_ros.objects.bundle_source import BundleSource, MeshSource
from pose_estimation_ros.objects.score_entry import ScoreEntry
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_settings import resolve_run
from pose_estimation_ros.training import trainer
from pose_estimation_ros.training.trainer import TrainingRun

from .adding import add


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """Write recipes of tiny networks."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    for role in ("detector", "pix2pose", "attention"):
        training = find_training(role)
        assert training.trial is not None
        trial = import_object(training.trial)
        (folder / f"{role}.yaml").write_text(yaml.safe_dump(dict(trial.recipe)))
    return folder


@pytest.mark.slow
def test_minutes_train_what_is_missing_and_the_next_object_is_added_to_it(
    tmp_path: Path,
    meshes: Path,
    generic: Path,
    recipes: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = ["--minutes", "0.05", "--recipes", str(recipes), "--scenes", "1"]
    monkeypatch.setattr(add_plan, "ALL_FROM_S", 1.0)
    assert add(tmp_path, generic, "--mesh", f"cup={meshes / 'cup.ply'}", *training) == 0
    first = load_bundle(tmp_path / "mine")
    assert set(first.networks) == {"attention", "detector", "pix2pose"}
    assert all(first.networks[role].training["finished"] for role in ("detector", "pix2pose"))
    assert resolve_run(first).pipeline.backend in ("unseen", "pix2pose")
    assert resolve_run(first).pipeline.detector.method == "mask_rcnn"
    assert "What is called what" in (tmp_path / "mine" / "report" / "README.md").read_text()
    said = capsys.readouterr().out
    assert "detector: " in said
    assert "no detector knows these objects yet" not in said

    assert add(tmp_path, generic, "--mesh", f"can={meshes / 'can.ply'}", *training) == 0
    second = load_bundle(tmp_path / "mine")
    assert [model.name for model in second.catalog] == ["cup", "can"]
    assert second.networks["pix2pose"].training["recipe"]["initial"] == str((tmp_path / "mine").resolve())
    assert len(second.weights("pix2pose")["head_bias"]) == 2


class Interrupting:
    """A progress bar whose user presses Ctrl-C at its first step."""

    def __enter__(self) -> Interrupting:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, samples: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_an_interrupted_training_goes_on(
    tmp_path: Path, meshes: Path, generic: Path, recipes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = ["--minutes", "0.02", "--recipes", str(recipes), "--scenes", "1"]
    monkeypatch.setattr(add_training, "measured_rate", lambda *_: 20.0)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "training_bar", lambda *_: Interrupting())
        assert add(tmp_path, generic, "--mesh", f"cup={meshes / 'cup.ply'}", *training) == 130
    begun = load_bundle(tmp_path / "mine")
    assert begun.networks["detector"].training["finished"] is False
    assert begun.networks["detector"].training["samples"] == 8
    assert add(tmp_path, generic, *training) == 0
    done = load_bundle(tmp_path / "mine")
    assert set(done.networks) == {"attention", "detector"}  # poses need no training of minutes
    assert done.networks["detector"].training["finished"]
    assert done.networks["detector"].training["samples"] > 8


class Scenes:
    """Stands in for the pipelines that are tried, and remembers what they were shown."""

    def __init__(self, interrupted: int | None = None) -> None:
        self.seen: list[np.ndarray] = []  # the first picture of every look
        self.detectors: list[str] = []
        self.interrupted = interrupted  # number of the look in which the user presses Ctrl-C

    def tried(self, pipeline: Pipeline, scenes: Iterator[PoseScene]) -> Outcome:
        methods = [item.name for item in (pipeline.detector_method, pipeline.backend_method) if item is not None]
        self.detectors.append(methods[0])
        if len(self.detectors) - 1 == self.interrupted:
            os.kill(os.getpid(), signal.SIGINT)
        shown = list(scenes)
        self.seen.append(shown[0].frame.rgb)
        right = np.array([len(self.seen)])
        return Outcome(*methods, len(shown), np.array([8]), right, np.zeros((1, 2), dtype=int), 3, 0.1, ())


@pytest.mark.slow
def test_looks_change_no_training_and_survive_an_interruption(
    tmp_path: Path,
    meshes: Path,
    generic: Path,
    recipes: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tried after a third and two thirds on the same scenes, with the weights so far; Ctrl-C in the second."""
    assert add(tmp_path, generic, "--mesh", f"cup={meshes / 'cup.ply'}") == 0
    shutil.copytree(tmp_path / "mine", tmp_path / "other" / "mine")
    monkeypatch.setattr(add_training, "measured_rate", lambda *_: 20.0)
    training = ["--minutes", "0.2", "--recipes", str(recipes), "--scenes", "1"]
    with monkeypatch.context() as patch:  # alike but for the looks, whose time is time not trained
        patch.setattr(add_training, "look_cost_s", lambda _: 0.0)
        assert add(tmp_path / "other", generic, *training) == 0
        for name, value in (("FROM_S", 1.0), ("BETWEEN_S", 1.0)):
            patch.setattr(add_growth, name, value)
        scenes = Scenes(interrupted=1)
        patch.setattr(add_look, "tried", scenes.tried)
        capsys.readouterr()
        assert add(tmp_path, generic, *training) == 130
        begun = load_bundle(tmp_path / "mine").networks["detector"].training
        assert add(tmp_path, generic, *training) == 0
    said = capsys.readouterr().out
    assert "of 0.2 minutes: 12 % of the 8 objects found on 4 rendered scenes, 0.8 wrong poses an image\n" in said
    assert (
        "of 0.2 minutes: 25 % of the 8 objects found on 4 rendered scenes, 0.8 wrong poses an image; about 32 %" in said
    )
    assert scenes.detectors == ["mask_rcnn"] * 3
    np.testing.assert_array_equal(scenes.seen[0], scenes.seen[1])
    looks = json.loads((tmp_path / "mine" / "training" / "plan.json").read_text())["looks"]
    assert [look["samples"] for look in looks] == [80, 160]
    assert (begun["finished"], begun["samples"]) == (False, 160)
    assert (
        "| detector | 160 | mask_rcnn | unseen | 25 | 0.8 |" in (tmp_path / "mine" / "report" / "README.md").read_text()
    )
    entries = [load_bundle(tmp_path / name).networks["detector"] for name in ("mine", "other/mine")]
    assert entries[0].sha256 == entries[1].sha256
    assert entries[0].training["finished"]


def test_a_detector_that_learnt_too_little_is_not_chosen(
    tmp_path: Path, generic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that finds a little more and claims a lot that is not there."""
    shutil.copytree(generic, tmp_path / "mine")
    (tmp_path / "mine" / "report").mkdir()

    def outcome(detector: str, right: int, wrong: int) -> Outcome:
        return Outcome(detector, "unseen", 1, np.array([10]), np.array([right]), np.array([[right, 0]]), wrong, 0.1, ())

    outcomes = [outcome("mask_rcnn", 1, 0), outcome("proposals", 5, 2), outcome("patches", 6, 30)]
    monkeypatch.setattr(add_report, "pipelines", lambda *_: outcomes)
    monkeypatch.setattr(add_report, "tried", lambda item, _: item)
    best = add_report.choose_methods(tmp_path / "mine", 1, None)
    assert best.quality == pytest.approx(5 / 12)
    assert load_bundle(tmp_path / "mine").settings["detector"]["method"] == "proposals"
    report = (tmp_path / "mine" / "report" / "README.md").read_text()
    assert "| proposals | unseen (chosen) | 50 | 2.0 | 0.1 |" in report
    assert "How it grew" not in report


@pytest.mark.parametrize("role", ["detector", "pix2pose", "attention"])
def test_the_recipes_of_new_networks_can_be_followed(tmp_path: Path, meshes: Path, role: str) -> None:
    """For a few samples and for many; views are shared, so that they have to be the same in all."""
    bundle = BundleSource(meshes=MeshSource(mesh=(meshes / "can.ply",), unit="mm")).make(tmp_path / "mine")
    training = find_training(role)
    content = add_plan.recipe_for(bundle, role, tmp_path)
    assert content["bank"]["views"] == 800
    assert content["bank"]["background_folder"] == str(tmp_path)
    for samples in (1, 1_000_000):
        recipe = training.recipe_model().model_validate(add_plan.with_samples(content, samples))
        assert recipe.optimiser.warmup_samples == max(1, samples // 20)
        assert (recipe.stages[0] if role == "pix2pose" else recipe).samples == samples


def test_a_detector_starts_from_what_proposes_things(tmp_path: Path, meshes: Path) -> None:
    """For the first time; later it goes on from what it has learnt."""
    bundle = BundleSource(meshes=MeshSource(mesh=(meshes / "can.ply",), unit="mm")).make(tmp_path / "mine")
    for role in ("proposals", "detector"):
        training = find_training(role)
        assert training.trial is not None
        content = dict(import_object(training.trial).recipe)
        if role == "detector":
            content = add_plan.recipe_for(bundle, role, None)
            assert content["initial_network"] == "proposals"
            assert content["scenes"]["width"] == 96
            assert content["input_width"] == 96
            content = {**add_plan.with_samples(content, 8), "workers": 0, "bank": {"views": 4, "backgrounds": 4}}
        run = TrainingRun(bundle, tmp_path / role)
        bundle = training.function()(run, training.recipe_model().model_validate(content))
    assert "public_weights" not in bundle.networks["detector"].training
    assert add_networks.usable_detectors(bundle) == ["mask_rcnn"]
    whole = {
        **dict.fromkeys(find_method("detector", "proposals").roles, bundle.networks["proposals"]),
        **bundle.networks,
    }
    assert add_networks.usable_detectors(replace(bundle, networks=whole)) == ["mask_rcnn", "proposals"]
    again = add_plan.recipe_for(bundle, "detector", None)
    assert again["initial_network"] is None
    assert again["initial"] == str(bundle.path.resolve())


def test_scores_come_with_the_networks_that_they_were_calibrated_with(
    tmp_path: Path, meshes: Path, generic: Path
) -> None:
    bundle = load_bundle(generic)
    digests = {role: entry.sha256 for role, entry in bundle.networks.items()}
    fitting = ScoreEntry(
        backend="unseen", refiner="none", detector="proposals", intercept=0.5, terms={}, networks=digests
    )
    strange = fitting.model_copy(update={"refiner": "attention", "networks": {**digests, "attention": "0" * 64}})
    other = tmp_path / "scored"
    shutil.copytree(generic, other)
    save_bundle(replace(bundle, path=other, scores=(fitting, strange)))
    assert add(tmp_path, other, "--mesh", str(meshes / "cup.ply")) == 0
    assert load_bundle(tmp_path / "mine").scores == (fitting,)
    assert add(tmp_path, other, "--mesh", str(meshes / "can.ply")) == 0
    assert load_bundle(tmp_path / "mine").scores == (fitting,)
