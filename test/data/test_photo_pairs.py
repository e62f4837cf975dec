"""Crops of photographs and renderings at the same poses show the same thing in the same place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.photo_cuts import PhotoConfig, Photographs
from pose_estimation_ros.data.photo_pairs import PhotoPairs, PhotoPairSource
from pose_estimation_ros.data.synthetic import CropConfig
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.mesh import load_mesh

SIZE = 64
COLORS = torch.tensor([[200.0, 40.0, 40.0], [40.0, 200.0, 40.0], [40.0, 40.0, 200.0]])  # of the objects in an image


def source(root: Path, catalog: Catalog | None = None, level: int = 128, **more: Any) -> PhotoPairSource:
    dataset = BopDataset(root)
    catalog = catalog or dataset.catalog
    meshes = [load_mesh(dataset.models_dir / model.mesh, "mm") for model in dataset.catalog]
    backgrounds = torch.full((2, 3, 32, 32), level, dtype=torch.uint8)
    config = PhotoConfig(color_jitter=False, **more.pop("config", {}))
    crops = CropConfig(image_side_px=(SIZE, SIZE), noise=0.0, masked_share=more.pop("masked_share", 0.0))
    return PhotoPairSource(Photographs(dataset, catalog, meshes, backgrounds, config, crops))


def overlaps(pairs: PhotoPairs) -> np.ndarray:
    """Return for every crop the overlap of its visible mask with what has the object's colour in the photograph."""
    found = []
    for image, mask in zip(pairs.real.images.float(), pairs.real.mask_visible, strict=True):
        cells = F.avg_pool2d(image, 4)
        distances = (cells[None] - COLORS[:, :, None, None]).abs().amax(dim=1)  # (3, s, s)
        color = int((distances[:, mask] < 40.0).sum(dim=1).argmax())
        shown = distances[color] < 60.0
        found.append(float((shown & mask).sum() / (shown | mask).sum()))
    return np.array(found)


def test_masks_and_poses_fit_the_photographs(tiny_bop: Path) -> None:
    """Turned, scaled and shifted: what the ground truth says is seen has the object's colour."""
    found = overlaps(source(tiny_bop, config={"roll_deg": 60.0}).pairs(24, SIZE, seed=3))
    assert found.min() > 0.7 and np.median(found) > 0.88  # cells of four pixels at the rim of small objects


def test_what_others_hide_is_not_visible_without_masks_either(tiny_bop: Path) -> None:
    """Object 1 of the last image lies wholly behind the cube."""
    there = source(tiny_bop, config={"min_visibility": 0.0, "roll_deg": 0.0})
    assert there.photographs.instances == 7
    without = source(tiny_bop, config={"roll_deg": 0.0})
    assert without.photographs.instances < 7
    pairs = there.pairs(60, SIZE, seed=0)
    hidden = pairs.real.visibility == 0.0
    assert 0 < int(hidden.sum()) < 30
    assert bool(pairs.real.mask_full[hidden].any(dim=(1, 2)).all())
    assert not bool(pairs.real.mask_visible[hidden].any())


def test_renderings_have_other_backgrounds_and_the_same_objects(tiny_bop: Path) -> None:
    dark, light = (source(tiny_bop, level=level).pairs(12, SIZE, seed=1) for level in (0, 250))
    difference = (dark.rendered.images.float() - light.rendered.images.float()).abs().amax(dim=1)
    whole = -F.max_pool2d(-dark.rendered.mask_full[:, None].float(), 3, 1, 1)  # without the rim, which is blurred
    inside = F.interpolate(whole, scale_factor=4)[:, 0] > 0.5
    assert float(difference[inside].max()) <= 1.0
    assert float(difference[:, :4, :4].median()) > 50.0
    assert torch.equal(dark.real.images, light.real.images)
    assert torch.equal(dark.real.coordinates, dark.rendered.coordinates)


def test_coordinates_are_those_of_the_surface(tiny_bop: Path) -> None:
    pairs = source(tiny_bop).pairs(8, SIZE, seed=2)
    truth = pairs.real
    assert float(truth.coordinates.abs().max()) <= 1.0 + 1e-4
    on_surface = truth.coordinates.permute(0, 2, 3, 1)[truth.mask_full]
    cubes = truth.object_index[:, None, None].expand_as(truth.mask_full)[truth.mask_full] == 1
    assert (
        float((on_surface[cubes].abs().amax(dim=1) - 1.0).abs().max()) < 1e-3
    )  # of a cube one coordinate is at a face


def test_the_surroundings_can_be_made_grey(tiny_bop: Path) -> None:
    pairs = source(tiny_bop, masked_share=1.0).pairs(8, SIZE, seed=4)
    for batch in (pairs.real, pairs.rendered):
        far = F.max_pool2d(batch.mask_visible[:, None].float(), 7, 1, 3)[:, 0] == 0.0
        cells = F.avg_pool2d(batch.images.float(), 4).permute(0, 2, 3, 1)[far]
        torch.testing.assert_close(cells, torch.full_like(cells, 128.0), atol=1.0, rtol=0.0)
    assert overlaps(pairs).min() > 0.7


def test_the_same_seed_gives_the_same_pairs(tiny_bop: Path) -> None:
    first, again, other = (source(tiny_bop).pairs(4, SIZE, seed) for seed in (5, 5, 6))
    assert torch.equal(first.real.images, again.real.images) and torch.equal(
        first.rendered.images, again.rendered.images
    )
    assert not torch.equal(first.real.images, other.real.images)


def test_photographs_without_known_objects_are_refused(tiny_bop: Path) -> None:
    stranger = Catalog((replace(BopDataset(tiny_bop).catalog[0], object_id=99, name="stranger"),))
    with pytest.raises(ValueError, match="none of stranger is annotated and at least 30% visible in 3 images"):
        source(tiny_bop, stranger)
