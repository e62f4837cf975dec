from __future__ import annotations

import numpy as np
import pytest
import torch

from pose_estimation_ros.data.view_bank import ViewBank, build_view_bank, sample_directions
from pose_estimation_ros.geometry.virtual_camera import look_at
from pose_estimation_ros.objects.bundle import PosePrior
from pose_estimation_ros.objects.catalog import ContinuousSymmetry

from .conftest import HALF_SIZE, box_mesh, box_model


def test_look_at_puts_the_object_ahead_and_upright() -> None:
    directions = sample_directions(PosePrior(elevation_deg=(5.0, 85.0), other=0.0), 200, np.random.default_rng(0))
    rotation = look_at(directions)
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (200, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-12)
    # The camera at +direction looks back at the origin, and the object's up points up in the image (y down).
    np.testing.assert_allclose(
        np.einsum("nij,nj->ni", rotation, directions), np.tile([0.0, 0.0, -1.0], (200, 1)), atol=1e-12
    )
    assert (rotation[:, 1, 2] < 0.0).all()


def test_directions_stay_within_the_prior() -> None:
    prior = PosePrior(elevation_deg=(20.0, 60.0), other=0.0)
    height = sample_directions(prior, 1000, np.random.default_rng(1))[:, 2]
    assert np.sin(np.radians(20.0)) <= height.min() and height.max() <= np.sin(np.radians(60.0))


def test_stored_coordinates_project_onto_their_own_pixels(bank: ViewBank) -> None:
    side = bank.size
    for view in range(0, 24, 5):
        mask = bank.surface[view, 7] > 0
        assert mask.any()
        points = bank.coordinates[view].float().permute(1, 2, 0)[mask].numpy() * HALF_SIZE
        pose = bank.camera_from_object[view].numpy()
        in_camera = points @ pose[:3, :3].T + pose[:3, 3]
        pixels = in_camera[:, :2] / in_camera[:, 2:] * float(bank.focal_px[view]) + (side - 1) / 2.0
        rows, columns = mask.nonzero(as_tuple=True)
        np.testing.assert_allclose(pixels, torch.stack([columns, rows], 1), atol=0.1)  # float16 coordinates


def test_views_fill_the_image_without_touching_the_border(bank: ViewBank) -> None:
    mask = bank.surface[:, 7] > 0
    border = torch.cat([mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1]], dim=1)
    assert not border.any()
    rows = mask.any(dim=2).sum(dim=1).maximum(mask.any(dim=1).sum(dim=1))
    assert (rows > 0.6 * bank.size).all()


def test_round_objects_always_show_the_same_side() -> None:
    model = box_model(continuous_symmetries=(ContinuousSymmetry((0.0, 0.0, 1.0), (0.01, 0.0, 0.0)),))
    bank = build_view_bank([model], [box_mesh()], PosePrior(distance_m=(0.4, 0.8), other=0.0), 12, [], 0, size=32)
    pose = bank.camera_from_object.numpy()
    camera = -np.einsum("nji,nj->ni", pose[:, :3, :3], pose[:, :3, 3]) - [0.01, 0.0, 0.0]
    azimuth = np.degrees(np.arctan2(camera[:, 1], camera[:, 0]))
    np.testing.assert_allclose(azimuth, azimuth[0], atol=1e-2)


def test_same_seed_same_bank_and_round_trip_through_a_file(bank: ViewBank, tmp_path) -> None:
    bank.save(tmp_path / "views.pt")
    again = ViewBank.load(tmp_path / "views.pt")
    assert torch.equal(again.surface, bank.surface) and again.known == bank.known
    with pytest.raises(FileNotFoundError):
        ViewBank.load(tmp_path / "absent.pt")
