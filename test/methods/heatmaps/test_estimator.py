"""The heatmaps backend: sub-cell peaks, exact votes give exact poses, occluded votes do not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pose_estimation_ros.data.crops import crop_frame
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.camera import Camera, project_points
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.methods.heatmaps.estimator import Heatmaps, find_peaks
from pose_estimation_ros.methods.heatmaps.settings import HeatmapsBoxPriorSettings, HeatmapsSettings
from pose_estimation_ros.methods.heatmaps.training import target_heatmaps
from pose_estimation_ros.networks.heatmap_net import (
    STRIDE,
    HeatmapNet,
    Trunk,
    accumulate,
    first_cell,
    patch_centres,
    patch_grid,
)
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.control_points import box_corners, farthest_points

CAMERA = Camera(np.array([[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]]), 640, 480)
SIZE = 128

NO_BOX = HeatmapsBoxPriorSettings(enabled=False)


def pose_of(turn: tuple[float, float, float], place: tuple[float, float, float]) -> np.ndarray:
    import cv2

    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(np.array(turn))[0], place
    return pose


class Oracle(HeatmapNet):
    """A network that knows the answer: every patch draws the true control points, some patches lie."""

    def __init__(
        self,
        catalog: Catalog,
        pose: np.ndarray,
        lying: float = 0.0,
        undecided: float = 0.0,
        trunk: Trunk = "patches",
        noise: torch.Tensor | float = 0.0,
    ) -> None:
        widths = {"patches": (4, 4, 4, 4, 4), "encoder": (4, 4, 4)}[trunk]
        super().__init__(len(catalog), points=8, widths=widths, hidden=4, trunk=trunk, padding=1.5, outline=8)
        for index, model in enumerate(catalog):
            self.control_points[index] = self.outline[index] = torch.from_numpy(box_corners(model))
        self.pose, self.lying, self.undecided = torch.from_numpy(pose).float(), lying, undecided
        self.noise = noise  # of the projections of the control points, pixels
        self.camera: torch.Tensor | None = None

    def forward(self, crops, object_index, chosen=None, is_real=False):
        assert self.camera is not None
        line, grid = patch_centres(SIZE, window=self.window), patch_grid(SIZE, self.window)
        centres = torch.stack([line[chosen % grid], line[chosen // grid]], dim=-1)
        poses = self.pose[None].expand(len(crops), -1, -1)
        pixels = project_points(self.control_points[object_index], poses, self.camera) + self.noise
        maps = target_heatmaps(pixels, centres)
        lies = torch.arange(maps.shape[1]) < self.lying * maps.shape[1]
        maps[:, lies] = maps[:, lies].flip(3)
        undecided = torch.arange(maps.shape[1]) % 10 < 10 * self.undecided
        centre = pixels.mean(dim=1, keepdim=True)
        maps[:, undecided] = 0.5 * target_heatmaps(centre + 0.8 * (pixels - centre), centres[:, undecided])
        return maps


def estimate(
    catalog: Catalog,
    pose: np.ndarray,
    settings: HeatmapsSettings | None = None,
    is_tight: bool = True,
    **oracle: Any,
) -> list[PoseHypothesis]:
    frame = Frame(np.zeros((480, 640, 3), np.uint8), CAMERA)
    corners = box_corners(catalog[0]) @ pose[:3, :3].T + pose[:3, 3]
    pixels = corners @ CAMERA.intrinsics.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    network = Oracle(catalog, pose, **oracle)
    backend = Heatmaps(network.eval(), SIZE, settings or HeatmapsSettings(points="corners"))
    detection = Detection(0, 0.9, np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]), is_tight=is_tight)
    crops = crop_frame(frame, [detection], SIZE, backend.crop_padding, torch.device("cpu"))
    network.camera = crops.camera
    return backend.estimate(frame, crops, [detection])


@pytest.mark.parametrize("trunk", ["patches", "encoder"])
@pytest.mark.parametrize("turn", [(0.3, -0.4, 0.2), (2.0, 0.5, -0.7)])
def test_true_votes_give_the_true_pose(catalog: Catalog, turn: tuple[float, float, float], trunk: Trunk) -> None:
    pose = pose_of(turn, (0.05, -0.02, 0.7))
    (found,) = estimate(catalog, pose, trunk=trunk)
    turned = np.degrees(
        np.arccos(np.clip((np.trace(found.camera_from_object[:3, :3].T @ pose[:3, :3]) - 1) / 2, -1, 1))
    )
    assert turned < 0.5
    assert np.linalg.norm(found.camera_from_object[:3, 3] - pose[:3, 3]) < 0.003
    assert found.score > 0.5


def test_a_third_of_the_patches_may_lie(catalog: Catalog) -> None:
    pose = pose_of((0.3, -0.4, 0.2), (0.05, -0.02, 0.7))
    (found,), (honest,) = estimate(catalog, pose, lying=0.33), estimate(catalog, pose)
    assert np.linalg.norm(found.camera_from_object[:3, 3] - pose[:3, 3]) < 0.01
    assert found.score < honest.score


def test_undecided_patches_do_not_draw_the_object_away(catalog: Catalog) -> None:
    """Half of them answer with low peaks that lie too far inside; in a plain sum the object seems small."""
    pose = pose_of((0.3, -0.4, 0.2), (0.05, -0.02, 0.7))
    summed = HeatmapsSettings(points="corners", vote_exponent=1.0, box_prior=NO_BOX)
    (plain,) = estimate(catalog, pose, summed, undecided=0.5)
    (sharp,) = estimate(catalog, pose, HeatmapsSettings(points="corners", box_prior=NO_BOX), undecided=0.5)
    assert plain.camera_from_object[2, 3] > 1.03 * pose[2, 3]
    assert sharp.camera_from_object[2, 3] == pytest.approx(pose[2, 3], rel=0.02)


@pytest.mark.parametrize("trunk", ["patches", "encoder"])
def test_a_box_that_fits_halves_the_error_of_the_distance(catalog: Catalog, trunk: Trunk) -> None:
    pose, errors = pose_of((0.3, -0.4, 0.2), (0.05, -0.02, 0.7)), []
    for seed in range(8):
        noise = 3.0 * torch.randn(1, 8, 2, generator=torch.Generator().manual_seed(seed))
        alone = HeatmapsSettings(points="corners", box_prior=NO_BOX)
        found = [
            estimate(catalog, pose, trunk=trunk, noise=noise)[0],
            estimate(catalog, pose, alone, trunk=trunk, noise=noise)[0],
            estimate(catalog, pose, is_tight=False, trunk=trunk, noise=noise)[0],
        ]
        errors.append([abs(item.camera_from_object[2, 3] / pose[2, 3] - 1.0) for item in found])
    placed, without, rough = np.mean(errors, axis=0)
    assert placed < 0.5 * without
    assert rough == without


def test_peaks_are_found_to_a_fraction_of_a_cell() -> None:
    pixels = torch.tensor([[[50.3, 71.9], [88.8, 33.1]]])
    line, grid = patch_centres(SIZE), patch_grid(SIZE)
    chosen = torch.arange(grid * grid)[None]
    centres = torch.stack([line[chosen % grid], line[chosen // grid]], dim=-1)
    maps = accumulate(target_heatmaps(pixels, centres), chosen, grid)
    found = find_peaks(maps, 1, first_cell())
    assert float((found.pixels[0, :, 0] - pixels[0]).abs().max()) < 0.02 * STRIDE
    assert float(found.heights.min()) > 0.4 * grid * grid


def test_the_higher_of_two_peaks_comes_first() -> None:
    maps = torch.zeros(1, 1, 20, 20)
    maps[0, 0, 4, 5], maps[0, 0, 12, 15] = 1.0, 2.0
    found = find_peaks(maps, 2, first_cell())
    expected = torch.tensor([[15.0, 12.0], [5.0, 4.0]]) * STRIDE + first_cell()
    torch.testing.assert_close(found.pixels[0, 0], expected)
    assert found.heights[0, 0].tolist() == [2.0, 1.0]


def test_surface_points_need_a_network_that_has_them(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="points = 'surface': the network has 8, corners only"):
        Heatmaps(HeatmapNet(2, points=8), SIZE, HeatmapsSettings(points="surface"))


def test_farthest_points_spread_over_a_square() -> None:
    line = np.linspace(0.0, 1.0, 11)
    square = np.stack(np.meshgrid(line, line, [0.0]), axis=-1).reshape(-1, 3)
    corners = farthest_points(square, 4)
    assert {tuple(point[:2]) for point in corners} == {(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)}
    with pytest.raises(ValueError, match="2 candidates, expected at least 3"):
        farthest_points(square[:2], 3)
