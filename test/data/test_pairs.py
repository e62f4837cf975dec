"""Pairs for refinement: what they say of the true pose is what the image shows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.comparison import warped
from pose_estimation_ros.data.pairs import PairConfig, PairSource, near_views
from pose_estimation_ros.data.synthetic import STRIDE, CropBatch, CropConfig, Placement
from pose_estimation_ros.data.view_bank import ViewBank
from pose_estimation_ros.geometry.camera import project_points
from pose_estimation_ros.methods.attention.training import AttentionRecipe, AttentionStep
from pose_estimation_ros.networks.attention_net import CELL
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.object_tensors import object_sizes

from .conftest import HALF_SIZE, box_model

CATALOG = Catalog((box_model(),))
PLAIN = CropConfig(
    size=64, roll_deg=(-30.0, 30.0), front_layers=0, back_layers=0, bar_share=0.0, masked_share=0.0, noise=0.0,
    off_axis_deg=(0.0, 0.0), image_side_px=(64.0, 64.0), min_visibility=0.0,
)  # fmt: skip


class Recording(PairSource):
    """Keeps the crops that become images."""

    crops: CropBatch

    def composed(self, place: Placement, count: int) -> CropBatch:
        self.crops = super().composed(place, count)
        return self.crops


def source(bank: ViewBank, **pairs: float) -> Recording:
    return Recording(bank, background_pool(8, 64), PLAIN, PairConfig(**pairs), object_sizes(CATALOG), seed=3)


def rendered_points(rendered: Tensor) -> tuple[Tensor, Tensor]:
    """Return points about the centre over the radius (B, 3, h, w), and which cells lie wholly on the object."""
    geometry = F.avg_pool2d(rendered.float()[:, 3:], CELL)
    return geometry[:, :3] / geometry[:, 3:].clamp(min=0.25), geometry[:, 3] > 0.99


def test_flow_leads_rendered_points_to_where_the_photograph_shows_them(bank: ViewBank) -> None:
    """The true update, the true pose and the camera of the image agree to a hundredth of a cell."""
    made = source(bank)
    batch = made.pair_batch(16)
    points, shown = rendered_points(batch.rendered)
    step = AttentionStep(CATALOG, bank.outline, AttentionRecipe(), torch.device("cpu"))
    flow = step.true_flow(points, batch)
    in_object = batch.rendered_rotation.transpose(1, 2) @ points.flatten(2) * (CATALOG[0].diameter_m / 2.0)
    pixels = project_points(in_object.transpose(1, 2), made.crops.camera_from_object, made.crops.camera)
    cells = (torch.arange(points.shape[-1]) + 0.5) * CELL - 0.5
    pose = torch.eye(4).repeat(16, 1, 1)
    pose[:, :3, :3] = batch.rendered_rotation
    pose[:, 2, 3] = batch.distance * CATALOG[0].diameter_m
    camera = torch.zeros(16, 3, 3)
    camera[:, 0, 0] = camera[:, 1, 1] = 64 * batch.distance / batch.extent
    camera[:, :2, 2], camera[:, 2, 2] = 31.5, 1.0
    before = project_points(in_object.transpose(1, 2), pose, camera)
    v, u = torch.meshgrid(cells, cells, indexing="ij")
    inside = shown.flatten(1)
    assert inside.sum() > 500
    offset = (before - torch.stack([u, v], dim=-1).reshape(1, -1, 2)).norm(dim=-1)
    assert offset[inside].median() < 0.1  # the rendering shows its points where they are
    moved = (pixels - before) / CELL
    assert (moved - flow.flatten(2).transpose(1, 2)).norm(dim=-1)[inside].max() < 0.01
    assert moved.norm(dim=-1)[inside].median() > 0.3


def test_the_photograph_shows_the_object_where_the_pose_says(bank: ViewBank) -> None:
    made = source(bank)
    made.pair_batch(16)
    crops = made.crops
    points = crops.coordinates.flatten(2).transpose(1, 2) * torch.tensor(HALF_SIZE, dtype=torch.float32)
    pixels = project_points(points, crops.camera_from_object, crops.camera)
    cells = (torch.arange(crops.coordinates.shape[-1]) + 0.5) * STRIDE - 0.5
    v, u = torch.meshgrid(cells, cells, indexing="ij")
    error = (pixels - torch.stack([u, v], dim=-1).reshape(1, -1, 2)).norm(dim=-1)
    assert error[crops.mask_full.flatten(1)].median() < 0.05


def test_without_errors_rendering_and_photograph_lie_on_each_other(bank: ViewBank) -> None:
    made = source(bank, shift=0.0, log_distance=0.0, roll_deg=0.0, min_error_ratio=0.0, max_error_ratio=0.0)
    batch = made.pair_batch(8)
    torch.testing.assert_close(batch.true_rotation, batch.rendered_rotation, atol=1e-4, rtol=0.0)
    drawn = F.avg_pool2d(batch.rendered[:, 6:].float(), STRIDE)[:, 0] > 0.5
    overlap = (drawn & made.crops.mask_full).sum() / (drawn | made.crops.mask_full).sum()
    assert overlap > 0.97


def test_neighbours_are_of_the_same_object_and_near(bank: ViewBank) -> None:
    near = near_views(bank)
    known = bank.object_index < bank.known
    torch.testing.assert_close(near[:, 0], torch.arange(len(near)))
    assert bool((bank.object_index[near] == bank.object_index[:, None]).all())
    assert bool((near[~known] == near[~known][:, :1]).all())
    sight = bank.camera_from_object[:, 2, :3]
    nearest = (sight[near[known, 1]] * sight[known]).sum(dim=1)
    farthest = (sight[near[known, 6]] * sight[known]).sum(dim=1)
    assert bool((nearest >= farthest).all())


def test_same_seed_same_pairs(bank: ViewBank) -> None:
    first, second = (source(bank).pair_batch(4) for _ in range(2))
    assert first.observed.float().std() > 10.0
    torch.testing.assert_close(first.observed, second.observed)
    torch.testing.assert_close(first.rendered, second.rendered)


def test_warped_samples_where_the_homography_says_and_averages_when_it_shrinks() -> None:
    ramp = torch.stack([torch.arange(64.0).expand(48, -1) / 64.0, torch.zeros(48, 64), torch.ones(48, 64)])
    shift = torch.tensor([[[1.0, 0.0, 10.0], [0.0, 1.0, 5.0], [0.0, 0.0, 1.0]]])
    image = warped(ramp, shift, 16)
    torch.testing.assert_close(image[0, 0], ((torch.arange(16.0) + 10.0) / 64.0).expand(16, -1))
    stripes = torch.zeros(3, 64, 64)
    stripes[:, :, ::2] = 1.0
    half = torch.diag(torch.tensor([4.0, 4.0, 1.0]))[None]
    half[0, :2, 2] = 1.5
    torch.testing.assert_close(warped(stripes, half, 16), torch.full((1, 3, 16, 16), 0.5))
    outside = torch.tensor([[[1.0, 0.0, 500.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    torch.testing.assert_close(warped(ramp, outside, 4), torch.full((1, 3, 4, 4), 0.5))
