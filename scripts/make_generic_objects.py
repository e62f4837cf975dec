"""Make the objects that the generic refiner is trained on: many shapes, painted anew, none of them anybody's.

    python scripts/training_media.py runs/media
    python scripts/make_generic_objects.py --media runs/media --out runs/generic_objects
    pose_train --recipes config/train/generic --bop runs/generic_objects

OUT/models is a BOP models folder. Two shapes in three are random objects of the wheel pybullet, stretched; the others
are boxes, plates, vessels, lumps and tools (generic_shapes.py). Photographs, prints, noise and plain colours are drawn
for each (generic_paint.py). `--held-out` makes objects of shapes that the others do not have, to choose on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from demo_shapes import Part, write_ply
from generic_paint import Painter
from generic_shapes import Shape, Surface, random_shape, stretched, surface_of, to_size
from scipy.spatial import cKDTree
from tqdm import tqdm

from pose_estimation_ros.data.clutter import mesh_files
from pose_estimation_ros.objects.mesh import diameter, load_mesh

SPACING = 1.0 / 36.0  # longest edge, diameters
SIZES_M = (0.05, 0.3)  # diameters, least and most
FOREIGN_SHARE = 2.0 / 3.0
HELD_OUT = 0.1  # share of the foreign shapes that only held-out objects have
SAME_PLACE = 0.6 * SPACING  # vertices of a surface are no nearer to those of the same one, diameters
SAME_COLOR = 0.06  # a difference that nobody sees
MM = 1000.0


@dataclass(frozen=True)
class Symmetry:
    """Rotations about the centre of the box after which a mesh looks the same."""

    discrete: list[np.ndarray]  # (3, 3), without the identity
    axis: tuple[float, float, float] | None = None  # of a continuous one


def main() -> None:
    """Write the models folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, required=True, help="folder of scripts/training_media.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=360)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--held-out", action="store_true", help="make objects for tests")
    arguments = parser.parse_args()
    for name in ("meshes", "pictures"):
        if not (arguments.media / name).is_dir():
            parser.error(f"--media {arguments.media}: no folder {name}; expected what scripts/training_media.py wrote")
    if arguments.count < 1:
        parser.error(f"--count {arguments.count}: expected at least 1")
    files = mesh_files(arguments.media / "meshes")
    first = round(len(files) * (1.0 - HELD_OUT))
    files = files[first:] if arguments.held_out else files[:first]
    pictures = sorted((arguments.media / "pictures").iterdir())
    paint = Painter(pictures, seed=arguments.seed)
    folder, info = arguments.out / "models", {}
    folder.mkdir(parents=True, exist_ok=True)
    for number in tqdm(range(1, arguments.count + 1), unit="object"):
        random = np.random.default_rng((arguments.seed, arguments.held_out, number))
        path = folder / f"obj_{number:06d}.ply"
        if not path.is_file():  # what is there already is left as it is
            surface, colors = make_object(files, paint, random)
            write_ply(path, Part(surface.points * MM, surface.normals, surface.faces, colors), "millimetre")
        mesh = load_mesh(path, "mm")
        info[number] = describe(mesh.vertices, mesh.colors)
    (folder / "models_info.json").write_text(json.dumps(info, indent=1) + "\n")


def make_object(files: list[Path], paint: Painter, random: np.random.Generator) -> tuple[Surface, np.ndarray]:
    """Draw a shape, its size and its colours; metres."""
    if random.random() < FOREIGN_SHARE:
        shape = stretched(foreign_shape(files, random), random)
    else:
        shape = random_shape(random)
    size = float(np.exp(random.uniform(*np.log(SIZES_M))))
    surface = surface_of(to_size(shape, size), SPACING * size)
    return surface, paint(surface.points / size, surface.normals, random)


def foreign_shape(files: list[Path], random: np.random.Generator) -> Shape:
    """Read one of the files, another one where it cannot be read: some of the wheel's have no triangles."""
    while True:
        path = files[random.integers(len(files))]
        try:
            mesh = load_mesh(path, any_size=True)
        except ValueError as error:
            print(f"left out: {error}")
            continue
        return Shape(mesh.vertices.astype(np.float64), mesh.faces)


def describe(vertices: np.ndarray, colors: np.ndarray) -> dict:
    """Return what models_info.json says, in millimetres, of a mesh in metres."""
    points = vertices.astype(np.float64) * MM
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    entry: dict = {"diameter": diameter(points)}
    entry |= {f"min_{name}": float(value) for name, value in zip("xyz", low, strict=True)}
    entry |= {f"size_{name}": float(value) for name, value in zip("xyz", size, strict=True)}
    found = symmetry_of(points, colors)
    if found.axis is not None:
        centre = (low + size / 2.0).tolist()
        entry["symmetries_continuous"] = [{"axis": list(found.axis), "offset": centre}]
    if found.discrete:
        entry["symmetries_discrete"] = [_about(low + size / 2.0, item).reshape(-1).tolist() for item in found.discrete]
    return entry


def symmetry_of(points: np.ndarray, colors: np.ndarray) -> Symmetry:
    """Find the quarter and half turns about the axes of the box, and the axes of revolution, that nobody can see.

    Args:
        points: vertices (V, 3).
        colors: of the vertices (V, 3).
    """
    centred = points - (points.min(axis=0) + points.max(axis=0)) / 2.0
    length = diameter(points)
    tree, chosen = cKDTree(centred), np.random.default_rng(0).permutation(len(points))[:600]

    def same(rotation: np.ndarray) -> bool:
        distance, nearest = tree.query(centred[chosen] @ rotation.T)
        unlike = np.abs(colors[nearest] - colors[chosen]).mean()
        return bool(np.quantile(distance, 0.97) < SAME_PLACE * length and unlike < SAME_COLOR)

    axis = None
    for column in range(3):
        if all(same(_turn(column, degrees)) for degrees in (23.0, 71.0, 137.0)):
            axis = column
            break
    discrete = [rotation for rotation in _quarter_turns() if same(rotation)]
    if axis is None:
        return Symmetry(discrete)
    # Of those that turn the axis over one is enough: the revolution makes the others of it.
    over = [item for item in discrete if item[axis, axis] < -0.5]
    direction = np.eye(3)[axis]
    return Symmetry(over[:1], (float(direction[0]), float(direction[1]), float(direction[2])))


def _quarter_turns() -> list[np.ndarray]:
    """Return the 23 rotations that put axes onto axes, without the identity."""
    found = []
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        for signs in np.ndindex(2, 2, 2):
            matrix = np.eye(3)[list(order)] * (1.0 - 2.0 * np.array(signs))
            if np.linalg.det(matrix) > 0.0 and not np.array_equal(matrix, np.eye(3)):
                found.append(matrix)
    return found


def _turn(axis: int, degrees: float) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(np.eye(3)[axis] * np.radians(degrees)).as_matrix()


def _about(centre: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = rotation, centre - rotation @ centre
    return transform


if __name__ == "__main__":
    main()
