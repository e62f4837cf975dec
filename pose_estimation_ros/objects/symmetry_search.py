"""Find the rotations that leave an object as it is: its shape, and its colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from pose_estimation_ros.geometry.symmetry import rotation_about
from pose_estimation_ros.objects.mesh_surface import Surface
from pose_estimation_ros.objects.outline import even_directions

ORDERS = (2, 3, 4, 5, 6)  # full turns over the rotation, of those that are looked for
ANY = 0  # order of an axis about which every angle is a symmetry

# Of the distances between surface and turned surface, in diameters. An object is seen about a hundred pixels large:
# what is smaller than two of them tells nothing.
_MEAN = 0.01
_MOST = 0.03  # of all but a fiftieth
_ALL = 0.08  # of all but three in a thousand: a pin or a spout is no detail
_COLOR = 0.12  # mean difference of red, green and blue from which places do not look the same
_COLOR_SHARE = 0.05  # of the surface that may differ so
_DIRECTIONS = 600  # on the whole sphere, of which opposite ones are one axis
_COARSE, _FINE, _JUDGED = 250, 900, 2000  # points that are looked at in the search, in refining, and at the end
_REFINED = 10  # axes of every order that are refined
_SAME_AXIS_DEG = 6.0
_SNAP_DEG = 3.0  # axes nearer to one of the mesh's frame are taken to be that one
_TURNS_DEG = (10.0, 23.0, 37.0, 53.0, 71.0, 90.0, 107.0, 131.0, 149.0, 163.0)  # that stand for all angles


class Difference(NamedTuple):
    """How much an object changes by a transform."""

    mean: float  # distance, diameters
    most: float  # of all but a fiftieth of the surface
    all: float  # of all but three in a thousand
    color_share: float  # of the surface that has another colour

    @property
    def same_shape(self) -> bool:
        """Whether nobody would see another shape."""
        return self.mean < _MEAN and self.most < _MOST and self.all < _ALL

    @property
    def same_color(self) -> bool:
        """Whether nobody would see other colours."""
        return self.color_share < _COLOR_SHARE


class _Candidate(NamedTuple):
    score: float  # mean distance, diameters
    axis: np.ndarray  # (3,)
    point: np.ndarray  # (3,)


@dataclass(frozen=True)
class SymmetryAxis:
    """An axis about which the shape can be turned."""

    axis: tuple[float, float, float]  # unit vector, object frame
    point_m: tuple[float, float, float]  # on the axis
    order: int  # full turns over the least rotation; ANY
    color_order: int  # the same for shape and colours together; 1: colours tell all of them apart
    difference: Difference  # the largest of the shape; of the colours, of all its rotations


def find_symmetries(surface: Surface) -> tuple[SymmetryAxis, ...]:
    """Find all axes, those of any angle first, then those of high order.

    Axes perpendicular to one of any angle are as many as angles: one stands for all.
    """
    candidates = [item for order in ORDERS for item in _refined_candidates(surface, order)]
    found: list[SymmetryAxis] = []
    for direction, point in _distinct(surface, sorted(candidates, key=lambda item: item.score)):
        axis = _judged(surface, direction, point)
        if axis is not None:
            found.append(axis)
        if axis is not None and axis.order == ANY and any(_crosses(axis, other) for other in found):
            return _of_sphere(surface)
    found.sort(key=lambda item: (-99 if item.order == ANY else -item.order, item.difference.mean))
    return tuple(_without_repeats(found))


def difference(surface: Surface, transform: np.ndarray, other: Surface | None = None) -> Difference:
    """Measure how much an object changes by a transform (4, 4), or how it then differs from another one."""
    other = surface if other is None else other
    some = slice(None, None, max(1, len(surface.points) // _JUDGED))
    moved = surface.points[some] @ transform[:3, :3].T + transform[:3, 3]
    distance = np.sort(other.distance(moved)) / other.diameter_m
    apart = other.color_apart(moved, surface.colors[some])
    last = len(distance) - 1
    most, everything = distance[int(last * 0.98)], distance[int(last * 0.997)]
    return Difference(float(distance.mean()), float(most), float(everything), float((apart > _COLOR).mean()))


def turns(axis: SymmetryAxis, order: int | None = None) -> list[np.ndarray]:
    """Return the rotations (4, 4) about an axis without the identity; of one of any angle some that stand for all."""
    order = axis.order if order is None else order
    angles = np.deg2rad(_TURNS_DEG) if order == ANY else 2.0 * np.pi * np.arange(1, order) / order
    return [rotation_about(axis.axis, axis.point_m, float(angle)) for angle in angles]


def _refined_candidates(surface: Surface, order: int) -> list[_Candidate]:
    """Return axes that may be of an order."""
    centre = surface.centre
    directions = np.concatenate([np.eye(3), _principal_axes(surface), even_directions(_DIRECTIONS)[: _DIRECTIONS // 2]])
    points = surface.points[:: max(1, len(surface.points) // _COARSE)] - centre
    rotations = Rotation.from_rotvec(directions * (2.0 * np.pi / order)).as_matrix()
    moved = np.einsum("dij,pj->dpi", rotations, points) + centre
    far = surface.closest(moved.reshape(-1, 3)).distance.reshape(len(directions), -1)
    score = far.mean(axis=1) / surface.diameter_m
    found: list[_Candidate] = []
    taken: list[np.ndarray] = []
    for index in np.argsort(score):
        if score[index] > 6.0 * _MEAN or len(taken) >= _REFINED:
            break
        if any(abs(directions[index] @ other) > np.cos(np.deg2rad(12.0)) for other in taken):
            continue
        taken.append(directions[index])
        refined = _refined(surface, directions[index], order)
        found += [refined] if refined.score < 1.5 * _MEAN else []
    return found


def _principal_axes(surface: Surface) -> np.ndarray:
    return np.linalg.eigh(np.cov((surface.points - surface.centre).T))[1].T


def _refined(surface: Surface, axis: np.ndarray, order: int) -> _Candidate:
    """Move an axis so that the surface turned about it lies on itself."""
    points = surface.points[:: max(1, len(surface.points) // _FINE)]
    angle = 2.0 * np.pi / order
    transform = rotation_about(axis, surface.centre, angle)
    for _ in range(8):
        moved = points @ transform[:3, :3].T + transform[:3, 3]
        near = surface.closest(moved)
        kept = near.distance <= np.quantile(near.distance, 0.9)
        arm = moved[kept] - surface.centre
        system = np.concatenate([np.cross(arm, near.normals[kept]), near.normals[kept]], axis=1)
        residual = ((near.points - moved)[kept] * near.normals[kept]).sum(axis=1)
        weight = 1e-4 * len(residual)  # what nothing holds stays where it is
        damping = weight * np.diag([surface.diameter_m**2] * 3 + [1.0] * 3)
        step = np.linalg.solve(system.T @ system + damping, system.T @ residual)
        small = np.eye(4)
        small[:3, :3] = Rotation.from_rotvec(step[:3]).as_matrix()
        small[:3, 3] = surface.centre + step[3:] - small[:3, :3] @ surface.centre
        transform = small @ transform
        vector = Rotation.from_matrix(transform[:3, :3]).as_rotvec()
        axis, point = vector / np.linalg.norm(vector), _fixed_point(transform, surface.centre)
        transform = rotation_about(axis, point, angle)  # only rotations by this angle are looked for
    moved = points @ transform[:3, :3].T + transform[:3, 3]
    return _Candidate(float(surface.closest(moved).distance.mean()) / surface.diameter_m, axis, point)


def _fixed_point(transform: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return the point (3,) nearest to another one that a rotation (4, 4) about an axis leaves where it is."""
    return near + np.linalg.pinv(np.eye(3) - transform[:3, :3], rcond=1e-3) @ (
        transform[:3, :3] @ near + transform[:3, 3] - near
    )


def _distinct(surface: Surface, candidates: list[_Candidate]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return candidates without those that are nearly the same; those that lie along the mesh's frame are put there."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for _, axis, point in candidates:
        axis = axis * np.sign(axis[np.abs(axis).argmax()])
        nearest = np.eye(3)[np.abs(axis).argmax()]
        if axis @ nearest > np.cos(np.deg2rad(_SNAP_DEG)):
            axis = nearest
        point = _snapped(surface, axis, point)
        if all(abs(axis @ other) < np.cos(np.deg2rad(_SAME_AXIS_DEG)) for other, _ in found):
            found.append((axis, point))
    return found


def _snapped(surface: Surface, axis: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return a point of the axis: the origin or the box's centre, if it passes near them."""
    low, high = surface.mesh.bounds
    for place in (np.zeros(3), (low + high) / 2.0):
        off = place - point
        if np.linalg.norm(off - (off @ axis) * axis) < 0.005 * surface.diameter_m:
            return place.astype(np.float64)
    return point + axis * (axis @ (surface.centre - point))


def _judged(surface: Surface, axis: np.ndarray, point: np.ndarray) -> SymmetryAxis | None:
    """Find the order of an axis; None where it has none."""
    direction, place = (tuple(float(value) for value in item) for item in (axis, point))
    for order in (ANY, *sorted(ORDERS, reverse=True)):
        trial = SymmetryAxis(direction, place, order, 1, Difference(0.0, 0.0, 0.0, 0.0))  # type: ignore[arg-type]
        worst: list[Difference] = []
        for transform in turns(trial):
            if not _may_be_same(surface, transform):
                break
            worst.append(difference(surface, transform))
            if not worst[-1].same_shape:
                break
        else:
            largest = Difference(*(max(values) for values in zip(*worst, strict=True)))
            return replace(trial, color_order=_color_order(surface, trial), difference=largest)
    return None


def _may_be_same(surface: Surface, transform: np.ndarray) -> bool:
    """Tell from few points, and fast, whether an exact look is worth while."""
    points = surface.points[:: max(1, len(surface.points) // _COARSE)]
    moved = points @ transform[:3, :3].T + transform[:3, 3]
    return bool(surface.closest(moved).distance.mean() < 2.0 * _MEAN * surface.diameter_m)


def _color_order(surface: Surface, axis: SymmetryAxis) -> int:
    """Return the highest order, of the axis' own and its divisors, of which the colours are symmetric too."""
    orders = (ANY, *sorted(ORDERS, reverse=True)) if axis.order == ANY else sorted(ORDERS, reverse=True)
    for order in orders:
        fits = axis.order == ANY or (axis.order % order == 0)
        if fits and all(difference(surface, transform).same_color for transform in turns(axis, order)):
            return order
    return 1


def _without_repeats(axes: list[SymmetryAxis]) -> list[SymmetryAxis]:
    """Of the axes perpendicular to one of any angle keep one."""
    main = [axis for axis in axes if axis.order == ANY]
    if not main:
        return axes
    others = [axis for axis in axes if axis.order != ANY and abs(np.dot(axis.axis, main[0].axis)) < 0.1]
    others.sort(key=lambda item: (-item.color_order, -np.abs(item.axis).max()))
    return [main[0], *others[:1]]


def _crosses(axis: SymmetryAxis, other: SymmetryAxis) -> bool:
    """Tell whether both are axes of any angle and not the same, as only those of a sphere are."""
    return other.order == ANY and abs(np.dot(axis.axis, other.axis)) < 0.9


def _of_sphere(surface: Surface) -> tuple[SymmetryAxis, ...]:
    """Return the axes of the frame, which stand for all of a sphere."""
    low, high = surface.mesh.bounds
    found = [_judged(surface, axis, _snapped(surface, axis, (low + high) / 2.0)) for axis in np.eye(3)]
    return tuple(axis for axis in found if axis is not None)


def fitted_point(surface: Surface, axis: np.ndarray, order: int) -> np.ndarray:
    """Return the point (3,) through which an axis (3,) has to go for the turned surface to lie on itself best."""
    points = surface.points[:: max(1, len(surface.points) // _FINE)]
    angle = 2.0 * np.pi / (order if order != ANY else 2.6)
    best, least = np.zeros(3), np.inf
    low, high = surface.mesh.bounds
    for start in (np.zeros(3), (low + high) / 2.0, surface.centre):
        transform = rotation_about(axis, start, angle)
        for _ in range(10):
            moved = points @ transform[:3, :3].T + transform[:3, 3]
            near = surface.closest(moved)
            kept = near.distance <= np.quantile(near.distance, 0.7)  # handles and spouts do not count
            normals = near.normals[kept] - np.outer(near.normals[kept] @ axis, axis)
            residual = ((near.points - moved)[kept] * near.normals[kept]).sum(axis=1)
            transform[:3, 3] += np.linalg.solve(
                normals.T @ normals + 1e-3 * len(kept) * np.eye(3), normals.T @ residual
            )
        cost = float(np.minimum(near.distance, 0.03 * surface.diameter_m).mean())
        if cost < least - 1e-4 * surface.diameter_m:
            best, least = _fixed_point(transform, start), cost
    return _snapped(surface, axis, best)
