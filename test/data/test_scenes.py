"""Training scenes: what is labelled is what is painted, and every part does what it says."""

from __future__ import annotations

import math

import pytest
import torch

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.layers import picture_window
from pose_estimation_ros.data.scene_layout import Table, TableLayouts
from pose_estimation_ros.data.scene_painting import Shadow, lay_table, paint_view
from pose_estimation_ros.data.scenes import SceneConfig, SceneSource
from pose_estimation_ros.data.view_bank import ViewBank

SMALL = {"width": 160, "height": 128, "focal_px": (150.0, 180.0), "distance_m": (0.3, 0.6)}
EVERYTHING = {"tables": 0.5, "shadows": 0.8, "printed": 0.5, "motion_blur": 0.5, "demosaic": 0.5, "jpeg": 0.5}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("more", [{"crowded": 1.0}, {"tables": 1.0, "shadows": 0.5}, EVERYTHING])
def test_targets_fit_the_painted_objects(bank: ViewBank, more: dict) -> None:
    config = SceneConfig(**SMALL, **more)
    batch = SceneSource(bank, background_pool(8, 64), config, seed=1).batch(6)
    found = 0
    for target in batch.targets:
        total = torch.zeros(128, 160, dtype=torch.int64)
        for box, label, mask in zip(target["boxes"], target["labels"], target["masks"], strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            x0, y0, x1, y1 = box.tolist()
            assert label == 1
            assert x0 <= columns.min() and columns.max() < x1 and y0 <= rows.min() and rows.max() < y1
            total += mask
            found += 1
        assert total.max() <= 1  # a pixel belongs to one object
    assert found >= 12


def test_foreign_shapes_count_where_there_is_one_class(bank: ViewBank) -> None:
    """The same scenes, with more in them that is labelled; without known objects all of it is foreign."""
    pool, few = background_pool(8, 64), {"objects": (1, 2), "clutter": (6, 6)}
    known, all_things, foreign = (
        SceneSource(bank, pool, SceneConfig(**SMALL, **more), seed=1).batch(4)
        for more in (few, {**few, "classes": "one"}, {"objects": (0, 0), "clutter": (6, 6), "classes": "one"})
    )
    assert torch.equal(known.images, all_things.images)
    for first, second in zip(known.targets, all_things.targets, strict=True):
        assert len(second["boxes"]) > len(first["boxes"])
        assert all((second["boxes"] == box).all(dim=1).any() for box in first["boxes"])
    assert all((target["labels"] == 1).all() and len(target["labels"]) > 0 for target in foreign.targets)


def test_scenes_are_reproducible(bank: ViewBank) -> None:
    pool = background_pool(4, 64)
    config = SceneConfig(width=96, height=64, **EVERYTHING)
    one = SceneSource(bank, pool, config, seed=9).batch(2)
    two = SceneSource(bank, pool, config, seed=9).batch(2)
    assert torch.equal(one.images, two.images)
    assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(one.targets, two.targets, strict=True))


def test_things_on_a_table_are_seen_from_where_the_camera_is(bank: ViewBank) -> None:
    layouts = TableLayouts(bank)
    view = torch.arange(20)
    spread = []
    for degrees in (20.0, 60.0):
        angle = math.radians(degrees)
        layout = layouts.place(view, 400.0, (640, 480), (0.8, 0.8), (0.0, 0.0), (angle, angle), generator())
        assert (bank.object_index[layout.view] == bank.object_index[view]).all()
        seen = layouts.elevation[layout.view]
        assert abs(float(seen.median()) - angle) < math.radians(12.0)
        spread.append(float(layout.centre[:, 1].std() / layout.centre[:, 0].std()))
        # Without a roll of the camera things stand upright, up to perspective at the sides.
        assert float(layout.roll.abs().median()) < math.radians(20.0)
        near_the_bottom = layout.centre[:, 1] > layout.centre[:, 1].median()
        assert layout.distance[near_the_bottom].mean() < layout.distance[~near_the_bottom].mean()
    assert spread[0] < spread[1]  # a table seen from the side is flat


def test_things_stand_on_the_plane_of_the_table(bank: ViewBank) -> None:
    distance, elevation = 0.8, 0.7
    view = torch.arange(24)
    layout = TableLayouts(bank).place(
        view, 400.0, (640, 480), (distance, distance), (-20.0, 20.0), (elevation, elevation), generator(3)
    )
    assert layout.table is not None
    image_from_ground = torch.linalg.inv(layout.table.ground_from_image)
    hit = torch.cat([layout.centre, torch.ones(24, 1)], dim=1) @ layout.table.ground_from_image.T
    # The ray through the middle of a thing meets the plane behind it; the further, the higher the middle is.
    depth = (hit / hit[:, 2:] @ image_from_ground.T)[:, 2]
    camera_height = distance * math.sin(elevation)
    height = camera_height * (1.0 - layout.distance / depth)
    outline = bank.outline[bank.mesh_index[view]][..., 2]
    standing = (outline.amax(dim=1) - outline.amin(dim=1)) / 2.0
    torch.testing.assert_close(height.median(), standing.median(), atol=1e-3, rtol=0.0)
    assert (height > standing - 1e-3).all() and (height < standing + 0.121).all()  # some lie on others


def test_a_shadow_darkens_what_is_around_and_not_the_object() -> None:
    patch = torch.zeros(4, 32, 32)
    patch[:, 8:24, 8:24] = torch.tensor([0.5, 0.5, 0.5, 1.0])[:, None, None]
    bright, dark = torch.ones(3, 64, 64), torch.ones(3, 64, 64)
    centre = torch.tensor([32.0, 32.0])
    painted = paint_view(bright, patch, centre, 32, Shadow(0.0, (0.0, 0.0), 0.1))
    paint_view(dark, patch, centre, 32, Shadow(0.8, (0.0, 0.2), 0.1))
    assert painted is not None
    assert painted.box.tolist() == [23.5, 23.5, 39.5, 39.5]
    solid = torch.zeros(64, 64, dtype=torch.bool)
    solid[painted.rows, painted.columns] = painted.coverage > 0.5
    assert torch.equal(bright[:, solid], dark[:, solid])
    assert (dark[:, 41:44, 28:36] < 0.6).all() and (dark[:, 2:8, 28:36] == 1.0).all()


def test_a_table_covers_the_plane_and_nothing_above_the_horizon() -> None:
    # A camera without roll, 0.5 m above the plane, that looks at the horizon: its lower half sees the ground.
    image_from_ground = torch.tensor([[100.0, 32.0, 0.0], [0.0, 24.0, 50.0], [0.0, 1.0, 0.0]])
    table = Table(
        torch.linalg.inv(image_from_ground), torch.tensor([0.5, 1.0]), torch.zeros(1), torch.tensor([0.0, 4.0])
    )
    image, picture = torch.zeros(3, 48, 64), torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)
    lay_table(image, table, picture, generator())
    assert (image[:, :25] == 0.0).all()  # the sky
    pixels = image_from_ground @ torch.tensor([[0.0, 0.0, 0.4, 0.6], [3.2, 4.8, 4.0, 4.0], [1.0, 1.0, 1.0, 1.0]])
    column, row = (pixels[:2] / pixels[2]).round().long()
    bright = image[:, row, column] > 0.3
    assert bright.all(dim=0).tolist() == [True, True, True, False]  # two metres long, one metre wide


def test_prints_are_parts_of_pictures() -> None:
    pool = torch.arange(64, dtype=torch.uint8).mul(4).expand(2, 3, 64, 64)  # brighter to the right
    window = picture_window(pool, 16, generator(), (0.25, 0.25))
    steps = window[0, 0].diff()
    torch.testing.assert_close(steps, steps.mean().expand(15))
    assert steps.mean() > 0.0
    whole = picture_window(pool, 16, generator(), (1.0, 1.0))
    torch.testing.assert_close((whole[0, 0, 0] / whole[0, 0, -1]).item(), 6.0 / 246.0, atol=0.01, rtol=0.0)


def test_views_outside_the_image_paint_nothing() -> None:
    image = torch.rand(3, 32, 32, generator=generator())
    before = image.clone()
    shadow = Shadow(1.0, (0.0, 0.0), 0.1)
    assert paint_view(image, torch.ones(4, 16, 16), torch.tensor([-20.0, 5.0]), 16, shadow) is None
    assert torch.equal(image, before)


def test_weights_say_how_often_an_object_is_drawn(two_objects: ViewBank) -> None:
    config = SceneConfig(**SMALL, objects=(8, 8), clutter=(0, 0), min_visibility=0.0, min_pixels=1)
    source = SceneSource(two_objects, background_pool(4, 64), config, seed=2, weights=torch.tensor([3.0, 1.0]))
    labels = torch.cat([target["labels"] for target in source.batch(40).targets])
    share = float((labels == 1).float().mean())
    assert 0.65 < share < 0.85
