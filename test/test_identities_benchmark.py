"""Which true instance benchmarks/identities.py takes a pose for."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pose_estimation_ros.objects.catalog import Catalog, ObjectModel
from pose_estimation_ros.tracking.tracker import object_symmetries

BRICK = ObjectModel(3, "brick", 0.15, ((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05)), Path("x.ply"))
CATALOG = Catalog((BRICK,))
SYMMETRIES = [object_symmetries(BRICK)]
NEAR, BEHIND = (-0.05, 0.0, 0.85), (-0.05, -0.1, 1.0)  # metres


@pytest.fixture
def identities(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    return importlib.import_module("identities")


def _at(place: tuple[float, float, float], factor: float = 1.0) -> np.ndarray:
    """Return the pose of what is estimated at so many times its distance, on the same ray."""
    pose = np.eye(4)
    pose[:3, 3] = np.array(place) * factor
    return pose


def _owners(identities, *poses: np.ndarray, object_id: int = 3) -> list[int]:
    truths = tuple(SimpleNamespace(object_id=object_id, camera_from_object=_at(place)) for place in (NEAR, BEHIND))
    found = [SimpleNamespace(object_index=0, camera_from_object=pose) for pose in poses]
    return identities.true_instances(found, SimpleNamespace(ground_truth=truths), CATALOG, SYMMETRIES)


def test_poses_are_of_the_instances_that_they_lie_on(identities) -> None:
    assert _owners(identities, _at(BEHIND), _at(NEAR)) == [1, 0]


def test_a_pose_whose_distance_is_a_little_wrong_is_still_of_the_instance_in_the_image(identities) -> None:
    assert _owners(identities, _at(NEAR, 1.06)) == [0]


def test_a_pose_that_is_far_too_far_away_is_false_and_not_of_the_one_behind(identities) -> None:
    pose = _at(NEAR, 1.17)
    assert np.linalg.norm(pose[:3, 3] - BEHIND) < np.linalg.norm(pose[:3, 3] - NEAR)
    assert _owners(identities, pose) == [identities.FALSE]


def test_poses_of_what_is_not_there_and_more_poses_than_instances_are_false(identities) -> None:
    assert _owners(identities, _at(NEAR), object_id=4) == [identities.FALSE]
    assert _owners(identities, _at(NEAR), _at(BEHIND), _at((0.4, 0.0, 0.9))) == [0, 1, identities.FALSE]
