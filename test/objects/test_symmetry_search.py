"""Symmetries are found from the mesh: of shape, and of colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pose_estimation_ros.geometry.symmetry import symmetric_distance
from pose_estimation_ros.objects.catalog import catalog_from_bop
from pose_estimation_ros.objects.mesh import Mesh, load_mesh
from pose_estimation_ros.objects.mesh_surface import Surface
from pose_estimation_ros.objects.symmetry_search import ANY, SymmetryAxis, find_symmetries

from .solids import ball, box, cone, moved, painted, prism, together

LMO = Path(__file__).resolve().parents[3] / "shared" / "data" / "lmo" / "models"
DEMO = Path(__file__).resolve().parents[2] / "models" / "demo" / "meshes"


def orders(mesh: Mesh) -> list[int]:
    return [axis.order for axis in find_symmetries(Surface(mesh))]


def mug() -> Mesh:
    handle = moved(box(0.03, 0.012, 0.06), np.eye(3), (0.05, 0.0, 0.01))
    return together(prism(64, 0.04, 0.1), handle)


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (prism(64, 0.03, 0.1), [ANY, 2]),
        (cone(0.03, 0.1), [ANY]),
        (ball(0.05), [ANY, ANY, ANY]),
        (box(0.1, 0.06, 0.03), [2, 2, 2]),
        (box(0.1, 0.1, 0.03), [4, 2, 2, 2, 2]),
        (box(0.1, 0.1, 0.1), [4] * 3 + [3] * 4 + [2] * 6),
        (prism(3, 0.05, 0.1), [3, 2, 2, 2]),
        (prism(5, 0.05, 0.08), [5] + [2] * 5),
        (prism(6, 0.05, 0.03), [6] + [2] * 6),
        (mug(), []),
        (together(prism(6, 0.05, 0.03), moved(prism(64, 0.02, 0.1), np.eye(3), (0.0, 0.0, 0.06))), [6]),  # a screw
    ],
    ids=["cylinder", "cone", "ball", "box", "square", "cube", "triangle", "pentagon", "hexagon", "mug", "screw"],
)
def test_solids_have_the_symmetries_that_they_have(mesh: Mesh, expected: list[int]) -> None:
    assert orders(mesh) == expected


def test_axes_are_found_wherever_they_are() -> None:
    turn, shift = Rotation.from_rotvec([0.4, -0.9, 0.5]).as_matrix(), (0.02, -0.03, 0.2)
    main, flip = find_symmetries(Surface(moved(prism(64, 0.03, 0.1), turn, shift)))
    assert (main.order, flip.order) == (ANY, 2)
    assert abs(np.dot(main.axis, turn[:, 2])) == pytest.approx(1.0, abs=1e-4)
    offset = np.asarray(main.point_m) - shift
    assert np.linalg.norm(offset - (offset @ turn[:, 2]) * turn[:, 2]) < 5e-4  # half a hundredth of the diameter


def test_colors_tell_what_shape_does_not() -> None:
    half = painted(box(0.1, 0.06, 0.03), lambda place: np.where(place[:, :1] > 0, [[0.9, 0.1, 0.1]], [[0.1, 0.1, 0.9]]))
    found = {axis.axis: axis for axis in find_symmetries(Surface(half))}
    assert {axis.order for axis in found.values()} == {2}
    assert [axis for axis, item in found.items() if item.color_order == 2] == [(1.0, 0.0, 0.0)]
    other = found[(0.0, 0.0, 1.0)]
    assert other.color_order == 1
    assert other.difference.color_share > 0.9


def test_colors_that_repeat_make_a_symmetry_of_lower_order() -> None:
    """A can with two equal labels: its shape says any angle, its colours half a turn."""

    def label(place: np.ndarray) -> np.ndarray:
        angle = np.arctan2(place[:, 1], place[:, 0])
        return np.where((np.sin(2.0 * angle) > 0.0)[:, None], [[0.9, 0.9, 0.9]], [[0.1, 0.3, 0.1]])

    main = find_symmetries(Surface(painted(prism(48, 0.03, 0.1), label, cuts=3)))[0]
    assert (main.order, main.color_order) == (ANY, 2)


def test_the_demo_objects_have_the_symmetries_that_they_were_made_with() -> None:
    found = {path.stem: find_symmetries(Surface(load_mesh(path))) for path in DEMO.glob("*.ply")}
    assert {name: [item.color_order for item in axes] for name, axes in found.items()} == {
        "bottle": [ANY], "duckling": [], "gear_box": [], "mug": [], "toy_brick": [2],
    }  # fmt: skip


@pytest.mark.skipif(not LMO.is_dir(), reason=f"{LMO} is not there")
@pytest.mark.parametrize("number", [6, 10, 11])
def test_shapes_of_scanned_objects_are_judged_as_by_bop(number: int) -> None:
    catalog = catalog_from_bop(LMO)
    model = catalog[catalog.index_of_id(number) or 0]
    axes = find_symmetries(Surface(load_mesh(LMO / model.mesh, "mm")))
    assert [axis.order for axis in axes] == [2] * len(model.discrete_symmetries)
    for axis, known in zip(axes, model.discrete_symmetries, strict=True):
        turn, distance = symmetric_distance(known, half_turn(axis), np.eye(4)[None])
        assert turn < np.deg2rad(3.0)
        assert distance < 0.02 * model.diameter_m


def half_turn(axis: SymmetryAxis) -> np.ndarray:
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_rotvec(np.pi * np.asarray(axis.axis)).as_matrix()
    transform[:3, 3] = np.asarray(axis.point_m) - transform[:3, :3] @ axis.point_m
    return transform
