"""A box of six colours that trainings learn in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pose_estimation_ros.cli.train import main
from pose_estimation_ros.objects.bundle import Bundle, load_bundle


def write_box(path: Path) -> None:
    """Write a box of 10 x 8 x 6 cm with six colours, in millimetres."""
    import open3d

    box = open3d.geometry.TriangleMesh.create_box(100.0, 80.0, 60.0)
    corners, faces, colors = np.asarray(box.vertices) - [50.0, 40.0, 30.0], np.asarray(box.triangles), []
    palette = np.array(
        [[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9], [0.9, 0.9, 0.1], [0.1, 0.9, 0.9], [0.9, 0.1, 0.9]]
    )
    for face in faces:
        normal = np.cross(corners[face[1]] - corners[face[0]], corners[face[2]] - corners[face[0]])
        axis = int(np.argmax(np.abs(normal)))
        colors.append(palette[2 * axis + int(normal[axis] > 0)])
    loose = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(corners[faces].reshape(-1, 3)),
        open3d.utility.Vector3iVector(np.arange(3 * len(faces)).reshape(-1, 3)),
    )
    loose.vertex_colors = open3d.utility.Vector3dVector(np.repeat(colors, 3, axis=0))
    open3d.io.write_triangle_mesh(str(path), loose)


def train_on_box(folder: Path, network: str, recipe: str) -> Bundle:
    """Train a network of a new bundle with one box, by the command, and return the bundle."""
    write_box(folder / "box.ply")
    (folder / "recipe.yaml").write_text(recipe)
    arguments = ["--bundle", folder / "bundle", "--mesh", folder / "box.ply", "--unit", "mm", "--network", network]
    arguments += ["--config", folder / "recipe.yaml", "--work-dir", folder / "run"]
    assert main([str(item) for item in arguments]) == 0
    return load_bundle(folder / "bundle")
