"""The known objects: names, sizes, symmetries and where their meshes are."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pose_estimation_ros.objects.array_equality import ArrayEquality

UNITS_M = {"m": 1.0, "cm": 0.01, "mm": 0.001}
LARGEST_DIAMETER_M = 5.0


@dataclass(frozen=True)
class ContinuousSymmetry:
    """Rotations by any angle about an axis."""

    axis: tuple[float, float, float]  # unit vector, object frame
    offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0)  # a point on the axis


@dataclass(frozen=True, eq=False)
class ObjectFrame(ArrayEquality):
    """A place on an object that matters, such as where it is grasped.

    Raises:
        ValueError: if the transform is not rigid or leads far away.
    """

    name: str  # unique among the frames of one object
    object_from_frame: np.ndarray  # (4, 4), metres

    def __post_init__(self) -> None:
        rotation, translation = self.object_from_frame[:3, :3], self.object_from_frame[:3, 3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-6 or np.linalg.det(rotation) < 0.0:
            raise ValueError(f"frame {self.name}: object_from_frame is not a rigid 4x4 transform")
        if not np.linalg.norm(translation) < LARGEST_DIAMETER_M:
            raise ValueError(
                f"frame {self.name}: translation_m = {translation.tolist()}: expected metres within "
                f"{LARGEST_DIAMETER_M:g} of the object's origin"
            )


@dataclass(frozen=True, eq=False)
class ObjectModel(ArrayEquality):
    """One known object.

    Raises:
        ValueError: if the diameter is not a plausible length in metres or a symmetry is not rigid.
    """

    object_id: int
    name: str
    diameter_m: float  # largest distance between two vertices
    bounds_m: tuple[tuple[float, float, float], tuple[float, float, float]]  # box corners, minimum and maximum
    mesh: Path  # absolute, or relative to mesh_dir
    mesh_unit: str = "m"
    discrete_symmetries: tuple[np.ndarray, ...] = field(default=())  # (4, 4) each, metres, without identity
    continuous_symmetries: tuple[ContinuousSymmetry, ...] = ()
    instances: tuple[Path, ...] = ()  # of a category: further meshes, in the frame and the unit of `mesh`
    frames: tuple[ObjectFrame, ...] = ()  # published with the object's own

    def __post_init__(self) -> None:
        where = f"object {self.object_id} ({self.name})"
        if not 0.0 < self.diameter_m < LARGEST_DIAMETER_M:
            raise ValueError(
                f"{where}: diameter_m = {self.diameter_m:g}: expected metres between 0 and {LARGEST_DIAMETER_M:g}"
            )
        if self.mesh_unit not in UNITS_M:
            raise ValueError(f"{where}: mesh_unit = {self.mesh_unit!r}: expected one of {', '.join(UNITS_M)}")
        for matrix in self.discrete_symmetries:
            rotation = matrix[:3, :3]
            if (
                matrix.shape != (4, 4)
                or np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3
                or np.linalg.det(rotation) < 0.0
            ):
                raise ValueError(f"{where}: discrete symmetry is not a rigid 4x4 transform; mirror images are none")
        diagonal = float(np.linalg.norm(np.asarray(self.bounds_m[1]) - np.asarray(self.bounds_m[0])))
        if not self.diameter_m / 3.0 < diagonal < self.diameter_m * 3.0:  # exactly: between one and sqrt(3) diameters
            raise ValueError(
                f"{where}: bounds_m span {diagonal:.4g} m, diameter_m = {self.diameter_m:g}: expected both in metres"
            )

    @property
    def is_symmetric(self) -> bool:
        """Tell whether more than one pose looks the same."""
        return bool(self.discrete_symmetries or self.continuous_symmetries)

    @property
    def centre_m(self) -> np.ndarray:
        """Centre of the box (3,) in the object frame, metres."""
        return np.mean(np.asarray(self.bounds_m), axis=0)

    @property
    def half_size_m(self) -> np.ndarray:
        """Half edge lengths of the box (3,), metres."""
        return (np.asarray(self.bounds_m[1]) - np.asarray(self.bounds_m[0])) / 2.0


@dataclass(frozen=True)
class Catalog:
    """The objects of a bundle, in the order in which the networks know them.

    Raises:
        ValueError: if two objects share a name or an id, or there is none.
    """

    objects: tuple[ObjectModel, ...]

    def __post_init__(self) -> None:
        if not self.objects:
            raise ValueError("Catalog: no objects")
        for attribute in ("name", "object_id"):
            values = [getattr(model, attribute) for model in self.objects]
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"Catalog: {attribute} {twice[0]!r} is used more than once")

    def __len__(self) -> int:
        return len(self.objects)

    def __iter__(self) -> Iterator[ObjectModel]:
        return iter(self.objects)

    def __getitem__(self, index: int) -> ObjectModel:
        return self.objects[index]

    def require_single_meshes(self, what: str) -> None:
        """Refuse categories, for what needs to know each object's shape.

        Raises:
            ValueError: naming what, and the first category.
        """
        for model in self.objects:
            if model.instances:
                raise ValueError(
                    f"{what}: {model.name} is a category of {1 + len(model.instances)} meshes; expected one mesh"
                )

    def index_of_id(self, object_id: int) -> int | None:
        """Return the position of a BOP object id, None where it is unknown."""
        for index, model in enumerate(self.objects):
            if model.object_id == object_id:
                return index
        return None

    def indices_of(self, names: Collection[str]) -> frozenset[int] | None:
        """Return the positions of the objects with these names, None, for all of them, of no names.

        Raises:
            ValueError: if a name is unknown; the message lists the known ones.
        """
        return frozenset(self.require_index(name) for name in names) or None

    def require_index(self, name: str) -> int:
        """Return the position of a name.

        Raises:
            ValueError: if it is unknown; the message lists the known ones.
        """
        index = self.index_of_name(name)
        if index is None:
            known = ", ".join(model.name for model in self.objects)
            raise ValueError(f"objects: no object {name!r}; expected names of {known}")
        return index

    def index_of_name(self, name: str) -> int | None:
        """Return the position of a name, None where it is unknown."""
        for index, model in enumerate(self.objects):
            if model.name == name:
                return index
        return None


def catalog_from_bop(models_dir: Path, names: dict[int, str] | None = None) -> Catalog:
    """Read the objects of a BOP models folder.

    Args:
        models_dir: folder with models_info.json and obj_000001.ply files, millimetres.
        names: object names by id; `obj_000001` where absent.

    Raises:
        FileNotFoundError: if models_info.json is missing.
    """
    info_path = Path(models_dir) / "models_info.json"
    if not info_path.is_file():
        raise FileNotFoundError(f"{info_path}: not found; expected a BOP models folder")
    info = json.loads(info_path.read_text())
    return Catalog(
        tuple(
            _object_from_bop(int(key), entry, names or {})
            for key, entry in sorted(info.items(), key=lambda i: int(i[0]))
        )
    )


def _object_from_bop(object_id: int, entry: dict, names: dict[int, str]) -> ObjectModel:
    low = np.array([entry["min_x"], entry["min_y"], entry["min_z"]]) / 1000.0
    size = np.array([entry["size_x"], entry["size_y"], entry["size_z"]]) / 1000.0
    discrete = []
    for values in entry.get("symmetries_discrete", []):
        matrix = np.asarray(values, dtype=np.float64).reshape(4, 4)
        matrix[:3, 3] /= 1000.0
        discrete.append(matrix)
    continuous = tuple(
        ContinuousSymmetry(tuple(item["axis"]), tuple(np.asarray(item["offset"], dtype=float) / 1000.0))
        for item in entry.get("symmetries_continuous", [])
    )
    return ObjectModel(
        object_id=object_id,
        name=names.get(object_id, f"obj_{object_id:06d}"),
        diameter_m=entry["diameter"] / 1000.0,
        bounds_m=(tuple(low), tuple(low + size)),
        mesh=Path(f"obj_{object_id:06d}.ply"),
        mesh_unit="mm",
        discrete_symmetries=tuple(discrete),
        continuous_symmetries=continuous,
    )
