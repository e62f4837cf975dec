"""The pose that fits image, box and view costs least; nothing is found where nothing is looked up."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.methods.render_compare import Picture, RenderCompare
from pose_estimation_ros.methods.view_search import Candidates, ViewSearch
from pose_estimation_ros.methods.view_search_settings import ViewSearchSettings
from pose_estimation_ros.methods.view_tables import ViewTables
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.objects.catalog import Catalog

CPU = torch.device("cpu")
PICTURE = Picture(
    torch.full((3, 240, 320), 0.5), torch.tensor([[300.0, 0.0, 159.5], [0.0, 300.0, 119.5], [0.0, 0.0, 1.0]])
)
SETTINGS = ViewSearchSettings(directions=12, roll_step_deg=180.0, candidates=4)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    shipped = load_bundle("demo")
    return replace(shipped, catalog=Catalog((shipped.catalog[0], shipped.catalog[1])))


@pytest.fixture(scope="module")
def comparison(bundle: Bundle) -> RenderCompare:
    return RenderCompare.load(bundle, "attention", CPU)


def at(comparison: RenderCompare, x: float) -> torch.Tensor:
    """Return a pose (1, 4, 4) of the first object, so far to the right."""
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([x, 0.0, 0.6]) - comparison.centre[0]
    return pose[None]


def test_boxes_views_and_comparisons_cost(comparison: RenderCompare) -> None:
    search = ViewSearch(comparison, None, SETTINGS)
    poses = torch.cat([at(comparison, 0.0), at(comparison, 0.2), at(comparison, 0.0), at(comparison, 0.0)])
    seen = comparison.outline[0] @ poses[0, :3, :3].T + poses[0, :3, 3]
    pixels = seen @ PICTURE.intrinsics.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    box = torch.cat([pixels.amin(dim=0), pixels.amax(dim=0)]).numpy()
    fits = torch.tensor([[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    deficit = torch.tensor([0.0, 0.0, 0.25, 0.0])
    broken = torch.tensor([False, False, False, True])
    cost = search.cost(PICTURE, Detection(0, 1.0, box), fits, poses, broken, deficit)
    assert cost.tolist() == pytest.approx(
        [1.5, 1.5 + SETTINGS.box_weight, 1.5 + 0.25 * SETTINGS.view_weight, math.inf], abs=1e-4
    )


def test_poses_that_no_view_speaks_for_come_behind_the_best_view(comparison: RenderCompare) -> None:
    views = Candidates(torch.tensor([0.8, 0.5]), torch.eye(4).repeat(2, 1, 1))
    joined = views.joined(at(comparison, 0.0))
    assert joined.deficit.tolist() == pytest.approx([0.0, 0.3, 0.03])
    alone = Candidates(views.similarity[:0], views.poses[:0]).joined(at(comparison, 0.0))
    assert alone.deficit.tolist() == [0.0]


def test_without_tables_only_what_is_given_is_compared(comparison: RenderCompare) -> None:
    search = ViewSearch(comparison, None, SETTINGS)
    box = Detection(0, 1.0, np.array([100.0, 60.0, 220.0, 180.0]))
    (nothing,) = search.candidates(PICTURE, [box])
    assert not len(nothing.poses)
    shortlist = search.shortlist(PICTURE, box, nothing.joined(at(comparison, 0.0)))
    assert shortlist.comparisons == 2
    found = search.best(PICTURE, box, shortlist, 2, 1, 0.0)
    assert found is not None and found.comparisons == 4
    behind = at(comparison, 0.0)
    behind[0, 2, 3] = -0.6
    assert search.best(PICTURE, box, search.shortlist(PICTURE, box, nothing.joined(behind)), 2, 1, 0.0) is None


def test_tables_are_made_when_they_are_asked_for(bundle: Bundle, comparison: RenderCompare) -> None:
    rendered: list[int] = []

    def encode(images: torch.Tensor) -> torch.Tensor:
        rendered.append(len(images))
        return images[:, :, ::8, ::8]

    tables = ViewTables(comparison, bundle.catalog, bundle.pose_prior, SETTINGS, encode, SETTINGS.channels)
    assert len(tables) == 2 and rendered == [1]  # to know their size
    first = tables[0]
    made = len(rendered)
    assert made > 1 and tables[0] is first and len(rendered) == made
    tables.make()
    assert len(rendered) > made
    with pytest.raises(ValueError, match=r"max_table_mb = 0\.0001: \d+ views take .* MB"):
        small = SETTINGS.model_copy(update={"max_table_mb": 1e-4, "channels": 3})
        ViewTables(comparison, bundle.catalog, bundle.pose_prior, small, encode, small.channels)
