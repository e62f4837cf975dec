"""The corners backend: true corners give true poses, uncertain ones are believed less, covariances are honest."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pose_estimation_ros.data.crops import crop_frame
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.camera import Camera, project_points
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.methods.box_prior import BoxPriorSettings
from pose_estimation_ros.methods.corners.drawing import draw
from pose_estimation_ros.methods.corners.estimator import Corners
from pose_estimation_ros.methods.corners.losses import corner_targets
from pose_estimation_ros.methods.corners.network import CornerPredictions, CornersNet
from pose_estimation_ros.methods.corners.settings import CornersSettings
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.control_points import box_corners

CAMERA = Camera(np.array([[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]]), 640, 480)
SIZE = 128


def pose_of(turn: tuple[float, float, float], place: tuple[float, float, float]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(np.array(turn))[0], place
    return pose


POSE = pose_of((0.3, -0.4, 0.2), (0.05, -0.02, 0.7))


class Oracle(CornersNet):
    """A network that knows where the corners are, up to errors (8, 2) in sides of the crop."""

    def __init__(
        self, catalog: Catalog, pose: np.ndarray, errors: Any = 0.0, scales: Any = 0.004, outline: bool = False
    ) -> None:
        super().__init__(len(catalog), SIZE, 8, 4, widths=(4, 4, 4, 4), blocks=(1, 1, 1, 1))
        self.corners = torch.from_numpy(np.stack([box_corners(model) for model in catalog])).float()
        if outline:
            self.outline.copy_(self.corners[:, torch.arange(self.outline.shape[1]) % 8])
        self.pose = torch.from_numpy(pose).float()
        self.errors = torch.as_tensor(errors).float()
        self.log_scales = torch.log(torch.as_tensor(scales).float()).expand(8)
        self.camera = torch.zeros(0, 3, 3)

    def forward(self, crops: torch.Tensor, object_index: torch.Tensor, is_real: bool = False) -> CornerPredictions:
        poses = self.pose.expand(len(crops), -1, -1)
        target = corner_targets(poses, self.camera, self.corners[object_index], SIZE)
        return CornerPredictions(target + self.errors, self.log_scales.expand(len(crops), -1))


def backend_of(catalog: Catalog, pose: np.ndarray = POSE, **oracle: Any) -> tuple[Corners, list[Any]]:
    """Return the backend and what it is called with: frame, crops and detections of an object."""
    network = Oracle(catalog, pose, **oracle)
    backend = Corners(network.eval(), catalog)
    frame = Frame(np.zeros((480, 640, 3), np.uint8), CAMERA)
    pixels = CAMERA.project(box_corners(catalog[0]) @ pose[:3, :3].T + pose[:3, 3])
    detection = Detection(0, 0.9, np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]))
    crops = crop_frame(frame, [detection], SIZE, backend.crop_padding, torch.device("cpu"))
    network.camera = crops.camera
    return backend, [frame, crops, [detection]]


def estimate(catalog: Catalog, pose: np.ndarray = POSE, **oracle: Any) -> PoseHypothesis:
    backend, arguments = backend_of(catalog, pose, **oracle)
    (found,) = backend.estimate(*arguments)
    return found


@pytest.mark.parametrize("turn", [(0.3, -0.4, 0.2), (2.0, 0.5, -0.7), (-1.0, 2.2, 0.4)])
@pytest.mark.parametrize("outline", [False, True])
def test_true_corners_give_the_true_pose(catalog: Catalog, turn: tuple[float, float, float], outline: bool) -> None:
    pose = pose_of(turn, (0.05, -0.02, 0.7))
    found = estimate(catalog, pose, outline=outline)
    np.testing.assert_allclose(found.camera_from_object, pose, atol=1e-4)
    assert found.inliers == 8


@pytest.mark.parametrize("shrinkage", [0.1, 0.4])
def test_a_box_that_fits_keeps_corners_that_are_drawn_together_from_sending_the_object_away(
    catalog: Catalog, shrinkage: float
) -> None:
    backend, arguments = backend_of(catalog, outline=True)
    true = backend.predict(arguments[1]).offsets
    inwards = -shrinkage * (true - true.mean(dim=1, keepdim=True))
    backend, (frame, crops, (detection,)) = backend_of(catalog, outline=True, errors=inwards, scales=0.03)
    rough = replace(detection, is_tight=False)
    (placed,), (without,) = (backend.estimate(frame, crops, [item]) for item in (detection, rough))
    blind, told = backend_of(catalog, errors=inwards, scales=0.03)
    unwilling = Corners(backend.network, catalog, CornersSettings(box_prior=BoxPriorSettings(enabled=False)))
    for (same,) in (blind.estimate(*told), unwilling.estimate(frame, crops, [detection])):
        np.testing.assert_array_equal(without.camera_from_object, same.camera_from_object)
        np.testing.assert_array_equal(without.covariance, same.covariance)
    away = [item.camera_from_object[2, 3] / POSE[2, 3] - 1.0 for item in (placed, without)]
    assert away[1] > 0.8 * shrinkage
    assert abs(away[0]) < 0.5 * away[1]
    assert placed.inliers == 8
    assert placed.covariance is not None and without.covariance is not None
    assert placed.covariance[2, 2] < without.covariance[2, 2]


def test_uncertain_corners_are_believed_less(catalog: Catalog) -> None:
    errors, scales = np.zeros((8, 2)), np.full(8, 0.004)
    errors[3], scales[3] = (0.03, -0.04), 0.2
    equal = estimate(catalog, errors=errors)
    told = estimate(catalog, errors=errors, scales=scales)
    wrong = [np.linalg.norm(item.camera_from_object[:3, 3] - POSE[:3, 3]) for item in (equal, told)]
    assert wrong[1] < 0.2 * wrong[0]


def test_a_surer_network_scores_higher_and_the_detection_counts(catalog: Catalog) -> None:
    scores = [estimate(catalog, scales=scale).score for scale in (0.001, 0.01, 0.1)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(0.9, abs=0.01) and scores[2] < 0.3


def test_corners_off_the_image_still_count(catalog: Catalog) -> None:
    pose = pose_of((0.3, -0.4, 0.2), (0.36, 0.25, 0.7))
    assert np.abs(CAMERA.project(box_corners(catalog[0]) @ pose[:3, :3].T + pose[:3, 3])).max() > 640.0
    np.testing.assert_allclose(estimate(catalog, pose).camera_from_object, pose, atol=1e-4)


def test_the_covariance_holds_what_errors_of_the_expected_size_do(catalog: Catalog) -> None:
    """Independent errors, so without redundancy: squared Mahalanobis distances of a Gaussian have a mean of 6."""
    rng, scale = np.random.default_rng(0), 0.004
    squared = []
    for _ in range(60):
        backend, arguments = backend_of(catalog, errors=rng.laplace(0.0, scale, (8, 2)), scales=scale)
        backend.settings = CornersSettings(redundancy=1.0)
        (found,) = backend.estimate(*arguments)
        assert found.covariance is not None
        turn = cv2.Rodrigues(POSE[:3, :3] @ found.camera_from_object[:3, :3].T)[0][:, 0]
        error = np.concatenate([POSE[:3, 3] - found.camera_from_object[:3, 3], turn])
        squared.append(error @ np.linalg.solve(found.covariance, error))
    assert 3.0 < np.mean(squared) < 8.0  # the covariance grows where corners disagree, and never shrinks


def test_corners_that_agree_by_chance_do_not_make_a_pose_sure(catalog: Catalog) -> None:
    sure, unsure = estimate(catalog, scales=0.002), estimate(catalog, scales=0.02)
    assert sure.covariance is not None and unsure.covariance is not None
    ratio = np.sqrt(np.diag(unsure.covariance) / np.diag(sure.covariance))
    np.testing.assert_allclose(ratio, 10.0, rtol=1e-3)


def test_without_a_pose_there_is_none(catalog: Catalog) -> None:
    rng = np.random.default_rng(2)
    backend, arguments = backend_of(catalog, errors=rng.normal(0.0, 3.0, (8, 2)))
    assert backend.estimate(*arguments) == []
    frame, _, _ = arguments
    empty = crop_frame(frame, [], SIZE, 1.5, torch.device("cpu"))
    assert backend.estimate(frame, empty, []) == []


def test_the_drawing_has_the_box_and_circles_of_the_uncertainty(catalog: Catalog) -> None:
    narrow, wide = (backend_of(catalog, scales=scale) for scale in (0.002, 0.05))
    drawings = [draw(backend, *arguments) for backend, arguments in (narrow, wide)]
    corner = CAMERA.project((box_corners(catalog[0]) @ POSE[:3, :3].T + POSE[:3, 3])[:1])[0]
    row, column = round(corner[1]), round(corner[0])
    assert all(drawing[row, column].any() for drawing in drawings)
    frame, crops, _ = wide[1]
    radius = round(math.sqrt(2.0) * 0.05 * float(crops.square[0, 2]))
    window = (slice(row - radius, row - radius + 2), slice(column - 1, column + 2))
    assert drawings[1][window].any() and not frame.rgb.any()


def test_project_points_and_crops_agree(catalog: Catalog) -> None:
    """The oracle's corners, put into the image by the backend, are where the camera sees them."""
    backend, (frame, crops, _) = backend_of(catalog)
    pixels, deviations = backend.in_image(backend.predict(crops), crops)
    corners = torch.from_numpy(box_corners(catalog[0]))[None]
    expected = project_points(corners, torch.from_numpy(POSE)[None], torch.from_numpy(frame.camera.intrinsics)[None])
    np.testing.assert_allclose(pixels[0], expected[0].numpy(), atol=0.02)
    np.testing.assert_allclose(deviations[0], math.sqrt(2.0) * 0.004 * float(crops.square[0, 2]), rtol=1e-5)
