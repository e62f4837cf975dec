from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pose_estimation_ros.data.crops import Crops, crop_frame
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.pix2pose.estimator import Pix2Pose
from pose_estimation_ros.methods.pix2pose.network import STRIDE, CoordinateMaps, Pix2PoseNet
from pose_estimation_ros.methods.pix2pose.settings import Pix2PoseSettings
from pose_estimation_ros.methods.registry import find_method
from pose_estimation_ros.networks.placement import placement_of
from pose_estimation_ros.objects.bundle import Bundle, BundleError, PosePrior
from pose_estimation_ros.objects.catalog import Catalog

SIZE = 64
CAMERA = Camera(np.array([[570.0, 0.0, 320.0], [0.0, 575.0, 240.0], [0.0, 0.0, 1.0]]), 640, 480)


class PerfectNetwork(nn.Module):
    """Knows the poses: answers every crop with the true coordinates of an ellipsoid inside the object's box."""

    def __init__(self, catalog: Catalog, poses: list[np.ndarray], outliers: float = 0.0) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.catalog, self.poses, self.outliers = catalog, poses, outliers
        self.squares: Tensor | None = None
        self.calls = 0

    def forward(self, pixels: Tensor, object_index: Tensor, is_real: bool = False) -> CoordinateMaps:
        self.calls += 1
        assert self.squares is not None
        maps = [self._maps(square, int(index)) for square, index in zip(self.squares, object_index, strict=True)]
        coordinates, error, hit = (torch.from_numpy(np.stack(item)).float() for item in zip(*maps, strict=True))
        logits = torch.stack([hit, hit], dim=1) * 20.0 - 10.0
        return CoordinateMaps(coordinates, error, logits, torch.zeros(len(pixels), 3, 2, 1, 1))

    def _maps(self, square: Tensor, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        model, pose = self.catalog[index], self.poses[index]
        side = SIZE // STRIDE
        cells = (np.arange(side) + 0.5) * STRIDE - 0.5
        u, v = np.meshgrid(cells, cells)
        x, y, length = square.tolist()
        image = np.stack(
            [x + (u - (SIZE - 1) / 2) * length / SIZE, y + (v - (SIZE - 1) / 2) * length / SIZE, np.ones_like(u)]
        )
        rays = np.einsum("ij,jhw->hwi", pose[:3, :3].T @ np.linalg.inv(CAMERA.intrinsics), image) / model.half_size_m
        origin = (-pose[:3, :3].T @ pose[:3, 3] - model.centre_m) / model.half_size_m
        a, b, c = (rays**2).sum(-1), 2 * (rays @ origin), origin @ origin - 1.0
        root = b**2 - 4 * a * c
        hit = root > 0
        depth = (-b - np.sqrt(np.maximum(root, 0.0))) / (2 * a)
        points = np.where(hit[..., None], origin + depth[..., None] * rays, 0.0)
        error = np.full((side, side), 0.05)
        wrong = np.random.default_rng(0).random((side, side)) < self.outliers
        points[wrong] = -points[wrong]
        return points.transpose(2, 0, 1), error, hit.astype(float)


class Watching(Pix2Pose):
    """Tells the perfect network which squares it is looking at."""

    def predict(self, crops: Crops) -> CoordinateMaps:
        self.network.squares = crops.square
        return super().predict(crops)


def poses() -> list[np.ndarray]:
    result = []
    for angle, shift in ((0.7, [-0.15, 0.05, 0.8]), (-1.1, [0.2, -0.1, 1.1])):
        pose = np.eye(4)
        c, s = np.cos(angle), np.sin(angle)
        pose[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, s, -c], [0, c, s]])
        pose[:3, 3] = shift
        result.append(pose)
    return result


def scene(catalog: Catalog) -> tuple[Frame, list[Detection]]:
    detections = []
    for index, pose in enumerate(poses()):
        corners = np.array(np.meshgrid(*np.array(catalog[index].bounds_m).T)).reshape(3, -1).T
        pixels = CAMERA.project(corners @ pose[:3, :3].T + pose[:3, 3])
        detections.append(Detection(index, 0.9, np.concatenate([pixels.min(0), pixels.max(0)])))
    return Frame(np.full((480, 640, 3), 128, np.uint8), CAMERA), detections


def run(catalog: Catalog, outliers: float = 0.0) -> tuple[list, PerfectNetwork]:
    frame, detections = scene(catalog)
    network = PerfectNetwork(catalog, poses(), outliers)
    backend = Watching(network, catalog, SIZE)  # type: ignore[arg-type]
    crops = crop_frame(frame, detections, SIZE, backend.crop_padding, torch.device("cpu"))
    return backend.estimate(frame, crops, detections), network


@pytest.mark.parametrize("outliers", [0.0, 0.3])
def test_true_coordinates_give_the_true_pose(catalog: Catalog, outliers: float) -> None:
    hypotheses, _ = run(catalog, outliers)
    assert [item.object_index for item in hypotheses] == [0, 1]
    for item, pose in zip(hypotheses, poses(), strict=True):
        np.testing.assert_allclose(item.camera_from_object, pose, atol=2e-4)


def test_all_objects_go_through_the_network_together(catalog: Catalog) -> None:
    _, network = run(catalog)
    assert network.calls == 2  # one pass per stage


def test_outliers_lower_the_score(catalog: Catalog) -> None:
    clean, dirty = run(catalog)[0], run(catalog, 0.4)[0]
    assert all(a.score > b.score + 0.1 for a, b in zip(clean, dirty, strict=True))
    assert all(0.0 <= item.score <= 1.0 for item in clean + dirty)


def test_nothing_visible_gives_no_pose(catalog: Catalog) -> None:
    class Blind(PerfectNetwork):
        def forward(self, pixels: Tensor, object_index: Tensor, is_real: bool = False) -> CoordinateMaps:
            maps = super().forward(pixels, object_index)
            return maps._replace(mask_logits=torch.full_like(maps.mask_logits, -9.0))

    frame, detections = scene(catalog)
    backend = Watching(Blind(catalog, poses()), catalog, SIZE)  # type: ignore[arg-type]
    crops = crop_frame(frame, detections, SIZE, 1.5, torch.device("cpu"))
    assert backend.estimate(frame, crops, detections) == []


def test_unreliable_cells_take_no_part(catalog: Catalog) -> None:
    """Wrong coordinates that the network calls wrong do no harm even when they are the majority."""

    class Honest(PerfectNetwork):
        def forward(self, pixels: Tensor, object_index: Tensor, is_real: bool = False) -> CoordinateMaps:
            maps = super().forward(pixels, object_index)
            truth = PerfectNetwork(self.catalog, self.poses)
            truth.squares = self.squares
            wrong = (truth(pixels, object_index).coordinates - maps.coordinates).abs().sum(1) > 1e-6
            return maps._replace(error=torch.where(wrong, 0.8, 0.05))

    frame, detections = scene(catalog)
    backend = Watching(Honest(catalog, poses(), 0.7), catalog, SIZE)  # type: ignore[arg-type]
    crops = crop_frame(frame, detections, SIZE, 1.5, torch.device("cpu"))
    for item, pose in zip(backend.estimate(frame, crops, detections), poses(), strict=True):
        np.testing.assert_allclose(item.camera_from_object, pose, atol=2e-4)


def test_no_crops_no_poses(catalog: Catalog) -> None:
    backend = Pix2Pose(Pix2PoseNet(2, widths=(8, 8, 8, 8), decoder=(8, 8, 8), bins=4).eval(), catalog, SIZE)
    frame, _ = scene(catalog)
    empty = Crops(
        torch.zeros(0, 3, SIZE, SIZE), torch.zeros(0, 3, 3), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3)
    )
    assert backend.estimate(frame, empty, []) == []


def test_errors_name_what_is_missing(catalog: Catalog, tmp_path) -> None:
    bundle = Bundle(path=tmp_path, name="empty", catalog=catalog, networks={}, pose_prior=PosePrior())
    with pytest.raises(ValueError, match="backend = 'guess': expected one of .*pix2pose"):
        find_method("backend", "guess")
    with pytest.raises(BundleError, match="no network 'pix2pose'.*pose_train"):
        Pix2Pose.from_bundle(bundle, torch.device("cpu"))


def test_outlier_thresholds_are_the_published_ones() -> None:
    assert Pix2PoseSettings().outlier_errors == (0.15, 0.25, 0.35)


class PlacingNetwork(PerfectNetwork):
    """Gives coordinates that shrink and scatter, as means of uncertain ones do, and the true centres and sizes."""

    def __init__(self, catalog: Catalog, poses: list[np.ndarray], places: bool) -> None:
        super().__init__(catalog, poses)
        self.places = places

    def forward(self, pixels: Tensor, object_index: Tensor, is_real: bool = False) -> CoordinateMaps:
        maps = super().forward(pixels, object_index)
        noise = 0.05 * torch.randn(maps.coordinates.shape, generator=torch.Generator().manual_seed(0))
        maps = maps._replace(coordinates=0.9 * maps.coordinates + noise)
        if not self.places:
            return maps
        assert self.squares is not None
        rows = []
        for square, index in zip(self.squares.tolist(), object_index.tolist(), strict=True):
            model, pose = self.catalog[index], self.poses[index]
            camera = torch.tensor(CAMERA.intrinsics)[None]
            zoom = SIZE / square[2]
            camera[:, :2] *= zoom
            camera[0, 0, 2] = (SIZE - 1) / 2 + (CAMERA.intrinsics[0, 2] - square[0]) * zoom
            camera[0, 1, 2] = (SIZE - 1) / 2 + (CAMERA.intrinsics[1, 2] - square[1]) * zoom
            centre = torch.tensor(pose[:3, :3] @ model.centre_m + pose[:3, 3])[None]
            prediction = placement_of(centre, camera, torch.tensor([model.diameter_m]), SIZE)
            rows.append(torch.cat([prediction[0].float(), torch.full((3,), -5.0)]))
        return maps._replace(placement=torch.stack(rows))


def test_regressed_middle_and_size_mend_the_distance(catalog: Catalog) -> None:
    frame, detections = scene(catalog)
    errors = {}
    for places in (False, True):
        backend = Watching(PlacingNetwork(catalog, poses(), places), catalog, SIZE)  # type: ignore[arg-type]
        crops = crop_frame(frame, detections, SIZE, backend.crop_padding, torch.device("cpu"))
        found = backend.estimate(frame, crops, detections)
        errors[places] = max(
            abs(item.camera_from_object[2, 3] / pose[2, 3] - 1.0) for item, pose in zip(found, poses(), strict=True)
        )
    assert errors[False] > 0.05
    assert errors[True] < 0.02


def test_every_framing_shows_the_same_object_from_its_own_square(catalog: Catalog) -> None:
    frame, detections = scene(catalog)
    settings = Pix2PoseSettings(framing_scales=(0.9, 1.2), framing_shifts_x=(0.1, 0.0), framing_shifts_y=(0.0, -0.1))
    backend = Pix2Pose(PerfectNetwork(catalog, poses()), catalog, SIZE, settings)  # type: ignore[arg-type]
    crops = crop_frame(frame, detections, SIZE, backend.crop_padding, torch.device("cpu"))
    framed = backend.framed(frame, crops)
    assert framed.object_index.tolist() == [0, 1, 0, 1, 0, 1]
    side = float(crops.square[1, 2])
    expected = crops.square[1] + torch.tensor([0.1 * side, 0.0, -0.1 * side])
    torch.testing.assert_close(framed.square[3], expected)
    torch.testing.assert_close(framed.square[5], crops.square[1] + torch.tensor([0.0, -0.1 * side, 0.2 * side]))
