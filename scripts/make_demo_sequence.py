#!/usr/bin/env python3
"""Render the image sequence of the demo: objects on a table, a camera in orbit, in BOP layout with ground truth.

    .venv/bin/python scripts/make_demo_sequence.py [--bundle models/demo] [--output models/demo/sequence]

It shares nothing with the training images but the meshes: every ray is cast into one scene of all bodies, with an
area light, cast shadows, light from the sky, and a table whose wood no training background has.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import cv2
import numpy as np
from demo_scene import Body, Scene, plate, solid
from tqdm import tqdm

from pose_estimation_ros.data.bop_writer import BopWriter, write_models_info
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.objects.mesh import load_mesh

SEED = 20240917
CAMERA = Camera(np.array([[604.0, 0.0, 321.4], [0.0, 604.0, 238.2], [0.0, 0.0, 1.0]]), 640, 480)
BOOK = ((0.075, 0.055, -0.0), (0.245, 0.205, 0.022))  # corners of a book on the table, metres
# name, x, y in metres on the table, yaw in degrees, height of what the object stands on
PLACES = (
    ("mug", -0.010, -0.140, 35.0, 0.0),
    ("gear_box", -0.150, 0.005, 205.0, 0.0),
    ("toy_brick", 0.115, -0.060, 62.0, 0.0),
    ("toy_brick", -0.040, 0.165, -24.0, 0.0),
    ("bottle", 0.010, 0.028, 0.0, 0.0),
    ("duckling", 0.160, 0.130, 215.0, BOOK[1][2]),
)


def orbit(share: float) -> np.ndarray:
    """Return camera_from_world (4, 4) at a share 0..1 of the flight."""
    azimuth = np.deg2rad(-118.0 + 130.0 * share)
    elevation = np.deg2rad(40.0 + 13.0 * np.sin(2 * np.pi * (share * 1.3 + 0.1)))
    distance = 0.63 + 0.06 * np.sin(2 * np.pi * share)
    target = np.array([0.01 + 0.015 * np.sin(9 * share), 0.01 + 0.015 * np.cos(7 * share), 0.03])
    towards = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    return looking_at(target + distance * towards, target, np.deg2rad(5.0 * np.sin(2 * np.pi * share * 1.7)))


def looking_at(eye: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """Return camera_from_world (4, 4) at `eye` (3,) that looks at `target` (3,), turned by `roll` radians."""
    towards = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross(-towards, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(-towards, right)
    x_axis = np.cos(roll) * right + np.sin(roll) * down
    y_axis = np.cross(-towards, x_axis)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([x_axis, y_axis, -towards])
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return matrix


def place_objects(bundle: Bundle) -> tuple[list[Body], list[tuple[int, np.ndarray]]]:
    """Stand the objects on the table.

    Returns:
        Their bodies, and the object id with world_from_object (4, 4) of each.
    """
    found = [solid_of(bundle, *place) for place in PLACES]
    return [body for body, _ in found], [pose for _, pose in found]


def solid_of(
    bundle: Bundle, name: str, x: float, y: float, yaw_deg: float, floor: float
) -> tuple[Body, tuple[int, np.ndarray]]:
    """Return the body of an object that stands on the table, and its object id with world_from_object (4, 4).

    Raises:
        ValueError: if the bundle has no such object.
    """
    index = bundle.catalog.index_of_name(name)
    if index is None:
        raise ValueError(f"{bundle.path}: no object {name!r}; run scripts/make_demo_objects.py")
    model = bundle.catalog[index]
    cosine, sine = np.cos(np.deg2rad(yaw_deg)), np.sin(np.deg2rad(yaw_deg))
    pose = np.eye(4)
    pose[:2, :2] = [[cosine, -sine], [sine, cosine]]
    pose[:3, 3] = [x, y, floor - model.bounds_m[0][2]]
    mesh = load_mesh(bundle.mesh_path(index), model.mesh_unit, model.diameter_m)
    vertices = mesh.vertices @ pose[:3, :3].T + pose[:3, 3]
    body = Body(vertices, mesh.faces, mesh.normals @ pose[:3, :3].T, mesh.colors, gloss=0.18)
    return body, (model.object_id, pose)


def surroundings() -> list[Body]:
    """Make what the networks have never seen: a wooden table, the floor below it, a book, a ball and a sheet."""
    return [
        plate((-0.62, -0.48), (0.62, 0.48), 0.0, wood(), gloss=0.10),
        plate((-4.0, -4.0), (4.0, 4.0), -0.74, tiles()),
        solid("box", (0.34, 0.36, 0.42), low=BOOK[0], high=BOOK[1], gloss=0.05),
        solid("ball", (0.62, 0.66, 0.30), low=(-0.175, 0.09, 0.0), high=(-0.115, 0.15, 0.06), gloss=0.3),
        plate((-0.30, -0.34), (-0.09, -0.10), 0.0006, sheet()),
    ]


def wood(size: int = 2048) -> np.ndarray:
    """Paint planks with grain, shape (size, size, 3) in [0, 1]."""
    generator = np.random.default_rng(SEED)
    y = np.mgrid[0:size, 0:size][0].astype(np.float32) / size
    warp = sum(
        cv2.resize(
            generator.normal(size=(cells, max(2, cells // 6))).astype(np.float32),
            (size, size),
            interpolation=cv2.INTER_CUBIC,
        )
        * weight
        for cells, weight in ((6, 1.0), (24, 0.35), (96, 0.15))
    )
    plank = np.floor(y * 7)
    tone = generator.uniform(0.82, 1.08, 8)[plank.astype(int)]
    rings = 0.5 + 0.5 * np.sin(40.0 * y + 2.2 * warp + 5.0 * plank)
    fibre = cv2.resize(generator.normal(size=(size, size // 32)).astype(np.float32), (size, size))
    shade = (0.80 + 0.16 * rings + 0.04 * fibre) * tone * (1.0 - 0.5 * (np.abs(y * 7 - plank - 0.5) > 0.49))
    return np.clip(shade[..., None] * np.array([0.60, 0.43, 0.28]), 0, 1)


def tiles(size: int = 512) -> np.ndarray:
    """Paint a floor of grey tiles, shape (size, size, 3) in [0, 1]."""
    y, x = np.mgrid[0:size, 0:size] / size * 20
    joint = (np.abs(x % 1 - 0.5) > 0.47) | (np.abs(y % 1 - 0.5) > 0.47)
    tone = np.random.default_rng(SEED + 1).uniform(0.40, 0.52, (21, 21))[y.astype(int), x.astype(int)]
    return np.repeat(np.where(joint, 0.25, tone)[..., None], 3, axis=2)


def sheet(size: int = 512) -> np.ndarray:
    """Paint a printed page: lines of dark words on white, shape (size, size, 3) in [0, 1]."""
    generator = np.random.default_rng(SEED + 2)
    page = np.full((size, size, 3), 0.86)
    for row in range(40, size - 40, 22):
        column = 40
        while column < size - 70:
            width = int(generator.integers(12, 46))
            page[row : row + 8, column : column + width] = 0.25
            column += width + 8
    return page


def sensor(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Add what a camera adds: vignetting, a little blur, shot and read noise; (H, W, 3) float to uint8."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    radius = np.hypot((x - width / 2) / width, (y - height / 2) / width)
    image = cv2.GaussianBlur(image * (1.0 - 0.35 * radius**2)[..., None], (0, 0), 0.45)
    noise = generator.normal(size=image.shape) * np.sqrt(0.00006 + 0.0002 * np.clip(image, 0, 1))
    return np.round(np.clip(image + noise, 0, 1) * 255).astype(np.uint8)


def write_models(bundle: Bundle, folder: Path, faces: int = 1500) -> None:
    """Write the meshes as BOP's evaluation wants them: millimetres, few vertices, no colours."""
    import open3d

    write_models_info(bundle.catalog, folder)
    for index, model in enumerate(bundle.catalog):
        mesh = load_mesh(bundle.mesh_path(index), model.mesh_unit, model.diameter_m)
        raw = open3d.geometry.TriangleMesh(
            open3d.utility.Vector3dVector(mesh.vertices * 1000.0), open3d.utility.Vector3iVector(mesh.faces)
        )
        raw.remove_duplicated_vertices()
        small = raw.simplify_quadric_decimation(faces)
        small.vertex_normals = open3d.utility.Vector3dVector()
        open3d.io.write_triangle_mesh(str(folder / f"obj_{model.object_id:06d}.ply"), small)


def main() -> int:
    """Render the sequence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="models/demo", help="bundle whose objects are shown")
    parser.add_argument("--output", type=Path, default=Path("models/demo/sequence"), help="folder to write, replaced")
    parser.add_argument("--frames", type=int, default=40, help="number of images")
    parser.add_argument("--samples", type=int, default=3, help="rays per pixel and axis")
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    bodies, poses = place_objects(bundle)
    scene = Scene(bodies + surroundings())
    generator = np.random.default_rng(SEED)
    shutil.rmtree(arguments.output, ignore_errors=True)
    with BopWriter(arguments.output, image_suffix=".jpg") as writer:
        for number in tqdm(range(arguments.frames), unit="image"):
            view = orbit(number / max(arguments.frames - 1, 1))
            image = sensor(scene.render(CAMERA, view, arguments.samples, generator), generator)
            visible, full = scene.masks(CAMERA, view, len(bodies))
            truth = [(object_id, view @ pose) for object_id, pose in poses]
            writer.add(image, CAMERA, truth, visible, full)
    shutil.rmtree(writer.folder / "mask")  # the visible masks are enough, and half the files
    write_models(bundle, arguments.output / "models_eval")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
