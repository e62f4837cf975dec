"""Made-up training objects: of the size that is asked for, painted, with the symmetries that they have."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_estimation_ros.objects.catalog import catalog_from_bop
from pose_estimation_ros.objects.mesh import diameter, load_mesh

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def scripts_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def box(size: tuple[float, float, float]):
    from generic_shapes import Shape, to_size

    corners = np.array(list(np.ndindex(2, 2, 2)), dtype=float) * size
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [half for a, b, c, d in sides for half in ((a, b, c), (a, c, d))]
    return to_size(Shape(corners, np.array(faces)), 1.0)


def can(rings: int = 48):
    from generic_shapes import Shape, to_size

    angle = 2.0 * np.pi * np.arange(rings) / rings
    circle = np.stack([np.cos(angle), np.sin(angle), np.zeros(rings)], axis=1)
    top = np.array([0.0, 0.0, 2.5])
    points = np.concatenate([circle, circle + top, np.stack([0.0 * top, top])])
    i, j = np.arange(rings), (np.arange(rings) + 1) % rings
    sides = [np.stack([i, j, j + rings], axis=1), np.stack([i, j + rings, i + rings], axis=1)]
    lids = [np.stack([j, i, np.full(rings, 2 * rings)], axis=1),
            np.stack([i + rings, j + rings, np.full(rings, 2 * rings + 1)], axis=1)]  # fmt: skip
    return to_size(Shape(points, np.concatenate([*sides, *lids])), 1.0)


def test_surfaces_are_fine_and_keep_shape_and_edges() -> None:
    from generic_shapes import surface_of

    shape = box((3.0, 2.0, 1.0))
    surface = surface_of(shape, 0.1)
    corners = surface.points[surface.faces]
    assert np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max() <= 0.1
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    half = np.abs(shape.points[0])
    assert np.isclose(area.sum(), 8.0 * (half[0] * half[1] + half[1] * half[2] + half[0] * half[2]))
    # A box has no rounded edges: its normals are its axes, and point outwards.
    assert np.allclose(np.sort(np.abs(surface.normals), axis=1), [0.0, 0.0, 1.0])
    assert ((surface.normals * surface.points).sum(axis=1) > 0.0).all()


def test_blunt_edges_are_smooth_and_sharp_ones_are_not() -> None:
    from generic_shapes import surface_of

    surface = surface_of(can(), 0.2)
    side = np.abs(surface.normals[:, 2]) < 0.5
    outward = surface.points[side] * [1.0, 1.0, 0.0]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert ((surface.normals[side] * outward).sum(axis=1) > 0.999).all()
    assert (np.abs(surface.normals[~side, 2]) > 0.999).all()


@pytest.mark.parametrize("seed", range(8))
def test_every_kind_of_shape_has_the_size_it_should_and_a_surface(seed: int) -> None:
    from generic_shapes import random_blob, random_box, random_tool, random_vessel, stretched, surface_of, to_size

    for make in (random_box, random_vessel, random_blob, random_tool):
        random = np.random.default_rng(seed)
        surface = surface_of(to_size(stretched(make(random), random), 0.2), 0.02)
        assert np.isclose(diameter(surface.points), 0.2, rtol=0.01)
        assert np.allclose(surface.points.min(axis=0), -surface.points.max(axis=0), atol=0.002)
        assert np.allclose(np.linalg.norm(surface.normals, axis=1), 1.0)


def test_symmetries_are_those_of_shape_and_colour() -> None:
    from generic_shapes import surface_of
    from make_generic_objects import symmetry_of

    brick = surface_of(box((3.0, 2.0, 1.0)), 0.04).points
    grey = np.full_like(brick, 0.5)
    turns = symmetry_of(brick, grey).discrete
    assert sorted(tuple(np.diag(item).astype(int)) for item in turns) == [(-1, -1, 1), (-1, 1, -1), (1, -1, -1)]
    painted = grey.copy()
    painted[brick[:, 0] > 0.0] = [0.9, 0.1, 0.1]
    assert [tuple(np.diag(item).astype(int)) for item in symmetry_of(brick, painted).discrete] == [(1, -1, -1)]
    tin = surface_of(can(), 0.04).points
    found = symmetry_of(tin, np.full_like(tin, 0.5))
    assert found.axis == (0.0, 0.0, 1.0)
    assert len(found.discrete) == 1 and found.discrete[0][2, 2] == -1.0
    banded = np.where(tin[:, 2:] > 0.2, [0.9, 0.1, 0.1], [0.2, 0.2, 0.8])
    found = symmetry_of(tin, banded)
    assert found.axis == (0.0, 0.0, 1.0) and not found.discrete


def test_colours_are_drawn_anew_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    from generic_paint import Painter
    from generic_shapes import surface_of

    picture = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    paint = Painter([tmp_path / "a.png"], prints=3)
    surface = surface_of(box((3.0, 2.0, 1.0)), 0.1)
    looks = [paint(surface.points, surface.normals, np.random.default_rng(seed)) for seed in range(20)]
    assert all(look.min() >= 0.0 and look.max() <= 1.0 for look in looks)
    assert np.std([look.mean(axis=0) for look in looks], axis=0).min() > 0.05
    spread = [look.std(axis=0).max() for look in looks]
    assert min(spread) < 0.05 < 0.15 < max(spread)  # plain ones and colourful ones
    np.testing.assert_array_equal(looks[3], paint(surface.points, surface.normals, np.random.default_rng(3)))


def test_the_command_writes_a_models_folder_and_leaves_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from make_generic_objects import main

    (tmp_path / "media" / "pictures").mkdir(parents=True)
    (tmp_path / "media" / "meshes").mkdir()
    cv2.imwrite(str(tmp_path / "media" / "pictures" / "a.png"), np.full((64, 64, 3), 90, np.uint8))
    shape = box((1.0, 1.0, 4.0))
    lines = [f"v {x} {y} {z}" for x, y, z in shape.points] + [f"f {a} {b} {c}" for a, b, c in shape.faces + 1]
    for name in ("000.obj", "001.obj", "003.obj"):
        (tmp_path / "media" / "meshes" / name).write_text("\n".join(lines) + "\n")
    (tmp_path / "media" / "meshes" / "002.obj").write_text("v 0 0 0\n")  # some of the wheel's have no triangles
    arguments = ["make", "--media", str(tmp_path / "media"), "--out", str(tmp_path / "out"), "--count"]
    monkeypatch.setattr(sys, "argv", [*arguments, "3"])
    main()
    models = tmp_path / "out" / "models"
    first = (models / "obj_000001.ply").stat().st_mtime_ns
    monkeypatch.setattr(sys, "argv", [*arguments, "5"])
    main()
    assert (models / "obj_000001.ply").stat().st_mtime_ns == first
    catalog = catalog_from_bop(models)
    assert len(catalog) == 5 == len(json.loads((models / "models_info.json").read_text()))
    for model in catalog:
        mesh = load_mesh(models / model.mesh, "mm", model.diameter_m)
        assert 0.05 <= model.diameter_m <= 0.3
        np.testing.assert_allclose(mesh.bounds, model.bounds_m, atol=1e-6)
