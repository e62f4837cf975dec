"""What the tests of agreement share: the public toolkits, and poses of made-up and real objects for both sides."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.evaluation.localisation import object_points
from pose_estimation_ros.evaluation.metrics import ObjectPoints
from pose_estimation_ros.evaluation.silhouettes import Silhouettes
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.catalog import catalog_from_bop

LMO = Path(os.environ.get("LMO_DIR", Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "lmo"))
MM = 1000.0  # bop_toolkit measures in millimetres
TOLERANCE = 1e-6  # millimetres, pixels, degrees, and shares: the units of bop_toolkit
HOW_TO = "see 'Agreement with bop_toolkit' in docs/evaluation.md"
_CAMERA = Camera(np.array([[530.0, 0.0, 310.5], [0.0, 545.0, 251.25], [0.0, 0.0, 1.0]]), 640, 480)

# What models_info.json says of the symmetries of made-up objects; millimetres.
_SYMMETRIES: dict[int, dict[str, Any]] = {
    1: {},
    2: {  # two half turns and their product, beside the origin
        "symmetries_discrete": [
            [-1, 0, 0, 4, 0, -1, 0, -6, 0, 0, 1, 0, 0, 0, 0, 1],
            [1, 0, 0, 0, 0, -1, 0, -6, 0, 0, -1, 10, 0, 0, 0, 1],
            [-1, 0, 0, 4, 0, 1, 0, 0, 0, 0, -1, 10, 0, 0, 0, 1],
        ]
    },
    3: {"symmetries_continuous": [{"axis": [0.36, -0.48, 0.8], "offset": [3, -5, 7]}]},
    4: {
        "symmetries_discrete": [[1, 0, 0, 0, 0, -1, 0, 2, 0, 0, -1, 8, 0, 0, 0, 1]],
        "symmetries_continuous": [{"axis": [0, 0, 1], "offset": [0, 1, 0]}],
    },
    5: {"symmetries_continuous": [{"axis": [0, 0, 2], "offset": [0, 0, 0]}, {"axis": [1, 0, 0], "offset": [0, 0, 0]}]},
}


@dataclass(frozen=True)
class Pair:
    """An estimated and a true pose of one object, and what is known of the object to us and to bop_toolkit."""

    object_id: int
    model: ObjectPoints  # as this package reads it, metres
    vertices_mm: np.ndarray  # (N, 3), as bop_toolkit reads them
    symmetries_mm: list[dict[str, np.ndarray]]  # as bop_toolkit makes them
    estimate: np.ndarray  # camera_from_object (4, 4), metres
    truth: np.ndarray
    camera: Camera

    @property
    def poses_mm(self) -> tuple[np.ndarray, ...]:
        """The arguments R_est, t_est, R_gt, t_gt of bop_toolkit's errors."""
        return (
            self.estimate[:3, :3],
            self.estimate[:3, 3:] * MM,
            self.truth[:3, :3],
            self.truth[:3, 3:] * MM,
        )


@dataclass(frozen=True)
class Compared:
    """Objects and poses, read by both sides from the same files."""

    models_dir: Path
    info: dict[int, dict[str, Any]]  # models_info.json as bop_toolkit reads it
    models: dict[int, ObjectPoints]  # by object id
    pairs: tuple[Pair, ...]

    @property
    def silhouettes(self) -> Silhouettes:
        """Renders the objects."""
        return Silhouettes(self.models_dir, catalog_from_bop(self.models_dir))


@pytest.fixture(scope="session")
def bop() -> SimpleNamespace:
    """Import the modules of bop_toolkit, or skip."""
    names = ("inout", "misc", "pose_error", "dataset_params", "rendering.renderer")
    try:
        modules = {name.rpartition(".")[2]: import_module(f"bop_toolkit_lib.{name}") for name in names}
    except ModuleNotFoundError as error:
        pytest.skip(
            f"bop_toolkit cannot be imported (no module {error.name}): clone github.com/thodan/bop_toolkit, put the "
            f"clone on PYTHONPATH, pip install imageio pypng; {HOW_TO}"
        )
    return SimpleNamespace(**modules)


@pytest.fixture(scope="session")
def lmo() -> Path:
    """Return the folder of the real images, or skip."""
    if not LMO.is_dir():
        pytest.skip(f"Occlusion-LineMOD not at {LMO}; set LMO_DIR")
    return LMO


@pytest.fixture(scope="session", params=["made up", "Occlusion-LineMOD"])
def compared(request: pytest.FixtureRequest, bop: SimpleNamespace) -> Compared:
    """Objects with every kind of symmetry in random poses, or all that the real images show; estimates near them."""
    rng = np.random.default_rng(7)
    if request.param == "made up":
        models_dir = _write_models(bop, request.getfixturevalue("tmp_path_factory").mktemp("models"), rng)
        posed = [(object_id, _random_pose(rng), _CAMERA) for object_id in _SYMMETRIES for _ in range(12)]
    else:
        dataset = BopDataset(request.getfixturevalue("lmo"))
        models_dir = dataset.models_dir
        posed = [
            (truth.object_id, truth.camera_from_object, image.camera)
            for image in dataset.images
            for truth in image.ground_truth
        ]
    info = bop.inout.load_json(models_dir / "models_info.json", keys_to_int=True)
    models = object_points(models_dir, catalog_from_bop(models_dir), {item[0] for item in posed})
    vertices = {key: bop.inout.load_ply(models_dir / f"obj_{key:06d}.ply")["pts"] for key in models}
    symmetries = {key: bop.misc.get_symmetry_transformations(info[key], 0.01) for key in models}
    pairs = [
        Pair(key, models[key], vertices[key], symmetries[key], estimate, truth, camera)
        for key, truth, camera in posed
        for estimate in _estimates(rng, truth, unrelated=request.param == "made up")
    ]
    return Compared(models_dir, info, models, tuple(pairs))


def near(rng: np.random.Generator, truth: np.ndarray, least: float = 1e-4, most: float = 0.3) -> np.ndarray:
    """Return a pose (4, 4) that is wrong by about `least` to `most` times 10 cm and 3 radians, on a log scale."""
    size = np.exp(rng.uniform(np.log(least), np.log(most)))
    estimate = truth.copy()
    estimate[:3, :3] = truth[:3, :3] @ Rotation.from_rotvec(rng.normal(size=3) * size * 3.0).as_matrix()
    estimate[:3, 3] += rng.normal(size=3) * size * 0.1
    return estimate


def _estimates(rng: np.random.Generator, truth: np.ndarray, unrelated: bool) -> Iterator[np.ndarray]:
    yield near(rng, truth)
    if unrelated:
        yield _random_pose(rng)


def _random_pose(rng: np.random.Generator) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=rng).as_matrix()
    pose[:3, 3] = rng.uniform([-0.2, -0.15, 0.4], [0.2, 0.15, 1.5])
    return pose


def _write_models(bop: SimpleNamespace, folder: Path, rng: np.random.Generator) -> Path:
    """Write convex objects of about ten centimetres with bop_toolkit's own writer."""
    content = {}
    for key, symmetries in _SYMMETRIES.items():
        points = rng.normal(size=(60, 3)) * [30.0, 20.0, 40.0]
        bop.inout.save_ply(folder / f"obj_{key:06d}.ply", {"pts": points, "faces": ConvexHull(points).simplices})
        low, high = points.min(axis=0), points.max(axis=0)
        sizes = {f"min_{axis}": low[index] for index, axis in enumerate("xyz")}
        sizes |= {f"size_{axis}": (high - low)[index] for index, axis in enumerate("xyz")}
        content[key] = {"diameter": bop.misc.calc_pts_diameter2(points), **sizes, **symmetries}
    bop.inout.save_json(folder / "models_info.json", content)
    return folder
