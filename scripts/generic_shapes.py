"""Shapes of objects that no one has: what the generic refiner is trained on, beside the meshes of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.spatial import ConvexHull

CREASE_DEG = 40.0  # edges that are sharper stay sharp under light
Random = np.random.Generator


@dataclass(frozen=True)
class Shape:
    """Triangles, in no particular unit."""

    points: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3) counter-clockwise seen from outside


@dataclass(frozen=True)
class Surface:
    """Small triangles with normals."""

    points: np.ndarray  # (V, 3)
    normals: np.ndarray  # (V, 3) unit
    faces: np.ndarray  # (F, 3)


def random_shape(random: Random) -> Shape:
    """Draw a shape of any kind, of any ratio of its sides."""
    kinds: list[Callable[[Random], Shape]] = [random_box, random_vessel, random_blob, random_tool]
    return stretched(kinds[random.integers(len(kinds))](random), random)


def stretched(shape: Shape, random: Random) -> Shape:
    """Change the ratio of the sides; one in five becomes thin or long, one in three stays as it is."""
    lot = random.random()
    factors = np.exp(random.uniform(-0.6, 0.0, 3))
    if lot < 0.2:
        factors[random.permutation(3)[: random.integers(1, 3)]] *= random.uniform(0.1, 0.35)
    return Shape(shape.points * (1.0 if lot > 0.67 else factors), shape.faces)


def random_box(random: Random) -> Shape:
    """Make a box, a plate or a bar, or a prism on a random outline."""
    corners = 4 if random.random() < 0.6 else int(random.integers(3, 9))
    turn = np.pi / 4.0 if corners == 4 else random.uniform(0.0, np.pi)
    angle = turn + 2.0 * np.pi * np.arange(corners) / corners
    top = random.choice([1.0, random.uniform(0.3, 1.0)])
    rings = [(radius, height) for radius, height in ((0.0, 0.0), (1.0, 0.0), (top, 1.0), (0.0, 1.0))]
    return _rings(rings, angle)


def random_vessel(random: Random) -> Shape:
    """Make a bottle, a bowl, a can, a knob or a ring: a profile turned about an axis, half of them with a handle."""
    height = random.uniform(0.6, 3.0)
    knots = int(random.integers(1, 6))
    at = np.sort(random.uniform(0.0, height, knots))
    radii = random.uniform(0.35, 1.0, knots + 2) if random.random() < 0.7 else np.ones(knots + 2)
    outside = [*zip(radii, [0.0, *at, height], strict=True)]
    if random.random() < 0.5:
        outside = _rounded(outside)
    if random.random() < 0.5:  # hollow
        inside = [(0.85 * radius, max(z, 0.08 * height)) for radius, z in reversed(outside)]
        profile = [(0.0, 0.0), *outside, *inside, (0.0, 0.08 * height)]
    else:
        profile = [(0.0, 0.0), *outside, (0.0, height)]
    body = _rings(profile, _circle(40))
    if random.random() < 0.5:
        return body
    reach = float(np.interp(height / 2.0, [0.0, *at, height], radii))
    size = height * random.uniform(0.15, 0.35)
    return joined([body, _handle(size, size * random.uniform(0.12, 0.3), reach, height / 2.0)])


def cup() -> Shape:
    """Make a cup, always the same."""
    profile = [(0.0, 0.0), (0.8, 0.0), (0.95, 0.15), (1.0, 2.0), (0.92, 2.0), (0.87, 0.2), (0.0, 0.15)]
    return joined([_rings(profile, _circle(40)), _handle(0.55, 0.12, 1.0, 1.05)])


def _handle(radius: float, tube: float, reach: float, height: float) -> Shape:
    """Make a ring that stands on the side of a vessel."""
    upright = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    return moved(_torus(radius, tube), upright, (reach, 0.0, height))


def random_blob(random: Random) -> Shape:
    """Make a smooth lump with bulges, as animals and fruits have them."""
    ball = _ball(4)
    log_reach = np.zeros(len(ball.points))
    for _ in range(int(random.integers(2, 9))):
        centre = random.normal(size=3)
        width = random.uniform(0.25, 0.8)
        cosine = ball.points @ (centre / np.linalg.norm(centre))
        log_reach += random.uniform(-0.35, 0.7) * np.exp((cosine - 1.0) / width**2)
    points = ball.points * np.exp(log_reach)[:, None]
    return Shape(points * np.exp(random.uniform(-0.5, 0.0, 3)), ball.faces)


def random_tool(random: Random) -> Shape:
    """Put two to five bars, rods, lumps and vessels together, at right angles for the most part."""
    makers = [random_box, random_vessel, random_blob]
    parts: list[Shape] = []
    for _ in range(int(random.integers(2, 6))):
        part = _unit_box(makers[random.choice(3, p=[0.5, 0.35, 0.15])](random))
        points = part.points * np.exp(random.uniform(-1.6, 0.0, 3))
        turn = np.eye(3)[random.permutation(3)] * random.choice([-1.0, 1.0], 3)
        turn *= np.sign(np.linalg.det(turn))
        if random.random() < 0.25:
            turn = _rotation(random.normal(size=3) * 0.4) @ turn
        shift = np.zeros(3)
        if parts:  # somewhere on what is there already
            there = parts[random.integers(len(parts))].points
            shift = there[random.integers(len(there))] * random.uniform(0.6, 1.0)
        parts.append(moved(Shape(points, part.faces), turn, shift))
    return joined(parts)


def joined(shapes: list[Shape]) -> Shape:
    """Put shapes into one."""
    starts = np.cumsum([0] + [len(item.points) for item in shapes[:-1]])
    faces = [item.faces + start for item, start in zip(shapes, starts, strict=True)]
    return Shape(np.concatenate([item.points for item in shapes]), np.concatenate(faces))


def moved(shape: Shape, rotation: np.ndarray, shift) -> Shape:
    """Move a shape rigidly."""
    return Shape(shape.points @ rotation.T + np.asarray(shift, dtype=float), shape.faces)


def to_size(shape: Shape, diameter: float) -> Shape:
    """Bring the largest distance of two points to a length, and the centre of the box into the origin."""
    from scipy.spatial.distance import pdist

    hull = shape.points[ConvexHull(shape.points, qhull_options="QJ").vertices]
    scale = diameter / pdist(hull).max()
    points = (shape.points - (shape.points.min(axis=0) + shape.points.max(axis=0)) / 2.0) * scale
    return Shape(points, shape.faces)


def surface_of(shape: Shape, spacing: float) -> Surface:
    """Give a shape normals, with sharp edges where it has them, and vertices so near to each other as to carry colours.

    Args:
        shape: the shape.
        spacing: longest edge.
    """
    points, faces = _welded(shape)
    surface = _with_normals(points, faces)
    while True:
        corners = surface.points[surface.faces]
        length = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
        longest = length.argmax(axis=1)
        long = length.max(axis=1) > spacing
        if not long.any():
            return surface
        surface = _bisected(surface, long, longest)


def _bisected(surface: Surface, long: np.ndarray, longest: np.ndarray) -> Surface:
    """Halve the longest edge of the faces that are too long."""
    whole, turn = surface.faces[~long], longest[long][:, None]
    a, b, c = np.take_along_axis(surface.faces[long], (turn + np.arange(3)) % 3, axis=1).T
    count = len(surface.points)
    keys, where = np.unique(np.minimum(a, b) * count + np.maximum(a, b), return_inverse=True)
    edges, between = np.stack([keys // count, keys % count], axis=1), count + where
    normals = surface.normals[edges].sum(axis=1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    halves = [np.stack([a, between, c], axis=1), np.stack([between, b, c], axis=1)]
    return Surface(
        np.concatenate([surface.points, surface.points[edges].mean(axis=1)]),
        np.concatenate([surface.normals, normals]),
        np.concatenate([whole, *halves]),
    )


def _welded(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Merge points at the same place and drop triangles without area."""
    size = np.ptp(shape.points, axis=0).max()
    _, first, where = np.unique(
        np.round(shape.points / (1e-5 * size)).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    points, faces = shape.points[first], where.reshape(-1)[shape.faces]
    corners = points[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return points, faces[area > 1e-9 * size**2]


def _with_normals(points: np.ndarray, faces: np.ndarray) -> Surface:
    """Average at every corner the normals of the faces that meet there at a blunt angle."""
    from scipy.sparse import csr_matrix

    corners = points[faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    unit = area / np.linalg.norm(area, axis=1, keepdims=True)
    count = 3 * len(faces)
    owner = np.repeat(np.arange(len(faces)), 3)
    meets = csr_matrix((np.ones(count), (faces.reshape(-1), owner)), shape=(len(points), len(faces)))
    corner, other = meets[faces.reshape(-1)].nonzero()
    blunt = (unit[owner[corner]] * unit[other]).sum(axis=1) > np.cos(np.radians(CREASE_DEG))
    normals = np.zeros((count, 3))
    np.add.at(normals, corner[blunt], area[other[blunt]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    key = np.concatenate([faces.reshape(-1, 1), np.round(normals * 1000.0)], axis=1).astype(np.int64)
    _, first, where = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return Surface(points[faces.reshape(-1)[first]], normals[first], where.reshape(-1, 3))


def _rings(profile: list[tuple[float, float]], angle: np.ndarray) -> Shape:
    """Turn a profile of (radius, z) about z; it runs so that outside is on its right hand."""
    around = len(angle)
    points = np.concatenate(
        [np.stack([r * np.cos(angle), r * np.sin(angle), np.full(around, z)], axis=1) for r, z in profile]
    )
    lower = (np.arange(len(profile) - 1)[:, None] * around + np.arange(around)).reshape(-1)
    beside = (np.arange(len(profile) - 1)[:, None] * around + (np.arange(around) + 1) % around).reshape(-1)
    first = np.stack([lower, beside, beside + around], axis=1)
    second = np.stack([lower, beside + around, lower + around], axis=1)
    return Shape(points, np.concatenate([first, second]))


def _rounded(profile: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Cut the corners of a profile twice (Chaikin)."""
    for _ in range(2):
        cut = [profile[0]]
        for (r0, z0), (r1, z1) in pairwise(profile):
            cut += [(0.75 * r0 + 0.25 * r1, 0.75 * z0 + 0.25 * z1), (0.25 * r0 + 0.75 * r1, 0.25 * z0 + 0.75 * z1)]
        profile = [*cut, profile[-1]]
    return profile


def _torus(radius: float, tube: float) -> Shape:
    angle = 2.0 * np.pi * np.arange(17) / 16
    return _rings([(radius + tube * np.cos(item), tube * np.sin(item)) for item in angle], _circle(32))


def _circle(count: int) -> np.ndarray:
    return 2.0 * np.pi * np.arange(count) / count


def _ball(halvings: int) -> Shape:
    """Divide an octahedron and blow it up."""
    points = np.concatenate([np.eye(3), -np.eye(3)])
    faces = np.array([[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]])
    for _ in range(halvings):
        a, b, c = (points[faces[:, index]] for index in range(3))
        ab, bc, ca = a + b, b + c, c + a
        corners = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        points = np.concatenate([np.stack(item, axis=1) for item in corners]).reshape(-1, 3)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        points, faces = _welded(Shape(points, np.arange(len(points)).reshape(-1, 3)))
    return Shape(points, faces)


def _unit_box(shape: Shape) -> Shape:
    low, high = shape.points.min(axis=0), shape.points.max(axis=0)
    return Shape((shape.points - (low + high) / 2.0) / (high - low), shape.faces)


def _rotation(axis_angle: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(axis_angle).as_matrix()
