"""pose_add: meshes in, a bundle out that runs at once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_estimation_ros.cli import add_bundle, add_networks
from pose_estimation_ros.cli.add import main
from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.objects.bundle import Bundle, load_bundle, save_bundle
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.pipeline_settings import resolve_run
from pose_estimation_ros.training.trainer import TrainingRun

from .adding import add


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_is_made_that_runs_at_once_and_grows(
    tmp_path: Path, meshes: Path, generic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(tmp_path, generic, "--mesh", str(meshes / "cup.ply")) == 0
    said = capsys.readouterr().out
    assert "cup (id 1): 105 x 80 x 100 mm" in said
    assert "looks different from every side" in said
    first = load_bundle(tmp_path / "mine")
    assert first.catalog[0].diameter_m == pytest.approx(0.13, abs=0.02)
    assert resolve_run(first).pipeline.backend == "unseen"
    assert first.networks["attention"].training["copied_from"] == "networks"
    assert cv2.imread(str(tmp_path / "mine" / "report" / "cup.png")).shape[1] == 880

    told = ("--symmetry", "can=z,x2", "--frame", "can/side=0.03,0,0.01,0,90,0")
    assert add(tmp_path, generic, "--mesh", f"can={meshes / 'can.ply'}", *told) == 0
    second = load_bundle(tmp_path / "mine")
    assert [(model.object_id, model.name) for model in second.catalog] == [(1, "cup"), (2, "can")]
    assert second.catalog[0] == first.catalog[0]
    (main_axis,) = second.catalog[1].continuous_symmetries
    assert main_axis.axis == (0.0, 0.0, 1.0)
    assert len(second.catalog[1].discrete_symmetries) == 1
    assert second.networks == first.networks
    second.weights("attention")
    shown, known = second.load_meshes()[1], load_mesh(meshes / "can.ply", "mm")
    np.testing.assert_allclose(shown.bounds, known.bounds, atol=1e-6)
    np.testing.assert_allclose(shown.colors.mean(axis=0), known.colors.mean(axis=0), atol=0.01)

    capsys.readouterr()
    assert main(["--bundle", str(tmp_path / "mine"), "--symmetry", "can=z4"]) == 0
    third = load_bundle(tmp_path / "mine")
    assert "symmetry as told (z4): 3 rotations" in capsys.readouterr().out
    (side,) = third.catalog[1].frames
    expected = [[0.0, 0.0, 1.0, 0.03], [0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.01], [0.0, 0.0, 0.0, 1.0]]
    np.testing.assert_allclose(side.object_from_frame, expected, atol=1e-9)
    assert (len(third.catalog[1].discrete_symmetries), third.catalog[1].continuous_symmetries) == (3, ())
    assert (third.catalog[0], third.networks, third.settings) == (second.catalog[0], second.networks, second.settings)


def test_look_alikes_are_told(tmp_path: Path, meshes: Path, generic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(tmp_path, generic, "--mesh", f"a={meshes / 'cup.ply'}", f"b={meshes / 'cup.ply'}") == 0
    assert "a and b cannot be told apart by sight" in capsys.readouterr().out


def test_bop_models_keep_ids_and_symmetries(tmp_path: Path, tiny_bop: Path, generic: Path) -> None:
    arguments = ["--bundle", str(tmp_path / "mine"), "--generic", str(generic), "--models", str(tiny_bop / "models")]
    assert main([*arguments, "--symmetry", "obj_000001=none"]) == 0
    bundle = load_bundle(tmp_path / "mine")
    assert [(model.object_id, model.name) for model in bundle.catalog] == [(1, "obj_000001"), (2, "obj_000002")]
    assert len(bundle.catalog[1].discrete_symmetries) == 23
    assert bundle.mesh_path(0).is_relative_to(tmp_path)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["full", "interrupted"])
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "old"])
def test_a_failure_leaves_what_was_there(
    tmp_path: Path,
    meshes: Path,
    generic: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    is_new: bool,
) -> None:
    if not is_new:
        assert add(tmp_path, generic, "--mesh", str(meshes / "cup.ply")) == 0
    before = content(tmp_path)

    def fail(bundle: Bundle) -> None:
        raise error

    monkeypatch.setattr(add_bundle, "save_bundle", fail)  # the last of what is done
    assert add(tmp_path, generic, "--mesh", str(meshes / "can.ply")) != 0
    assert content(tmp_path) == before
    assert (tmp_path / "mine").exists() is not is_new


def test_what_comes_after_the_bundle_is_written_takes_nothing_back(
    tmp_path: Path, meshes: Path, generic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert add(tmp_path, generic, "--mesh", str(meshes / "cup.ply")) == 0

    def interrupted(bundle: Bundle) -> None:
        save_bundle(bundle)
        raise KeyboardInterrupt

    monkeypatch.setattr(add_bundle, "save_bundle", interrupted)
    assert add(tmp_path, generic, "--mesh", str(meshes / "can.ply")) == 130
    bundle = load_bundle(tmp_path / "mine")
    assert [model.name for model in bundle.catalog] == ["cup", "can"]
    assert len(bundle.load_meshes()) == 2
    assert not list((tmp_path / "mine").glob(".add_*"))


def test_a_backend_whose_network_cannot_grow_is_not_kept(
    tmp_path: Path, meshes: Path, generic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(generic, tmp_path / "mine")
    bundle = load_bundle(tmp_path / "mine")
    shutil.copyfile(bundle.path / bundle.network("attention").file, bundle.path / "nemo.safetensors")
    nemo = bundle.network("attention").model_copy(update={"file": "nemo.safetensors"})
    save_bundle(replace(bundle, networks={"nemo": nemo}, settings={"backend": "nemo"}))
    assert add(tmp_path, generic, "--mesh", f"cup={meshes / 'cup.ply'}") == 0
    said = capsys.readouterr().out
    assert "network 'nemo' knows the earlier objects only" in said
    assert "backend unseen from now on, in place of nemo" in said
    grown = load_bundle(tmp_path / "mine")
    assert grown.settings["backend"] == "unseen"
    assert (
        "backend" not in add_networks.with_settings(replace(grown, networks={}, settings={"backend": "nemo"})).settings
    )


def test_files_that_belong_to_nobody_are_not_written_over(
    tmp_path: Path, meshes: Path, generic: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "mine" / "meshes" / "can.ply"
    source.parent.mkdir(parents=True)
    shutil.copyfile(meshes / "can.ply", source)
    before = content(tmp_path)
    assert add(tmp_path, generic, "--mesh", str(source)) == 2
    assert "can.ply: is there and belongs to no object" in capsys.readouterr().err
    assert content(tmp_path) == before


def test_meshes_go_to_the_folder_that_the_bundle_names(tmp_path: Path, meshes: Path, generic: Path) -> None:
    shutil.copytree(generic, tmp_path / "mine")
    (tmp_path / "mine" / "meshes").rename(tmp_path / "mine" / "shapes")
    save_bundle(replace(load_bundle(tmp_path / "mine"), meshes="shapes"))
    assert add(tmp_path, generic, "--mesh", str(meshes / "cup.ply")) == 0
    bundle = load_bundle(tmp_path / "mine")
    assert bundle.mesh_path(1) == tmp_path / "mine" / "shapes" / "cup.ply"
    assert len(bundle.load_meshes()) == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--mesh", "{0}/cup.ply", "{0}/cup/cup.ply"], "is called 'cup' already; say how to call them"),
        (["--mesh", "{0}/cup.ply", "--symmetry", "cup=q"], "symmetry 'q': expected auto"),
        (["--mesh", "{0}/cup.ply", "--symmetry", "mug=z"], "--symmetry mug=z: expected NAME="),
        (["--symmetry", "mug=z"], "of the objects to add (none, as no mesh is given) or of the bundle"),
        (["--mesh", "{0}/cup.ply", "--unit", "cup=inch"], "--unit cup=inch: expected one of m, cm, mm"),
        (["--mesh", "2nd={0}/cup.ply"], "expected NAME=FILE"),
        (["--mesh", "cup={0}/none.ply"], "none.ply: mesh not found"),
        (["--mesh", "{0}/cup.ply", "--unit", "m"], "its unit looks like mm"),
        (["--mesh", "{0}/cup.ply", "--generic", "{0}"], "no networks for any object"),
        (["--mesh", "{0}/cup.ply", "--distance", "2", "1"], "--distance: "),
        ([], "nothing to add"),
    ],
    ids=["twice", "symmetry", "whose", "nobody", "unit", "name", "missing", "scale", "generic", "prior", "nothing"],
)
def test_what_cannot_be_done_is_refused_by_name(
    tmp_path: Path, meshes: Path, generic: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert add(tmp_path, generic, *(text.format(meshes) for text in more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def test_networks_of_earlier_objects_grow(tmp_path: Path, meshes: Path, generic: Path) -> None:
    """A bundle whose pose network was trained gets an object: the network is loaded as before, with one more."""
    from pose_estimation_ros.methods.pix2pose.network import Pix2PoseNet
    from pose_estimation_ros.methods.pix2pose.training import TRIAL as POSES

    shutil.copytree(generic, tmp_path / "mine")
    bundle = load_bundle(tmp_path / "mine")
    training = find_training("pix2pose")
    training.function()(TrainingRun(bundle, tmp_path / "run"), training.recipe_model().model_validate(POSES.recipe))
    trained = load_bundle(tmp_path / "mine")
    assert add(tmp_path, generic, "--mesh", f"cup={meshes / 'cup.ply'}") == 0
    grown = load_bundle(tmp_path / "mine")
    network = Pix2PoseNet(2, **grown.network("pix2pose").architecture)
    network.load_state_dict(grown.weights("pix2pose"))
    np.testing.assert_array_equal(network.head_bias[0].detach(), trained.weights("pix2pose")["head_bias"][0])
    assert grown.networks["attention"] == trained.networks["attention"]
