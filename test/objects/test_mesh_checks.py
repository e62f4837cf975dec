"""What a user is told of a mesh, and meshes that are made smaller."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pose_estimation_ros.objects.look_alikes import look_alikes
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.mesh_checks import mesh_notes, thinned
from pose_estimation_ros.objects.mesh_surface import Surface

from .solids import ball, box, moved, painted, prism, together


def rainbow(mesh: Mesh, cuts: int = 4) -> Mesh:
    return painted(mesh, lambda place: np.abs(np.sin(place * 70.0 + 1.0)), cuts)


def test_a_good_mesh_is_not_talked_about() -> None:
    assert mesh_notes(rainbow(box(0.1, 0.06, 0.03))) == []


@pytest.mark.parametrize(
    ("mesh", "word"),
    [
        (replace(rainbow(box(0.1, 0.06, 0.03)), faces=rainbow(box(0.1, 0.06, 0.03)).faces[:2000]), "is open"),
        (box(0.1, 0.06, 0.03), "no texture"),
        (rainbow(box(0.1, 0.06, 0.001)), "very thin"),
        (rainbow(box(2.0, 0.6, 0.3)), "is the unit right"),
    ],
    ids=["open", "grey", "thin", "large"],
)
def test_what_makes_poses_worse_is_told(mesh: Mesh, word: str) -> None:
    (note,) = mesh_notes(mesh)
    assert word in note


def test_a_mesh_of_many_triangles_is_thinned_and_keeps_shape_and_colours() -> None:
    mesh = rainbow(ball(0.05), cuts=2)
    thin = thinned(mesh, len(mesh.faces) // 4)
    assert len(thin.faces) == pytest.approx(len(mesh.faces) // 4, rel=0.02)
    surface = Surface(mesh)
    assert surface.distance(thin.vertices).max() < 0.0005
    place = thin.vertices.astype(np.float64)
    assert surface.color_apart(place, thin.colors.astype(np.float64)).mean() < 0.03


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (moved(rainbow(box(0.1, 0.06, 0.03)), np.eye(3)[[1, 2, 0]], (0.1, 0.0, 0.02)), "cannot be told apart by sight"),
        (replace(rainbow(box(0.1, 0.06, 0.03)), vertices=rainbow(box(0.1, 0.06, 0.03)).vertices * 1.5), "size alone"),
        (box(0.1, 0.06, 0.03), "colours tell them apart"),
    ],
    ids=["same", "larger", "unpainted"],
)
def test_look_alikes_are_told(second: Mesh, expected: str) -> None:
    first = rainbow(box(0.1, 0.06, 0.03))
    (pair,) = look_alikes([("a", Surface(first)), ("b", Surface(second)), ("c", Surface(prism(3, 0.05, 0.1)))])
    assert expected in str(pair)
    assert {pair.first, pair.second} == {"a", "b"}


def test_a_handle_tells_a_box_from_a_box() -> None:
    """Whichever comes first: all of the plain one may lie on the other."""
    plain = rainbow(box(0.1, 0.06, 0.03))
    held = rainbow(together(box(0.1, 0.06, 0.03), moved(box(0.012, 0.012, 0.03), np.eye(3), (0.0, 0.0, 0.03))))
    for first, second in ((plain, held), (held, plain)):
        assert look_alikes([("a", Surface(first)), ("b", Surface(second))]) == []
