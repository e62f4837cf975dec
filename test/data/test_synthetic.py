from __future__ import annotations

import torch
import torch.nn.functional as F

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.synthetic import STRIDE, CropConfig, CropSource
from pose_estimation_ros.data.view_bank import ViewBank
from pose_estimation_ros.geometry.camera import project_points

from .conftest import HALF_SIZE

PLAIN = {"front_layers": 0, "back_layers": 0, "masked_share": 0.0, "noise": 0.0, "image_side_px": (64.0, 64.0)}


def source(bank: ViewBank, **changes: object) -> CropSource:
    config = CropConfig(size=64, roll_deg=(-90.0, 90.0)).model_copy(update=changes)
    return CropSource(bank, background_pool(8, 64), config, seed=5)


def test_coordinates_project_onto_their_own_cells(bank: ViewBank) -> None:
    """Pose, camera and coordinate map of a warped view agree to a small part of a pixel."""
    batch = source(bank).batch(16)
    points = batch.coordinates.flatten(2).transpose(1, 2) * torch.tensor(HALF_SIZE, dtype=torch.float32)
    pixels = project_points(points, batch.camera_from_object, batch.camera)
    cells = (torch.arange(batch.coordinates.shape[-1]) + 0.5) * STRIDE - 0.5
    v, u = torch.meshgrid(cells, cells, indexing="ij")
    error = (pixels - torch.stack([u, v], dim=-1).reshape(1, -1, 2)).norm(dim=-1)
    inside = batch.mask_full.flatten(1)
    assert inside.sum() > 500
    assert error[inside].median() < 0.05
    assert error[inside].quantile(0.95) < 0.3  # edges of the box mix two sides


def test_rotations_of_the_poses_are_rotations(bank: ViewBank) -> None:
    rotation = source(bank).batch(16).camera_from_object[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), torch.eye(3).expand(16, 3, 3), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(16), atol=1e-5, rtol=0.0)


def test_the_object_is_where_its_mask_says(bank: ViewBank) -> None:
    """On a black background, with nothing in front, bright cells are the cells of the mask."""
    maker = CropSource(bank, torch.zeros(1, 3, 64, 64, dtype=torch.uint8), CropConfig(size=64, **PLAIN), seed=2)
    batch = maker.batch(16)
    light = F.avg_pool2d(batch.images.float().amax(dim=1, keepdim=True), STRIDE)[:, 0]
    for image, mask in zip(light, batch.mask_visible, strict=True):
        ranked = (image[mask][:, None] > image[~mask][None]).float().mean()  # chance that object outshines background
        assert ranked > 0.95


def test_occluders_hide_and_never_hide_everything(bank: ViewBank) -> None:
    batch = source(bank, min_visibility=0.3).batch(64)
    assert (batch.mask_visible & ~batch.mask_full).sum() == 0
    assert batch.visibility.min() > 0.2  # cells are coarser than the pixels the limit is applied to
    assert (batch.visibility < 0.9).float().mean() > 0.15


def test_second_stage_crops_are_grey_around_the_object(bank: ViewBank) -> None:
    plain = {**PLAIN, "masked_share": 1.0}
    batch = source(bank, **plain).batch(16)
    outside = F.interpolate((~batch.mask_full)[:, None].float(), scale_factor=STRIDE) > 0
    grey = (batch.images.float() - 127.5).abs().amax(dim=1, keepdim=True) < 1.0
    assert grey[outside].float().mean() > 0.8  # the rest is the ragged edge


def test_same_seed_same_crops_other_seed_others(bank: ViewBank) -> None:
    one, two = source(bank).batch(4), source(bank).batch(4)
    assert torch.equal(one.images, two.images)
    other = CropSource(bank, background_pool(8, 64), CropConfig(size=64), seed=6).batch(4)
    assert not torch.equal(one.images, other.images)
