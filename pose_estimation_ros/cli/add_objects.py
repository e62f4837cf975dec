"""The objects that pose_add is to add: from the command line to measured meshes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pose_estimation_ros.objects.catalog import UNITS_M, Catalog, ObjectModel, catalog_from_bop
from pose_estimation_ros.objects.categories import object_name
from pose_estimation_ros.objects.mesh import Mesh, diameter
from pose_estimation_ros.objects.mesh_checks import MOST_TRIANGLES, mesh_notes, thinned
from pose_estimation_ros.objects.mesh_reading import read_mesh
from pose_estimation_ros.objects.mesh_surface import Surface
from pose_estimation_ros.objects.symmetry_choice import (
    AUTO,
    NONE,
    SHAPE,
    describe,
    describe_model,
    parse_choice,
    with_chosen,
    with_symmetries,
)
from pose_estimation_ros.objects.symmetry_search import SymmetryAxis, find_symmetries

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Wanted:
    """An object that is to be added."""

    name: str
    file: Path
    unit: str | None = None
    symmetry: str = AUTO
    entry: ObjectModel | None = None  # what a BOP data set says of it


@dataclass(frozen=True)
class Added:
    """An object that was read and measured."""

    model: ObjectModel
    mesh: Mesh
    surface: Surface
    axes: tuple[SymmetryAxis, ...]
    words: tuple[str, ...]  # what a user should know of it


def wanted_meshes(arguments: Sequence[str], units: Sequence[str], symmetries: Sequence[str]) -> list[Wanted]:
    """Read NAME=FILE, or FILE alone, whose name it then is; [NAME=]UNIT, and NAME=SYMMETRY.

    Raises:
        ValueError: if two objects have one name, a name is no name, or a unit or symmetry is for nobody.
    """
    files: dict[str, Path] = {}
    for text in arguments:
        name, sign, rest = text.partition("=")
        if not sign:
            name, rest = object_name(Path(text).stem), text
        if not _NAME.fullmatch(name) or not rest:
            raise ValueError(f"--mesh {text}: expected NAME=FILE with a name of letters, digits and underscores")
        if name in files:
            raise ValueError(
                f"--mesh {text}: {files[name]} is called {name!r} already; say how to call them: "
                f"--mesh first={files[name]} second={rest}"
            )
        files[name] = Path(rest)
    by_name = by_object(units, files, "--unit", general=True)
    for name, unit in by_name.items():
        if unit not in UNITS_M:
            raise ValueError(f"--unit {name + '=' if name else ''}{unit}: expected one of {', '.join(UNITS_M)}")
    chosen = by_object(symmetries, files, "--symmetry")
    return [
        Wanted(name, file, by_name.get(name, by_name.get("")), chosen.get(name, AUTO)) for name, file in files.items()
    ]


def wanted_models(folder: Path, symmetries: Sequence[str]) -> list[Wanted]:
    """Read the objects of a BOP models folder, with their ids and symmetries.

    Raises:
        FileNotFoundError: if it is none.
        ValueError: if a symmetry is for nobody.
    """
    catalog = catalog_from_bop(folder)
    chosen = by_object(symmetries, [model.name for model in catalog], "--symmetry")
    return [Wanted(item.name, folder / item.mesh, "mm", chosen.get(item.name, ""), item) for item in catalog]


def by_object(
    texts: Sequence[str], names: Sequence[str] | Mapping[str, Path], option: str, general: bool = False
) -> dict[str, str]:
    """Read NAME=VALUE; where `general`, also VALUE, which is for the name "".

    Raises:
        ValueError: if there is no object of a name.
    """
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign and general:
            name, value = "", text
        elif not sign or name not in names:
            known = ", ".join(names) or "none, as no mesh is given"
            raise ValueError(f"{option} {text}: expected NAME=..., of the objects to add ({known}) or of the bundle")
        if option == "--symmetry":
            parse_choice(value)
        found[name] = value
    return found


def numbered(wanted: Sequence[Wanted], existing: Catalog | None) -> list[int]:
    """Return the ids of new objects: those of a BOP data set, or the next ones.

    Raises:
        ValueError: if a name or an id is taken.
    """
    names = {model.name for model in existing or ()}
    ids = {model.object_id for model in existing or ()}
    numbers = []
    for item in wanted:
        number = max([0, *ids]) + 1 if item.entry is None else item.entry.object_id
        if item.name in names:
            raise ValueError(f"{item.name}: the bundle has an object of this name; expected another one")
        if number in ids:
            raise ValueError(f"{item.name}: the bundle has an object with id {number}; make another bundle")
        ids.add(number)
        names.add(item.name)
        numbers.append(number)
    return numbers


def measured(wanted: Wanted, number: int) -> Added:
    """Read the mesh of an object, look at it from all sides and find its symmetries.

    Raises:
        OSError: if a file is missing.
        ValueError: if it is no mesh that can be used.
    """
    known = wanted.entry
    mesh, notes = read_mesh(wanted.file, wanted.unit, None if known is None else known.diameter_m)
    words = [f"{wanted.file.name}: {note}" for note in notes]
    words += mesh_notes(mesh)
    if len(mesh.faces) > MOST_TRIANGLES:
        count = len(mesh.faces)
        mesh = thinned(mesh)
        words.append(f"has {count:,} triangles; the bundle gets a copy with {len(mesh.faces):,}, which look the same")
    surface = Surface(mesh)
    model = known or _model(wanted.name, number, mesh)
    model = replace(model, object_id=number, name=wanted.name, mesh=Path(f"{wanted.name}.ply"), mesh_unit="m")
    axes = find_symmetries(surface)
    model = with_symmetry(model, surface, axes, wanted.symmetry)
    said = describe(axes)
    if known is not None and not wanted.symmetry:
        said.append(f"symmetries of models_info.json: {', '.join(describe_model(model))}")
    elif wanted.symmetry != AUTO:
        said.append(f"symmetry as told ({wanted.symmetry}): {', '.join(describe_model(model))}")
    return Added(model, mesh, surface, axes, (*words, *said))


def revised(model: ObjectModel, mesh: Mesh, choice: str) -> Added:
    """Give an object of a bundle other symmetries.

    Raises:
        ValueError: if the choice is none.
    """
    surface = Surface(mesh)
    axes = find_symmetries(surface)
    model = with_symmetry(model, surface, axes, choice)
    said = [*describe(axes), f"symmetry as told ({choice}): {', '.join(describe_model(model))}"]
    return Added(model, mesh, surface, axes, tuple(said))


def with_symmetry(model: ObjectModel, surface: Surface, axes: Sequence[SymmetryAxis], choice: str) -> ObjectModel:
    """Return an object with the symmetries that are found, or told; those that it has where nothing is said."""
    parsed = parse_choice(choice) if choice else None
    if parsed is None:
        return model
    if isinstance(parsed, list):
        return with_chosen(model, surface, parsed)
    return with_symmetries(model, () if parsed == NONE else axes, by_shape=parsed == SHAPE)


def _model(name: str, number: int, mesh: Mesh) -> ObjectModel:
    low, high = (np.asarray(corner, dtype=np.float64) for corner in mesh.bounds)
    return ObjectModel(
        object_id=number,
        name=name,
        diameter_m=diameter(mesh.vertices),
        bounds_m=(tuple(low.tolist()), tuple(high.tolist())),
        mesh=Path(f"{name}.ply"),
    )
