"""Photographs of a wedge and of cubes, a refiner that knows where they are, and a session to label them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.labelling.dataset import LabelledDataset
from pose_estimation_ros.labelling.labeller import Labeller
from pose_estimation_ros.labelling.labels import LabelBook
from pose_estimation_ros.labelling.model_edges import EdgeRenderer
from pose_estimation_ros.labelling.object_views import ObjectViews
from pose_estimation_ros.labelling.photos import Photo, open_photos
from pose_estimation_ros.labelling.session import LabelSession
from pose_estimation_ros.labelling.settings import LabelSettings, RefinementSettings
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.catalog import Catalog, catalog_from_bop
from pose_estimation_ros.objects.mesh import Mesh, load_mesh


class KnowingRefiner:
    """Returns the true pose of an object that is near; what it is given otherwise.

    Args:
        truths: object index and pose (4, 4).
    """

    def __init__(self, truths: Sequence[tuple[int, np.ndarray]]) -> None:
        self.truths = list(truths)

    def refine(
        self,
        frame: Frame,
        detections: list[Detection],
        hypotheses: Sequence[PoseHypothesis],
        stages: int | None = None,
        thorough: bool = True,
    ) -> list[PoseHypothesis]:
        found = []
        for item in hypotheses:
            near = self._near(item)
            pose = item.camera_from_object if near is None or stages == 1 else near
            found.append(replace(item, camera_from_object=pose, similarity=0.1 if near is None else 0.5))
        return found

    def _near(self, item: PoseHypothesis) -> np.ndarray | None:
        own = [pose for index, pose in self.truths if index == item.object_index]
        near = [pose for pose in own if np.linalg.norm(pose[:3, 3] - item.camera_from_object[:3, 3]) < 0.06]
        return near[0] if near else None


@pytest.fixture(scope="session")
def photos(tiny_bop: Path) -> list[Photo]:
    return open_photos(tiny_bop, "test", None)


@pytest.fixture(scope="session")
def catalog(tiny_bop: Path) -> Catalog:
    return catalog_from_bop(tiny_bop / "models")


@pytest.fixture(scope="session")
def meshes(tiny_bop: Path, catalog: Catalog) -> list[Mesh]:
    return [load_mesh(tiny_bop / "models" / model.mesh, "mm") for model in catalog]


@pytest.fixture(scope="session")
def renderer(meshes: list[Mesh]) -> EdgeRenderer:
    return EdgeRenderer(meshes)


@pytest.fixture(scope="session")
def labeller(photos: list[Photo], catalog: Catalog, renderer: EdgeRenderer) -> Labeller:
    truths = [(truth.object_id - 1, truth.camera_from_object) for photo in photos for truth in photo.poses]
    found = [(item.object_id - 1, item.camera_from_object) for item in photos[1].poses]
    settings = LabelSettings(refinement=RefinementSettings(starts=2, kept=1))
    return Labeller(catalog, KnowingRefiner(truths), renderer, lambda frame: found, settings)


@pytest.fixture
def book(tmp_path: Path) -> LabelBook:
    return LabelBook(tmp_path / "labels", {"bundle": "tiny"})


@pytest.fixture
def session(
    photos: list[Photo],
    labeller: Labeller,
    meshes: list[Mesh],
    book: LabelBook,
    catalog: Catalog,
    renderer: EdgeRenderer,
) -> LabelSession:
    """A session whose photographs come without poses."""
    plain = [replace(photo, poses=()) for photo in photos]
    dataset = LabelledDataset(book.path.parent, catalog, meshes, renderer)
    return LabelSession(plain, labeller, ObjectViews(meshes, renderer.caster), book, dataset)
