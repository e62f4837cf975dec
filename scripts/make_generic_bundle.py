"""Make models/generic of what was trained: its networks, and one object of our own in place of the hundreds.

    pose_train --recipes config/train/generic --bop runs/generic_objects --bundle runs/generic/bundle
    python scripts/make_generic_bundle.py --trained runs/generic/bundle --out models/generic

The object, a cup, is there to try the networks with; no training has seen it.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from demo_shapes import Part, write_ply
from generic_shapes import Surface, cup, surface_of, to_size

from pose_estimation_ros.objects.bundle import load_bundle, save_bundle
from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.objects.mesh import diameter

DIAMETER_M = 0.13
SPACING_M = 0.012


def main() -> None:
    """Write the bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trained", type=Path, required=True, help="the bundle that pose_train wrote")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    trained, out = load_bundle(arguments.trained), arguments.out
    (out / "meshes").mkdir(parents=True, exist_ok=True)
    surface = surface_of(to_size(cup(), DIAMETER_M), SPACING_M)
    write_ply(out / "meshes" / "cup.ply", Part(surface.points, surface.normals, surface.faces, banded(surface)))
    for entry in trained.networks.values():
        shutil.copyfile(trained.path / entry.file, out / entry.file)
    save_bundle(
        replace(
            trained,
            path=out,
            name=out.resolve().name,
            catalog=Catalog((described(surface),)),
            pose_prior=PosePrior(),
            meshes="meshes",
            mesh_source="",
            description="Networks for objects that no network was trained on; other bundles copy them.",
        )
    )


def banded(surface: Surface) -> np.ndarray:
    """Return colours (V, 3): a dark blue cup with a pale band and a spot opposite the handle."""
    height = surface.points[:, 2] / np.abs(surface.points[:, 2]).max()
    colors = np.tile([0.12, 0.2, 0.45], (len(surface.points), 1))
    colors[np.abs(height) < 0.35] = [0.9, 0.86, 0.75]
    front = (surface.points[:, 0] < 0.0) & (np.hypot(height, surface.points[:, 1] / 0.03) < 0.5)
    colors[front] = [0.8, 0.2, 0.1]
    return colors


def described(surface: Surface) -> ObjectModel:
    """Describe the cup for the catalog."""
    points = surface.points.astype(np.float32).astype(np.float64)
    (x0, y0, z0), (x1, y1, z1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return ObjectModel(1, "cup", diameter(points), ((x0, y0, z0), (x1, y1, z1)), Path("cup.ply"), "m")


if __name__ == "__main__":
    main()
