"""Categories: several CAD meshes in a common frame that stand for everything of their kind."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.objects.mesh import diameter, load_mesh

_MESHES = (".ply", ".obj", ".stl", ".off")


def catalog_from_categories(folder: Path, unit: str = "m", held_out: int = 0) -> Catalog:
    """Make one object of every subfolder with meshes, PLY, OBJ, STL or OFF.

    Args:
        folder: holds the folders of the categories.
        unit: of the files.
        held_out: how many meshes of each category are left out, the last by name.

    Raises:
        ValueError: if there is no category, or one has no more meshes than are left out.
    """
    if held_out < 0:
        raise ValueError(f"held_out = {held_out}: expected 0 or more")
    models: list[ObjectModel] = []
    for path in sorted(item for item in folder.iterdir() if item.is_dir()):
        files = sorted(item for item in path.iterdir() if item.suffix.lower() in _MESHES)
        if not files:
            continue
        if len(files) <= held_out:
            raise ValueError(f"{path}: {len(files)} meshes, expected more than the {held_out} left out")
        files = files[: len(files) - held_out]
        meshes = [load_mesh(file, unit) for file in files]
        ends = np.array([mesh.bounds for mesh in meshes])
        names = [file.relative_to(folder) for file in files]
        models.append(
            ObjectModel(
                object_id=len(models) + 1,
                name=object_name(path.name),
                diameter_m=max(diameter(mesh.vertices) for mesh in meshes),
                bounds_m=(tuple(ends[:, 0].min(axis=0).tolist()), tuple(ends[:, 1].max(axis=0).tolist())),
                mesh=names[0],
                mesh_unit=unit,
                instances=tuple(names[1:]),
            )
        )
    if not models:
        raise ValueError(f"{folder}: no folder with meshes in it; expected one for every category")
    return Catalog(tuple(models))


def object_name(text: str) -> str:
    """Return a text as the name of an object: letters, digits and underscores, a letter first."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return name if name[0].isalpha() else f"object_{name}"
