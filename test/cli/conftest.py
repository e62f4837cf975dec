"""Meshes to add, and a bundle with a network for any object to add them with."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.methods.attention.training import TRIAL
from pose_estimation_ros.methods.registry import find_training
from pose_estimation_ros.objects.bundle_source import BundleSource, MeshSource
from pose_estimation_ros.objects.mesh_writing import write_mesh
from pose_estimation_ros.training.trainer import TrainingRun

from ..objects.solids import box, moved, painted, prism, together


@pytest.fixture(scope="session")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("meshes")
    rotation, shift = np.eye(3), (50.0, 0.0, 10.0)
    cup = painted(together(prism(24, 40.0, 100.0), moved(box(30.0, 12.0, 60.0), rotation, shift)), _stripes, 2)
    write_mesh(folder / "cup.ply", cup)
    write_mesh(folder / "can.ply", painted(prism(24, 30.0, 110.0), _stripes, 2))
    (folder / "cup").mkdir()
    shutil.copyfile(folder / "cup.ply", folder / "cup" / "cup.ply")
    return folder


def _stripes(place: np.ndarray) -> np.ndarray:
    return np.abs(np.sin(place[:, 2:] / 12.0)) * np.array([[0.9, 0.5, 0.2]])


@pytest.fixture(scope="session")
def generic(meshes: Path) -> Path:
    """Return a bundle with a tiny network for any object."""
    path = meshes.parent / "networks"
    bundle = BundleSource(meshes=MeshSource(mesh=(meshes / "can.ply",), unit="mm")).make(path)
    training = find_training("attention")
    training.function()(TrainingRun(bundle, path / "run"), training.recipe_model().model_validate(TRIAL.recipe))
    return path
