"""pose_render: look at an object as the networks do: colour, depth, normals and object coordinates at a pose."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.catalog import UNITS_M
from pose_estimation_ros.objects.mesh import Mesh, diameter, load_mesh
from pose_estimation_ros.rendering.raycaster import RayCaster, Renders
from pose_estimation_ros.rendering.views import shaded, view_pose

DEPTH_UNITS_PER_M = 10000.0  # of depth.png: 0.1 mm, as BOP's depth_scale 0.1
MAPS = ("color", "depth", "normals", "coordinates")


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        mesh = _read_mesh(arguments)
        if arguments.views:
            written = _write_sheet(mesh, arguments)
        else:
            written = _write_maps(mesh, arguments)
    except (ValueError, OSError) as error:
        print(f"pose_render: error: {error}", file=sys.stderr)
        return 2
    for path in written:
        print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_render", description=__doc__)
    source = parser.add_argument_group("what")
    source.add_argument("--bundle", help="folder or name of a bundle; with --object")
    source.add_argument("--object", help="name of the bundle's object (default: the first)")
    source.add_argument("--mesh-dir", type=Path, help="where the meshes are that the bundle does not ship")
    source.add_argument("--mesh", type=Path, help="a mesh file instead of a bundle: PLY, OBJ, STL, OFF")
    source.add_argument("--unit", choices=sorted(UNITS_M), default="m", help="unit of --mesh (default: m)")
    pose = parser.add_argument_group("from where; the camera looks at the centre of the object's box")
    pose.add_argument("--azimuth", type=float, default=30.0, help="degrees about the object's z (default: 30)")
    pose.add_argument("--elevation", type=float, default=30.0, help="degrees above its xy plane (default: 30)")
    pose.add_argument("--roll", type=float, default=0.0, help="turn of the camera about its axis, degrees (default: 0)")
    pose.add_argument("--distance", type=float, help="metres (default: the object fills the image)")
    pose.add_argument("--pose", type=Path, help="text file with camera_from_object, 3x4 or 4x4, metres")
    pose.add_argument("--views", type=int, help="write one contact sheet of so many views from all around")
    image = parser.add_argument_group("how")
    image.add_argument("--size", type=int, nargs=2, default=(480, 480), metavar=("WIDTH", "HEIGHT"), help="pixels")
    image.add_argument("--focal", type=float, help="focal length in pixels (default: 1.5 times the width)")
    image.add_argument("--engine", choices=("auto", "embree", "warp"), default="auto", help="(default: auto)")
    image.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    image.add_argument("--output", type=Path, default=Path("out/render"), help="folder (default: out/render)")
    return parser


def _read_mesh(arguments: argparse.Namespace) -> Mesh:
    if (arguments.mesh is None) == (arguments.bundle is None):
        raise ValueError("expected either --mesh FILE or --bundle NAME")
    width, height = arguments.size
    if min(width, height) < 1:
        raise ValueError(f"--size {width} {height}: expected positive pixels")
    if arguments.views is not None and arguments.views < 1:
        raise ValueError(f"--views {arguments.views}: expected at least 1")
    if arguments.mesh is not None:
        return load_mesh(arguments.mesh, arguments.unit)
    bundle = load_bundle(arguments.bundle)
    index = 0 if arguments.object is None else bundle.catalog.index_of_name(arguments.object)
    if index is None:
        known = ", ".join(model.name for model in bundle.catalog)
        raise ValueError(f"--object {arguments.object!r}: not in bundle {bundle.name} (has: {known})")
    model = bundle.catalog[index]
    return load_mesh(
        bundle.mesh_path(index, arguments.mesh_dir), model.mesh_unit, None if model.instances else model.diameter_m
    )


def read_pose(path: Path) -> np.ndarray:
    """Read camera_from_object from a text file of 3x4 or 4x4 numbers.

    Raises:
        ValueError: if there are other numbers in it or the rotation is none.
    """
    numbers = np.loadtxt(path).reshape(-1)
    if numbers.size not in (12, 16):
        raise ValueError(f"{path}: {numbers.size} numbers, expected 3x4 or 4x4")
    pose = np.eye(4)
    pose[:3] = numbers[:12].reshape(3, 4)
    if np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)).max() > 1e-3 or np.linalg.det(pose[:3, :3]) < 0:
        raise ValueError(f"{path}: the left 3x3 numbers are not a rotation")
    return pose


def _intrinsics(arguments: argparse.Namespace, width: int, height: int) -> np.ndarray:
    focal = (arguments.focal or 1.5 * arguments.size[0]) * width / arguments.size[0]
    return np.array([[focal, 0.0, (width - 1) / 2.0], [0.0, focal, (height - 1) / 2.0], [0.0, 0.0, 1.0]])


def _distance(mesh: Mesh, arguments: argparse.Namespace) -> float:
    if arguments.distance is not None:
        return arguments.distance
    focal = arguments.focal or 1.5 * arguments.size[0]
    return 0.55 * diameter(mesh.vertices) * (1.0 + 2.0 * focal / min(arguments.size))


def _render(mesh: Mesh, poses: np.ndarray, intrinsics: np.ndarray, width: int, height: int, arguments) -> Renders:
    caster = RayCaster([mesh], arguments.engine, arguments.device)
    count = len(poses)
    return caster.render(
        torch.zeros(count, dtype=torch.int64),
        torch.from_numpy(poses).float(),
        torch.from_numpy(intrinsics).float().expand(count, 3, 3),
        height,
        width,
    )


def _write_maps(mesh: Mesh, arguments: argparse.Namespace) -> list[Path]:
    width, height = arguments.size
    angles = (arguments.azimuth, arguments.elevation, arguments.roll)
    pose = read_pose(arguments.pose) if arguments.pose else view_pose(mesh, *angles, _distance(mesh, arguments))
    images = _render(mesh, pose[None], _intrinsics(arguments, width, height), width, height, arguments)
    if not images.mask.any():
        raise ValueError("nothing of the object is in the image; check --pose, --distance and --focal")
    mask = images.mask[0].cpu().numpy()[..., None]
    low, high = mesh.bounds
    coordinates = (_channels_last(images.coordinates) - low) / np.maximum(high - low, 1e-9)
    pictures = {
        "color": _channels_last(shaded(images)),
        "normals": np.where(mask, (_channels_last(images.normals) + 1.0) / 2.0, 0.0),
        "coordinates": np.where(mask, coordinates, 0.0),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    written = []
    for name in MAPS:
        path = arguments.output / f"{name}.png"
        if name == "depth":
            units = np.clip(images.depth[0].cpu().numpy() * DEPTH_UNITS_PER_M, 0, 65535)
            _write_png(path, np.round(units).astype(np.uint16))
        else:
            _write_png(path, _to_bytes(pictures[name]))
        written.append(path)
    return written


def _write_sheet(mesh: Mesh, arguments: argparse.Namespace) -> list[Path]:
    """Write the views of a spiral over the sphere as one picture, colour beside object coordinates."""
    count, side = arguments.views, 192
    heights = 1.0 - 2.0 * (np.arange(count) + 0.5) / count  # Fibonacci's lattice: evenly over the sphere
    azimuths = 360.0 * np.arange(count) / ((1.0 + np.sqrt(5.0)) / 2.0)
    distance = _distance(mesh, arguments)
    poses = np.stack(
        [
            view_pose(mesh, azimuth, np.rad2deg(np.arcsin(z)), arguments.roll, distance)
            for azimuth, z in zip(azimuths, heights, strict=True)
        ]
    )
    images = _render(mesh, poses, _intrinsics(arguments, side, side), side, side, arguments)
    low, high = (torch.from_numpy(corner).to(images.depth.device)[:, None, None] for corner in mesh.bounds)
    coordinates = torch.where(images.mask[:, None], (images.coordinates - low) / (high - low).clamp(min=1e-9), 0.0)
    tiles = torch.cat([shaded(images), coordinates], dim=3)
    columns = max(1, min(count, round(np.sqrt(count / 2.0))))
    rows = [torch.cat(list(tiles[start : start + columns]), dim=2) for start in range(0, count, columns)]
    rows[-1] = torch.nn.functional.pad(rows[-1], (0, rows[0].shape[2] - rows[-1].shape[2]))
    path = arguments.output / "views.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_png(path, _to_bytes(_channels_last(torch.cat(rows, dim=1)[None])))
    return [path]


def _channels_last(images: torch.Tensor) -> np.ndarray:
    return images[0].permute(1, 2, 0).cpu().numpy()


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    return np.round(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)[..., ::-1]


def _write_png(path: Path, pixels: np.ndarray) -> None:
    if not cv2.imwrite(str(path), pixels):
        raise OSError(f"{path}: could not be written")


if __name__ == "__main__":
    sys.exit(main())
