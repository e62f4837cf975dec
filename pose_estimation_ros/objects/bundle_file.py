"""What bundle.yaml may say: its fields, their limits, and the objects they describe."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from pose_estimation_ros.objects.catalog import ContinuousSymmetry, ObjectFrame, ObjectModel
from pose_estimation_ros.objects.limits import (
    MAX_ARCHITECTURE,
    MAX_FRAMES,
    MAX_INPUT_SIZE_PX,
    MAX_INSTANCES,
    MAX_OBJECTS,
    MAX_SYMMETRIES,
    require_inside,
)
from pose_estimation_ros.objects.score_entry import ScoreEntry

_Inside = Annotated[str, AfterValidator(require_inside)]  # a path below the folder that it is relative to


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ContinuousSymmetryEntry(_Strict):
    """Continuous symmetry as written in bundle.yaml."""

    axis: tuple[float, float, float]
    offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0)


class FrameEntry(_Strict):
    """Where a frame is on its object, as written in bundle.yaml: one rotation or none."""

    translation_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    quaternion_xyzw: tuple[float, float, float, float] | None = None
    rpy_deg: tuple[float, float, float] | None = None  # roll, pitch, yaw about fixed axes, as in URDF but in degrees

    @field_validator("quaternion_xyzw")
    @classmethod
    def _is_unit(cls, quaternion: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if quaternion is not None and abs(np.linalg.norm(quaternion) - 1.0) > 0.01:
            raise ValueError("expected a unit quaternion x, y, z, w")
        return quaternion

    @model_validator(mode="after")
    def _has_one_rotation(self) -> FrameEntry:
        if self.quaternion_xyzw is not None and self.rpy_deg is not None:
            raise ValueError("expected quaternion_xyzw or rpy_deg, not both")
        return self

    def matrix(self) -> np.ndarray:
        """Return object_from_frame (4, 4), metres."""
        from scipy.spatial.transform import Rotation  # a bundle without frames is read sooner

        transform = np.eye(4)
        transform[:3, 3] = self.translation_m
        if self.quaternion_xyzw is not None:
            transform[:3, :3] = Rotation.from_quat(self.quaternion_xyzw).as_matrix()
        elif self.rpy_deg is not None:
            transform[:3, :3] = Rotation.from_euler("xyz", self.rpy_deg, degrees=True).as_matrix()
        return transform


def readable_frame(object_from_frame: np.ndarray) -> FrameEntry:
    """Return a frame (4, 4), metres, in numbers that a person reads: whole micrometres, ten-thousandths of a degree."""
    from scipy.spatial.transform import Rotation

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gimbal lock")  # one of the equal triples is as good as another
        angles = Rotation.from_matrix(object_from_frame[:3, :3]).as_euler("xyz", degrees=True)
    x, y, z = (round(value, 6) + 0.0 for value in object_from_frame[:3, 3].tolist())  # no -0.0
    roll, pitch, yaw = (round(value, 4) + 0.0 for value in angles.tolist())
    return FrameEntry(translation_m=(x, y, z), rpy_deg=(roll, pitch, yaw))


FrameName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=200)]


def require_frame_name(name: str) -> str:
    """Return a name, if frames of objects may have it.

    Raises:
        ValueError: if not.
    """
    try:
        return TypeAdapter(FrameName).validate_python(name)
    except ValidationError as error:
        raise ValueError(
            f"frame {name!r}: expected a name of letters, digits and underscores that begins with a letter"
        ) from error


class ObjectEntry(_Strict):
    """One object as written in bundle.yaml."""

    id: int
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=200)
    mesh: _Inside
    mesh_unit: Literal["m", "cm", "mm"] = "m"
    diameter_m: float
    bounds_m: tuple[tuple[float, float, float], tuple[float, float, float]]
    discrete_symmetries: list[tuple[float, ...]] = Field(default=[], max_length=MAX_SYMMETRIES)
    continuous_symmetries: list[ContinuousSymmetryEntry] = Field(default=[], max_length=MAX_SYMMETRIES)
    # Of a category: further meshes, in the frame and the unit of `mesh`.
    instances: list[_Inside] = Field(default=[], max_length=MAX_INSTANCES)
    # Places on the object that matter, published as children of its frame.
    frames: dict[FrameName, FrameEntry] = Field(default={}, max_length=MAX_FRAMES)


class PosePrior(_Strict):
    """What the user knows of the scene: where the camera is, seen from an upright object.

    Angles in degrees, as users write them; `other` is the share of training views drawn from all orientations.
    """

    elevation_deg: tuple[float, float] = (-90.0, 90.0)
    roll_deg: tuple[float, float] = (-180.0, 180.0)
    distance_m: tuple[float, float] = (0.35, 1.5)
    other: float = Field(default=0.1, ge=0.0, le=1.0)

    @field_validator("elevation_deg", "roll_deg", "distance_m")
    @classmethod
    def _ascends(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not limits[0] <= limits[1]:
            raise ValueError("expected the lower limit first")
        return limits

    @field_validator("elevation_deg")
    @classmethod
    def _is_on_the_sphere(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if limits[0] < -90.0 or limits[1] > 90.0:
            raise ValueError("expected degrees between -90 and 90")
        return limits

    @field_validator("distance_m")
    @classmethod
    def _is_ahead(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not limits[0] > 0.0:
            raise ValueError("expected positive metres")
        return limits


class NetworkEntry(_Strict):
    """One network of the bundle: where its weights are and how they came about."""

    file: _Inside
    sha256: str
    architecture: dict[str, Any] = {}  # keyword arguments of the network's constructor
    input_size: int = Field(gt=0, le=MAX_INPUT_SIZE_PX)
    training: dict[str, Any] = {}  # recipe, seed, samples seen
    metrics: dict[str, Any] = {}  # measured numbers with the command that made them
    licence: str = "Apache-2.0"

    @field_validator("architecture")
    @classmethod
    def _is_of_moderate_size(cls, architecture: dict[str, Any]) -> dict[str, Any]:
        _refuse_large_numbers(architecture)
        return architecture


def _refuse_large_numbers(value: Any) -> None:
    """Refuse numbers, anywhere in lists and mappings, that would make a network without end."""
    if isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            _refuse_large_numbers(item)
    elif isinstance(value, (int, float)) and not abs(value) <= MAX_ARCHITECTURE:
        raise ValueError(f"{value!r}: expected numbers of at most {MAX_ARCHITECTURE}")


class BundleFile(_Strict):
    """bundle.yaml as a whole."""

    name: str
    description: str = ""
    licence: str = "Apache-2.0"
    meshes: _Inside | None = "meshes"  # folder inside the bundle; null where meshes are not shipped
    mesh_source: str = ""  # where a user gets meshes that are not shipped
    pose_prior: PosePrior = PosePrior()
    objects: list[ObjectEntry] = Field(max_length=MAX_OBJECTS)
    networks: dict[str, NetworkEntry] = {}
    settings: dict[str, Any] = {}  # by method or group, in place of the defaults: {pix2pose: {inlier_error: 0.3}}
    scores: list[
        ScoreEntry
    ] = []  # of pairs of backend and refiner, what makes a probability of what is known of a pose


def object_from_entry(entry: ObjectEntry) -> ObjectModel:
    """Return the object that an entry describes.

    Raises:
        ValueError: if the entry contradicts itself.
    """
    return ObjectModel(
        object_id=entry.id,
        name=entry.name,
        diameter_m=entry.diameter_m,
        bounds_m=entry.bounds_m,
        mesh=Path(entry.mesh),
        mesh_unit=entry.mesh_unit,
        discrete_symmetries=tuple(
            np.asarray(values, dtype=np.float64).reshape(4, 4) for values in entry.discrete_symmetries
        ),
        continuous_symmetries=tuple(
            ContinuousSymmetry(item.axis, item.offset_m) for item in entry.continuous_symmetries
        ),
        instances=tuple(Path(name) for name in entry.instances),
        frames=tuple(ObjectFrame(name, frame.matrix()) for name, frame in entry.frames.items()),
    )


def entry_from_object(model: ObjectModel) -> ObjectEntry:
    """Return the entry that describes an object."""
    return ObjectEntry(
        id=model.object_id,
        name=model.name,
        mesh=str(model.mesh),
        mesh_unit=model.mesh_unit,  # type: ignore[arg-type]
        diameter_m=float(model.diameter_m),
        bounds_m=tuple(tuple(float(value) for value in corner) for corner in model.bounds_m),  # type: ignore[arg-type]
        discrete_symmetries=[
            tuple(float(value) for value in matrix.reshape(-1)) for matrix in model.discrete_symmetries
        ],
        continuous_symmetries=[
            ContinuousSymmetryEntry(axis=item.axis, offset_m=item.offset_m) for item in model.continuous_symmetries
        ],
        instances=[str(path) for path in model.instances],
        frames={item.name: _frame_entry(item.object_from_frame) for item in model.frames},
    )


def _frame_entry(object_from_frame: np.ndarray) -> FrameEntry:
    from scipy.spatial.transform import Rotation

    quaternion = Rotation.from_matrix(object_from_frame[:3, :3]).as_quat(canonical=True)
    return FrameEntry(
        translation_m=tuple(object_from_frame[:3, 3].tolist()),
        quaternion_xyzw=tuple(quaternion.tolist()),
    )
