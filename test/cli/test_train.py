"""pose_train before it trains: what makes a bundle, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_estimation_ros.cli import train
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, load_bundle
from pose_estimation_ros.objects.mesh import load_mesh

OBJ = """mtllib wood.mtl
v 0 0 0
v 100 0 0
v 0 80 0
v 0 0 60
vt 0 0
vt 1 0
vt 0 1
usemtl wood
f 1/1 3/3 2/2
f 1/1 2/2 4/3
f 1/1 4/3 3/2
f 2/1 3/2 4/3
"""


def write_mesh(folder: Path, name: str = "wedge.obj", color: int = 200) -> Path:
    """Write a wedge with a texture whose name and folder are not the mesh's own."""
    (folder / "maps").mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(OBJ)
    (folder / "wood.mtl").write_text("newmtl wood\nmap_Kd maps/oak grain.png\n")
    cv2.imwrite(str(folder / "maps" / "oak grain.png"), np.full((4, 4, 3), (0, 0, color), dtype=np.uint8))
    return folder / name


def make(bundle: Path, *more: object) -> int:
    return train.main(["--bundle", str(bundle), "--network", "pix2pose", *map(str, more)])


@pytest.fixture
def untrained(monkeypatch):
    monkeypatch.setattr(train, "_train", lambda *_: None)


@pytest.mark.usefixtures("untrained")
def test_a_mesh_is_copied_with_the_texture_it_names(tmp_path):
    mesh = write_mesh(tmp_path / "cad")
    assert make(tmp_path / "mine", "--mesh", mesh, "--unit", "mm", "--elevation", 0, 90) == 0
    bundle = load_bundle(tmp_path / "mine")
    assert bundle.pose_prior.elevation_deg == (0.0, 90.0)
    (model,) = bundle.catalog
    assert (model.name, model.diameter_m) == ("wedge", pytest.approx(np.hypot(0.1, 0.08)))
    copied = load_mesh(bundle.mesh_path(0), model.mesh_unit, model.diameter_m)
    assert copied.texture is not None
    np.testing.assert_allclose(copied.texture[0, 0], [200 / 255, 0.0, 0.0], atol=1e-6)


@pytest.mark.usefixtures("untrained")
def test_meshes_whose_files_would_replace_one_another_are_refused(tmp_path, capsys):
    first = write_mesh(tmp_path / "a", "left.obj")
    second = write_mesh(tmp_path / "b", "right.obj", color=90)
    assert make(tmp_path / "mine", "--mesh", first, "--mesh", second, "--unit", "mm") == 2
    assert "oak grain.png is another file of the same name; rename one of them" in capsys.readouterr().err
    assert not (tmp_path / "mine" / BUNDLE_FILE).exists()


@pytest.mark.usefixtures("untrained")
def test_another_prior_than_the_bundle_has_is_refused_and_not_ignored(tmp_path, capsys):
    assert make(tmp_path / "mine", "--mesh", write_mesh(tmp_path / "cad"), "--unit", "mm", "--roll", -5, 5) == 0
    before = (tmp_path / "mine" / BUNDLE_FILE).read_text()
    assert make(tmp_path / "mine", "--roll", -5, 5, "--resume") == 0
    assert make(tmp_path / "mine", "--distance", 1, 2) == 2
    assert (
        "bundle.yaml: pose_prior.distance_m = (0.35, 1.5), the command line says (1.0, 2.0)" in capsys.readouterr().err
    )
    assert (tmp_path / "mine" / BUNDLE_FILE).read_text() == before


@pytest.mark.parametrize(
    ("recipe", "said"), [("stages: [", "recipe.yaml: while parsing"), ("- 1", "expected a mapping")]
)
def test_a_recipe_that_cannot_be_read_makes_no_bundle(tmp_path, capsys, recipe, said):
    (tmp_path / "recipe.yaml").write_text(recipe)
    options = ("--mesh", write_mesh(tmp_path / "cad"), "--unit", "mm", "--config", tmp_path / "recipe.yaml")
    assert make(tmp_path / "mine", *options) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "mine").exists()


def test_an_interrupt_before_the_first_image_ends_quietly(tmp_path, capsys, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "_train", interrupted)
    assert make(tmp_path / "mine", "--mesh", write_mesh(tmp_path / "cad"), "--unit", "mm") == 130
    assert capsys.readouterr().err == "pose_train: interrupted\n"
