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
@pytest.mark.parametrize("option", [("--unit", "mm"), ("--held-out", 1), ("--mesh", "other.ply")])
def test_what_only_a_new_bundle_can_take_is_refused_and_not_ignored(tmp_path, capsys, option):
    assert make(tmp_path / "mine", "--mesh", write_mesh(tmp_path / "cad"), "--unit", "mm") == 0
    assert make(tmp_path / "mine", *option) == 2
    assert f"mine: exists already; {option[0]} is for new bundles: leave it out to go on" in capsys.readouterr().err


@pytest.mark.usefixtures("untrained")
def test_options_of_other_sources_are_refused_and_not_ignored(tmp_path, capsys):
    assert make(tmp_path / "mine", "--bop", tmp_path, "--unit", "mm") == 2
    assert "--unit: is for --mesh and --categories" in capsys.readouterr().err
    assert make(tmp_path / "mine", "--mesh", write_mesh(tmp_path / "cad"), "--held-out", 2) == 2
    assert "--held-out: is for --categories" in capsys.readouterr().err


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
    ("recipe", "said"),
    [
        ("stages: [", "recipe.yaml: while parsing"),
        ("- 1", "expected a mapping"),
        ("optimizer: {batch: 8}", "recipe.yaml: unknown key 'optimizer'; did you mean 'optimiser'?"),
        ("optimiser: {bath: 8}", "recipe.yaml: unknown key 'optimiser.bath'; did you mean 'batch'?"),
        ("stages: [{sise: 64, samples: 3}]", "unknown key 'stages.0.sise'; did you mean 'size'?"),
        ("workers: -1", "recipe.yaml: workers = -1: Input should be greater than or equal to 0"),
    ],
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


def write_category(folder: Path, name: str, sizes: list[float]) -> None:
    for number, size in enumerate(sizes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        scaled = [line.split() for line in OBJ.splitlines()]
        lines = [
            " ".join([row[0], *(str(float(value) * size / 1000.0) for value in row[1:])])
            if row[0] == "v"
            else " ".join(row)
            for row in scaled
            if row[0] in ("v", "f")
        ]
        (folder / name / f"{number:02d}.obj").write_text("\n".join(lines) + "\n")


@pytest.mark.usefixtures("untrained")
def test_a_category_is_one_object_with_many_meshes(tmp_path):
    write_category(tmp_path / "kinds", "wedge", [1.0, 1.5, 2.0, 9.0])
    write_category(tmp_path / "kinds", "other", [1.0, 1.0])
    (tmp_path / "kinds" / "notes").mkdir()  # no meshes, no category
    assert make(tmp_path / "b", "--categories", tmp_path / "kinds", "--held-out", 1) == 0
    bundle = load_bundle(tmp_path / "b")
    assert [model.name for model in bundle.catalog] == ["other", "wedge"]
    wedge = bundle.catalog[1]
    assert [str(item) for item in (wedge.mesh, *wedge.instances)] == ["wedge/00.obj", "wedge/01.obj", "wedge/02.obj"]
    np.testing.assert_allclose(wedge.bounds_m[1], [0.2, 0.16, 0.12], rtol=1e-6)  # of the largest that is not held out
    assert bundle.meshes is None and "categories" in bundle.mesh_source
    instances = bundle.load_instances(tmp_path / "kinds")
    assert [len(meshes) for meshes in instances] == [1, 3]
    np.testing.assert_allclose([np.ptp(mesh.vertices[:, 0]) for mesh in instances[1]], [0.1, 0.15, 0.2], rtol=1e-5)


@pytest.mark.usefixtures("untrained")
def test_categories_that_cannot_be_made_are_named(tmp_path, capsys):
    write_category(tmp_path / "kinds", "wedge", [1.0])
    assert make(tmp_path / "a", "--categories", tmp_path / "kinds", "--held-out", 1) == 2
    assert "1 meshes, expected more than the 1 left out" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert make(tmp_path / "c", "--categories", tmp_path / "empty") == 2
    assert "no folder with meshes" in capsys.readouterr().err
    mesh = write_mesh(tmp_path / "one")
    assert make(tmp_path / "d", "--categories", tmp_path / "kinds", "--mesh", mesh) == 2
    assert "several sources of meshes" in capsys.readouterr().err
