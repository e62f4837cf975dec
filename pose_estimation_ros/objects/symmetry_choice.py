"""Which symmetries an object is given: those that were found, or what a user says; and both in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pose_estimation_ros.geometry.symmetry import rotation_about
from pose_estimation_ros.objects.catalog import ContinuousSymmetry, ObjectModel
from pose_estimation_ros.objects.mesh_surface import Surface
from pose_estimation_ros.objects.symmetry_search import ANY, SymmetryAxis, fitted_point, turns

AUTO, SHAPE, NONE = "auto", "shape", "none"
EXPECTED = (
    "expected auto, shape (as if it had no colours), none, or axes of the mesh: x, y or z for any angle about it, with "
    "a number for so many equal parts of a turn, several with commas: z, x2, z4, or z4,x2"
)
_AXIS = re.compile(r"([xyz])([0-9]*)")
_MOST_PARTS = 36
_LARGEST_GROUP = 120


def parse_choice(text: str) -> str | list[tuple[str, int]]:
    """Read what a user says of an object's symmetry: a word, or axes with their orders.

    Raises:
        ValueError: if it is neither; the message says what is expected.
    """
    if text in (AUTO, SHAPE, NONE):
        return text
    axes = []
    for part in text.split(","):
        match = _AXIS.fullmatch(part.strip())
        order = int(match.group(2) or ANY) if match else 1
        if match is None or order == 1 or order > _MOST_PARTS or (match.group(2) and order == ANY):
            raise ValueError(f"symmetry {text!r}: {EXPECTED}")
        axes.append((match.group(1), order))
    return axes


def with_symmetries(model: ObjectModel, axes: Sequence[SymmetryAxis], by_shape: bool = False) -> ObjectModel:
    """Return an object with the symmetries of its axes.

    Args:
        model: the object.
        axes: of its mesh.
        by_shape: those of the shape alone; else those that the colours have too.
    """
    orders = [axis.order if by_shape else axis.color_order for axis in axes]
    continuous = [
        ContinuousSymmetry(axis.axis, axis.point_m) for axis, order in zip(axes, orders, strict=True) if order == ANY
    ]
    discrete = [
        transform for axis, order in zip(axes, orders, strict=True) if order > 1 for transform in turns(axis, order)
    ]
    return replace(model, discrete_symmetries=tuple(_distinct(discrete)[1:]), continuous_symmetries=tuple(continuous))


def with_chosen(model: ObjectModel, surface: Surface, choice: Sequence[tuple[str, int]]) -> ObjectModel:
    """Return an object with the symmetries that a user names; the axes go where the shape fits itself best.

    Raises:
        ValueError: if they make more symmetries than any solid has.
    """
    generators, continuous = [], []
    for name, order in choice:
        axis = np.eye(3)["xyz".index(name)]
        point = tuple(float(value) for value in fitted_point(surface, axis, order))
        if order == ANY:
            continuous.append(ContinuousSymmetry(tuple(axis.tolist()), point))  # type: ignore[arg-type]
        else:
            generators.append(rotation_about(axis, point, 2.0 * np.pi / order))
    return replace(model, discrete_symmetries=tuple(_closed(generators)[1:]), continuous_symmetries=tuple(continuous))


def _closed(generators: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return all transforms (4, 4) that generators make together, the identity first."""
    group = [np.eye(4)]
    while True:
        larger = _distinct([first @ second for first in group for second in (np.eye(4), *generators)])
        if len(larger) == len(group):
            return larger
        if len(larger) > _LARGEST_GROUP:
            raise ValueError(f"symmetry: these axes make more than {_LARGEST_GROUP} symmetries; expected fewer")
        group = larger


def _distinct(transforms: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return transforms (4, 4) without those whose rotations are nearly the same, the identity first."""
    found = [np.eye(4)]
    for transform in transforms:
        if all(np.abs(transform[:3, :3] - other[:3, :3]).max() > 0.05 for other in found):
            found.append(transform)
    return found


def describe(axes: Sequence[SymmetryAxis]) -> list[str]:
    """Say in words how an object can be turned without looking different."""
    said = []
    for axis in axes:
        shape, colors = _turn(axis.order), _turn(axis.color_order)
        where = f"about {axis_name(axis.axis)}"
        share = f"{axis.difference.color_share * 100:.0f} % of its surface" if axis.difference.color_share else ""
        if axis.color_order == axis.order:
            said.append(f"looks the same turned {where} {shape}")
        elif axis.color_order == 1:
            said.append(f"its shape looks the same turned {where} {shape}, its colours tell{share and f' ({share})'}")
        else:
            said.append(f"its shape looks the same turned {where} {shape}, its colours {colors} only")
    return said or ["looks different from every side"]


def describe_model(model: ObjectModel) -> list[str]:
    """Say in words which symmetries an object has been given."""
    said = [f"about {axis_name(item.axis)} any angle" for item in model.continuous_symmetries]
    if model.discrete_symmetries:
        number = len(model.discrete_symmetries)
        said.append(f"{number} rotation{'s' if number > 1 else ''}")
    return said or ["none"]


def axis_name(axis: Sequence[float]) -> str:
    """Return x, y or z, or the direction of another axis."""
    if max(abs(value) for value in axis) > 0.9999:
        return "xyz"[int(np.abs(axis).argmax())]
    return "(" + " ".join(f"{value:.2f}" for value in axis) + ")"


def _turn(order: int) -> str:
    if order == ANY:
        return "by any angle"
    return f"by {360 / order:g} degrees" if order > 1 else "not at all"
