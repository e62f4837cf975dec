"""Where the objects of a new bundle come from, and the bundle that is made of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pose_estimation_ros.objects.bundle import Bundle, save_bundle
from pose_estimation_ros.objects.bundle_file import ContinuousSymmetryEntry, PosePrior
from pose_estimation_ros.objects.catalog import Catalog, ContinuousSymmetry, ObjectModel, catalog_from_bop
from pose_estimation_ros.objects.categories import catalog_from_categories, object_name
from pose_estimation_ros.objects.mesh import diameter, load_mesh
from pose_estimation_ros.objects.mesh_files import companion_files

_UNIT = "m"  # of mesh files where nothing is said


class MeshSource(BaseModel):
    """One of three places that meshes come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bop: Path | None = None  # BOP data set whose folder `models` holds the meshes, which are referenced
    mesh: tuple[Path, ...] = ()  # one file for every object, which is copied
    categories: Path | None = None  # folder with one folder of meshes for every category, which are referenced
    unit: Literal["m", "cm", "mm"] | None = None  # of mesh files; those of a BOP data set are in millimetres
    held_out: int = Field(default=0, ge=0)  # the last meshes of every category, left for tests

    @model_validator(mode="after")
    def _is_one(self) -> MeshSource:
        given = [name for name in ("bop", "mesh", "categories") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"{' and '.join(given) or 'nothing'} given: expected one of bop, mesh and categories")
        if self.bop and self.unit:
            raise ValueError("unit is for mesh and categories; the meshes of a BOP data set are in millimetres")
        if self.held_out and not self.categories:
            raise ValueError("held_out is for categories, whose last meshes it leaves out")
        return self

    @property
    def mesh_dir(self) -> Path | None:
        """Where the meshes are that the bundle does not ship."""
        return self.categories or (self.bop / "models" if self.bop else None)

    def below(self, folder: Path) -> MeshSource:
        """Return the source with paths that are relative to a folder."""
        return self.model_copy(
            update={
                "bop": folder / self.bop if self.bop else None,
                "mesh": tuple(folder / path for path in self.mesh),
                "categories": folder / self.categories if self.categories else None,
            }
        )

    def catalog(self, names: dict[int, str] | None = None) -> Catalog:
        """Measure the objects.

        Args:
            names: of objects by their id; of a BOP data set `obj_000001` where absent, else the files' or folders'.

        Raises:
            ValueError: if a mesh cannot be used, or there is no object with such an id.
        """
        names = names or {}
        if self.bop:
            found = catalog_from_bop(self.bop / "models", names)
        elif self.categories:
            found = catalog_from_categories(self.categories, self.unit or _UNIT, self.held_out)
        else:
            unit = self.unit or _UNIT
            found = Catalog(tuple(_measure(path, index, unit) for index, path in enumerate(self.mesh, start=1)))
        for number in names:
            if found.index_of_id(number) is None:
                raise ValueError(f"names: {number}: no object has this id")
        return Catalog(tuple(replace(item, name=names.get(item.object_id, item.name)) for item in found))


class Symmetries(BaseModel):
    """Symmetries of one object, in its frame."""

    model_config = ConfigDict(extra="forbid")

    discrete: list[tuple[float, ...]] = []  # row-major 4x4 transforms, metres, without the identity
    continuous: list[ContinuousSymmetryEntry] = []

    def of(self, model: ObjectModel) -> ObjectModel:
        """Return the object with these symmetries."""
        return replace(
            model,
            discrete_symmetries=tuple(np.asarray(item, dtype=np.float64).reshape(4, 4) for item in self.discrete),
            continuous_symmetries=tuple(ContinuousSymmetry(item.axis, item.offset_m) for item in self.continuous),
        )


class BundleSource(BaseModel):
    """Everything that a bundle is before it has networks."""

    model_config = ConfigDict(extra="forbid")

    meshes: MeshSource
    names: dict[int, str] = {}  # of the objects by id
    symmetries: dict[str, Symmetries] = {}  # by name; of a BOP data set in place of its own
    pose_prior: PosePrior = PosePrior()
    description: str = ""
    licence: str = "Apache-2.0"
    mesh_source: str | None = None  # where a user gets meshes that are not shipped
    settings: dict[str, Any] = {}  # by method or group, in place of the defaults

    def describe(self, path: Path) -> Bundle:
        """Return the bundle of a folder, without networks; nothing is written.

        Raises:
            ValueError: if a mesh cannot be used, or an object is named that is not there.
        """
        catalog = self.meshes.catalog(self.names)
        for name in self.symmetries:
            if catalog.index_of_name(name) is None:
                known = ", ".join(model.name for model in catalog)
                raise ValueError(f"symmetries: {name!r}: no such object (there are {known})")
        return Bundle(
            path=path,
            name=path.resolve().name,
            catalog=Catalog(tuple(self._with_symmetries(item) for item in catalog)),
            networks={},
            pose_prior=self.pose_prior,
            meshes="meshes" if self.meshes.mesh else None,
            mesh_source=_whereabouts(self.meshes) if self.mesh_source is None else self.mesh_source,
            description=self.description,
            licence=self.licence,
            settings=self.settings,
        )

    def _with_symmetries(self, model: ObjectModel) -> ObjectModel:
        return self.symmetries[model.name].of(model) if model.name in self.symmetries else model

    def make(self, path: Path) -> Bundle:
        """Write the bundle, with copies of mesh files, their materials and textures.

        Raises:
            ValueError: as `describe`, or if files of one name would replace each other.
        """
        bundle = self.describe(path)
        for mesh in self.meshes.mesh:
            for file in [mesh, *companion_files(mesh)]:
                _copy(file, mesh.parent, path / "meshes")
        save_bundle(bundle)
        return bundle


def _whereabouts(meshes: MeshSource) -> str:
    if meshes.bop:
        return "Use the models folder of the BOP data set the bundle was made from."
    return "Use the folder of categories the bundle was made from." if meshes.categories else ""


def _measure(path: Path, number: int, unit: str) -> ObjectModel:
    mesh = load_mesh(path, unit)
    low, high = mesh.bounds
    return ObjectModel(
        object_id=number,
        name=object_name(path.stem),
        diameter_m=diameter(mesh.vertices),
        bounds_m=(tuple(low.tolist()), tuple(high.tolist())),
        mesh=Path(path.name),
        mesh_unit=unit,
    )


def _copy(file: Path, source: Path, target: Path) -> None:
    """Copy a file to where it lies below the source folder."""
    if source.resolve() not in file.resolve().parents:
        raise ValueError(f"{file}: expected below {source}, where the mesh is, so that the bundle can hold a copy")
    copy = target / file.resolve().relative_to(source.resolve())
    if copy.resolve() == file.resolve():
        return
    if copy.is_file() and copy.read_bytes() != file.read_bytes():
        raise ValueError(f"{file}: {copy} is another file of the same name; rename one of them")
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, copy)
