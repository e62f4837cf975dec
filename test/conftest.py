"""What tests share: a tiny data set in BOP layout with depth, masks and several instances, and methods to install."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.bop_writer import BopWriter, write_models_info
from pose_estimation_ros.evaluation.silhouettes import Silhouettes
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import Method
from pose_estimation_ros.methods.registry import GROUP, methods
from pose_estimation_ros.networks.precision import chosen_precision
from pose_estimation_ros.objects.catalog import Catalog, ObjectModel


def pytest_configure() -> None:
    """Refuse a wrong POSE_PRECISION before the first test rather than in every one that runs a network."""
    try:
        chosen_precision()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell pytest-xdist which tests stay in one process: those of a file, of a method's networks, and of ROS."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_process_group(item)))


def _process_group(item: pytest.Item) -> str:
    path = item.path.relative_to(Path(__file__).parent)
    trained = getattr(item, "callspec", None) and item.callspec.params.get("case")
    if isinstance(trained, str):
        return f"{path.parent}:{trained}"
    return str(path.parent if path.parent.name == "ros" else path)


TINY_CAMERA = Camera(np.array([[150.0, 0.0, 79.5], [0.0, 150.0, 59.5], [0.0, 0.0, 1.0]]), 160, 120)
CUBE_CORNERS = 0.05 * np.array(list(product((-1.0, 1.0), repeat=3)))
WEDGE_CORNERS = np.array([[-0.06, -0.02, -0.03], [0.06, -0.02, -0.03], [-0.06, 0.03, -0.03], [-0.05, -0.02, 0.04]])


def cube_rotations() -> list[np.ndarray]:
    """Return the 24 rotations of a cube as transforms (4, 4), the identity first."""
    found = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        rotation = np.zeros((3, 3))
        rotation[range(3), order] = signs
        if np.linalg.det(rotation) > 0:
            transform = np.eye(4)
            transform[:3, :3] = rotation
            found.append(transform)
    return sorted(found, key=lambda item: -np.trace(item))


def pose(rotation_vector: tuple[float, float, float], position_m: tuple[float, float, float]) -> np.ndarray:
    """Return camera_from_object (4, 4)."""
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_rotvec(rotation_vector).as_matrix()
    transform[:3, 3] = position_m
    return transform


def _write_ply(path: Path, corners_m: np.ndarray) -> None:
    hull = ConvexHull(corners_m)
    outward = [
        face if np.dot(np.cross(*np.diff(corners_m[face], axis=0)), normal[:3]) > 0 else face[::-1]
        for face, normal in zip(hull.simplices, hull.equations, strict=True)
    ]
    lines = ["ply", "format ascii 1.0", f"element vertex {len(corners_m)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [f"element face {len(outward)}", "property list uchar int vertex_indices", "end_header"]
    lines += [" ".join(f"{value * 1000.0:.6f}" for value in corner) for corner in corners_m]
    lines += ["3 " + " ".join(map(str, face)) for face in outward]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _model(object_id: int, name: str, corners: np.ndarray, symmetries: list[np.ndarray]) -> ObjectModel:
    distances = np.linalg.norm(corners[:, None] - corners[None], axis=2)
    return ObjectModel(
        object_id=object_id,
        name=name,
        diameter_m=float(distances.max()),
        bounds_m=(tuple(corners.min(axis=0)), tuple(corners.max(axis=0))),
        mesh=Path(f"obj_{object_id:06d}.ply"),
        mesh_unit="mm",
        discrete_symmetries=tuple(symmetries),
    )


TINY_SCENES = [
    [(1, pose((0.3, -0.4, 0.1), (-0.12, 0.0, 0.6))), (2, pose((0.5, 0.2, 0.0), (0.05, 0.02, 0.7)))],
    [
        (1, pose((-0.9, 0.4, 1.1), (0.1, 0.05, 0.7))),
        (2, pose((0.1, 1.2, 0.3), (-0.1, -0.05, 0.6))),
        (2, pose((0.7, 0.2, -0.6), (-0.06, 0.06, 0.8))),
    ],
    [(2, pose((0.2, 0.3, 0.2), (0.0, 0.0, 0.5))), (1, pose((0.0, 0.0, 0.4), (0.0, 0.0, 0.9)))],  # 1 is wholly hidden
]


@pytest.fixture(scope="session")
def tiny_bop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a data set of three images: a wedge (object 1) and cubes with 24 symmetries (object 2)."""
    root = tmp_path_factory.mktemp("tiny_bop")
    catalog = Catalog(
        (_model(1, "obj_000001", WEDGE_CORNERS, []), _model(2, "obj_000002", CUBE_CORNERS, cube_rotations()[1:]))
    )
    for folder in ("models", "models_eval"):
        _write_ply(root / folder / "obj_000001.ply", WEDGE_CORNERS)
        _write_ply(root / folder / "obj_000002.ply", CUBE_CORNERS)
        write_models_info(catalog, root / folder)
    silhouettes = Silhouettes(root / "models", catalog)
    with BopWriter(root, scene_id=7) as writer:
        for objects in TINY_SCENES:
            depths = np.stack([silhouettes.depth(*item, TINY_CAMERA) for item in objects])
            depths[depths == 0] = np.inf
            full = np.isfinite(depths)
            visible = full & (depths == depths.min(axis=0))
            depth = np.where(full.any(axis=0), depths.min(axis=0), 1.5)
            rgb = np.full((120, 160, 3), 90, dtype=np.uint8)
            for mask, color in zip(visible, ((200, 40, 40), (40, 200, 40), (40, 40, 200)), strict=False):
                rgb[mask] = color
            writer.add(rgb, TINY_CAMERA, objects, visible, full, depth)
    return root


def write_metadata(site: Path, name: str, entry_points: Mapping[str, str]) -> None:
    """Write what pip leaves beside the modules of a package: its name, and the methods that it registers."""
    metadata = site / f"{name}-0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    lines = [f"{point} = {value}" for point, value in entry_points.items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]) + "\n")


def _forget_methods() -> None:
    """Let the next look find what is installed now."""
    importlib.invalidate_caches()
    methods.cache_clear()


@pytest.fixture
def find_packages_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Return a function that puts a folder of installed packages on the path until the test ends."""
    modules_before, sites = set(sys.modules), set()

    def find(site: Path) -> None:
        if site not in sites:
            monkeypatch.syspath_prepend(site)
        sites.add(site)
        _forget_methods()

    yield find
    monkeypatch.undo()  # the path first, or what is cleared now is found again
    for name in set(sys.modules) - modules_before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and any(site in Path(file).parents for site in sites):
            del sys.modules[name]
    _forget_methods()


@pytest.fixture
def install_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, find_packages_in: Callable[[Path], None]
) -> Callable[..., Path]:
    """Return a function that installs a package with methods until the test ends, as pip would: metadata on sys.path.

    `install_method(method, ...)` puts the methods into a module of their own, `NAME_methods`;
    `install_method(entry_points={"toy": "toy_methods:METHOD"})` names modules that exist, or that the test writes into
    the folder that is returned. `name` is that of the package.
    """

    def install(*found: Method, name: str = "foreign", entry_points: Mapping[str, str] | None = None) -> Path:
        points = dict(entry_points or {})
        if found:
            module = types.ModuleType(f"{name}_methods")
            monkeypatch.setitem(sys.modules, module.__name__, module)
            for method in found:
                setattr(module, method.name.upper(), method)
                points[method.name] = f"{module.__name__}:{method.name.upper()}"
        site = tmp_path / "site"
        write_metadata(site, name, points)
        find_packages_in(site)
        return site

    return install
