"""Surfaces with normals and painted vertices, and their PLY files: what the demo objects are put together from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

SPACING_M = 0.0023  # between neighbouring vertices
Paint = Callable[[np.ndarray], np.ndarray]  # points (N, 3) in metres -> colours (N, 3) in [0, 1]

PALETTE = {
    "black": (0.07, 0.07, 0.09), "white": (0.95, 0.94, 0.90), "grey": (0.55, 0.57, 0.60), "red": (0.85, 0.12, 0.12),
    "orange": (0.95, 0.50, 0.08), "yellow": (0.97, 0.83, 0.12), "green": (0.12, 0.58, 0.24), "teal": (0.08, 0.58, 0.60),
    "sky": (0.55, 0.80, 0.95), "blue": (0.10, 0.25, 0.72), "purple": (0.48, 0.16, 0.62), "pink": (0.95, 0.50, 0.65),
    "brown": (0.45, 0.26, 0.12), "steel": (0.72, 0.75, 0.80),
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A piece of surface."""

    points: np.ndarray  # (V, 3) metres
    normals: np.ndarray  # (V, 3) unit, outward
    faces: np.ndarray  # (F, 3) counter-clockwise seen from outside
    colors: np.ndarray  # (V, 3) in [0, 1]


def colour(name: str, count: int) -> np.ndarray:
    """Repeat a colour of the palette, shape (count, 3)."""
    return np.tile(PALETTE[name], (count, 1))


def plain(name: str) -> Paint:
    """Paint everything in one colour."""
    return lambda points: colour(name, len(points))


def put(image: np.ndarray, where: np.ndarray, name: str) -> None:
    """Colour the vertices selected by a mask (N,) in place."""
    image[where] = PALETTE[name]


def blend(first: str, second: str, share: np.ndarray) -> np.ndarray:
    """Mix two colours; share (N,) runs from 0 (first) to 1 (second)."""
    share = np.clip(share, 0.0, 1.0)[:, None]
    return np.asarray(PALETTE[first]) * (1.0 - share) + np.asarray(PALETTE[second]) * share


def patch(
    surface: Callable[[np.ndarray, np.ndarray], np.ndarray],
    size: tuple[float, float],
    paint: Paint,
    spacing_m: float = SPACING_M,
) -> Part:
    """Sample a surface over the unit square; its normal is (d/du) x (d/dv).

    Args:
        surface: maps u (N,), v (N,) in [0, 1] to points (N, 3).
        size: lengths in metres along u and v, which set the number of vertices.
        paint: colours of the points.
        spacing_m: distance between neighbouring vertices.
    """
    # A multiple of four steps keeps a turned surface's box centred on its axis.
    steps = [max(1, round(length / spacing_m)) for length in size]
    columns, rows = (4 * round(count / 4) + 1 if count > 40 else count + 1 for count in steps)
    u, v = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows)))
    points = surface(u, v)
    step = 1e-4
    u, v = u.clip(2 * step, 1 - 2 * step), v.clip(2 * step, 1 - 2 * step)  # off the poles, where nothing has a normal
    along_u = surface(np.minimum(u + step, 1), v) - surface(np.maximum(u - step, 0), v)
    along_v = surface(u, np.minimum(v + step, 1)) - surface(u, np.maximum(v - step, 0))
    normals = np.cross(along_u, along_v)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    lower = np.stack([corner, corner + 1, corner + columns + 1], axis=1)
    upper = np.stack([corner, corner + columns + 1, corner + columns], axis=1)
    faces = np.concatenate([lower, upper])
    edges = points[faces]
    area = np.linalg.norm(np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]), axis=1)
    return Part(points, normals, faces[area > 1e-12], paint(points))


def rectangle(corner, edge_u, edge_v, paint: Paint) -> Part:
    """Make a flat rectangle; outside is where edge_u x edge_v points."""
    corner, edge_u, edge_v = (np.asarray(value, dtype=float) for value in (corner, edge_u, edge_v))
    size = (float(np.linalg.norm(edge_u)), float(np.linalg.norm(edge_v)))
    return patch(lambda u, v: corner + u[:, None] * edge_u + v[:, None] * edge_v, size, paint)


def box(low, high, paint: Paint) -> list[Part]:
    """Make the six faces of a box."""
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    x, y, z = np.diag(high - low)
    return [
        rectangle(low, y, x, paint), rectangle(low + z, x, y, paint), rectangle(low, x, z, paint),
        rectangle(low + y, z, x, paint), rectangle(low, z, y, paint), rectangle(low + x, y, z, paint),
    ]  # fmt: skip


def revolve(profile, paint: Paint, spacing_m: float = SPACING_M) -> Part:
    """Turn a profile of (radius, z) corners about z; it runs so that outside is on its right hand.

    Every straight piece of the profile becomes a patch of its own, so edges stay sharp.
    """
    pieces = []
    for (r0, z0), (r1, z1) in pairwise(profile):

        def surface(u, v, r0=r0, z0=z0, r1=r1, z1=z1):
            angle, radius = 2 * np.pi * u, r0 + (r1 - r0) * v
            return np.stack([radius * np.cos(angle), radius * np.sin(angle), z0 + (z1 - z0) * v], axis=1)

        pieces.append(patch(surface, (2 * np.pi * max(r0, r1), float(np.hypot(r1 - r0, z1 - z0))), paint, spacing_m))
    return join(pieces)


def turn(part: Part, rotation: np.ndarray, shift, paint: Paint | None = None) -> Part:
    """Move a part rigidly and, where wanted, paint it anew in its new place."""
    points = part.points @ rotation.T + np.asarray(shift, dtype=float)
    return Part(points, part.normals @ rotation.T, part.faces, paint(points) if paint else part.colors)


def join(parts: list[Part]) -> Part:
    """Put parts into one mesh."""
    starts = np.cumsum([0] + [len(part.points) for part in parts[:-1]])
    return Part(
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.normals for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]),
        np.concatenate([part.colors for part in parts]),
    )


def without(part: Part, inside: Callable[[np.ndarray], np.ndarray]) -> Part:
    """Drop the faces that lie wholly inside another body, and the vertices nobody uses any more."""
    hidden = inside(part.points)
    faces = part.faces[~hidden[part.faces].all(axis=1)]
    used = np.unique(faces)
    return Part(part.points[used], part.normals[used], np.searchsorted(used, faces), part.colors[used])


def write_ply(path: Path, part: Part, unit: str = "metre") -> None:
    """Write a binary PLY with normals and colours; the unit of the points is said in a comment."""
    vertex = np.zeros(len(part.points), dtype=[("p", "<f4", 3), ("n", "<f4", 3), ("c", "u1", 3)])
    vertex["p"], vertex["n"] = part.points, part.normals
    vertex["c"] = np.round(np.clip(part.colors, 0, 1) * 255)
    face = np.zeros(len(part.faces), dtype=[("count", "u1"), ("index", "<i4", 3)])
    face["count"], face["index"] = 3, part.faces
    lines = ["ply", "format binary_little_endian 1.0", f"comment unit: {unit}", f"element vertex {len(vertex)}"]
    lines += [f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")]
    lines += [f"property uchar {name}" for name in ("red", "green", "blue")]
    lines += [f"element face {len(face)}", "property list uchar int vertex_indices", "end_header", ""]
    path.write_bytes("\n".join(lines).encode() + vertex.tobytes() + face.tobytes())
