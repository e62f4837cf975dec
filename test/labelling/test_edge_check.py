"""Edges of rendered objects against edges of photographs whose poses are known to the last bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.evaluation.metrics import projection_error
from pose_estimation_ros.labelling.edge_check import EdgeCheck, EdgeFit
from pose_estimation_ros.labelling.labeller import probability
from pose_estimation_ros.labelling.model_edges import EdgeRenderer
from pose_estimation_ros.labelling.photos import Photo
from pose_estimation_ros.labelling.settings import JudgeSettings
from pose_estimation_ros.objects.mesh import Mesh


def objects_of(photo: Photo) -> list[tuple[int, np.ndarray]]:
    return [(truth.object_id - 1, truth.camera_from_object) for truth in photo.poses]


def shifted(pose: np.ndarray, right_m: float, down_m: float = 0.0) -> np.ndarray:
    moved = pose.copy()
    moved[:2, 3] += right_m, down_m
    return moved


@pytest.fixture(scope="module")
def frame(photos: list[Photo]) -> Frame:
    return photos[0].frame()


def test_an_outline_lies_between_the_object_and_what_is_beside(photos, renderer: EdgeRenderer, frame: Frame) -> None:
    index, pose = objects_of(photos[0])[1]
    drawn = renderer.draw(index, pose, frame.camera)
    outline = drawn.edges.chosen(drawn.edges.is_outline)
    sides = [np.round(outline.pixels + sign * 1.5 * outline.normals).astype(int).T for sign in (1.0, -1.0)]
    one, other = (np.isfinite(drawn.depth[row, column]) for column, row in sides)
    assert (one != other).mean() > 0.9  # corners aside
    reprojected = frame.camera.project(outline.points @ pose[:3, :3].T + pose[:3, 3])
    assert np.abs(np.linalg.norm(reprojected - outline.pixels, axis=1) - 0.5).max() < 1e-3


def test_the_residual_grows_with_the_error(photos, renderer: EdgeRenderer, frame: Frame) -> None:
    check, (wedge, cube) = EdgeCheck(frame, renderer), objects_of(photos[0])
    residuals = []
    for shift_px in (0.0, 3.0, 6.0):
        moved = shifted(cube[1], shift_px * cube[1][2, 3] / frame.camera.intrinsics[0, 0])
        residuals.append(check.fits([wedge, (cube[0], moved)])[1].residual_px)
    assert residuals[0] < 0.6 < residuals[1] < residuals[2]


def test_what_another_object_hides_is_not_missed(photos, renderer: EdgeRenderer, frame: Frame) -> None:
    check, (index, pose) = EdgeCheck(frame, renderer), objects_of(photos[0])[1]
    before = pose.copy()
    before[:3, 3] *= 0.6  # an object that hides all of it, and that is not in the photograph
    hidden = check.fits([(index, pose), (index, before)])[0]
    assert hidden == EdgeFit(None, 0.0)
    assert probability(JudgeSettings(), hidden, 0.9, 1.0) == 0.0
    assert check.fits([(index, pose)])[0].matched > 0.9


def test_alignment_brings_an_object_back(photos, renderer: EdgeRenderer, frame: Frame, meshes: list[Mesh]) -> None:
    check, (index, pose) = EdgeCheck(frame, renderer), objects_of(photos[0])[1]
    points = meshes[index].vertices.astype(np.float64)
    start = shifted(pose, 0.007, -0.004)
    (moved,) = check.aligned([(index, start)])
    errors = [projection_error(points, item, pose, frame.camera.intrinsics) for item in (start, moved)]
    assert errors[0] > 1.5 and errors[1] < 0.5 * errors[0]


def test_large_photographs_are_checked_reduced_and_told_in_their_own_pixels(photos, renderer: EdgeRenderer) -> None:
    small = photos[0].frame()
    factor = 8  # 1280 pixels wide: reduced to the half
    large = Frame(small.rgb.repeat(factor, axis=0).repeat(factor, axis=1), small.camera.resize(1280, 960))
    objects = [(index, shifted(pose, 0.02)) for index, pose in objects_of(photos[0])[1:]]
    half = replace(small, rgb=large.rgb[::2, ::2].copy(), camera=large.camera.resize(640, 480))
    residuals = [EdgeCheck(frame, renderer).fits(objects)[0].residual_px for frame in (large, half)]
    assert residuals[0] == pytest.approx(2.0 * residuals[1], rel=0.15) and residuals[1] > 1.0


def test_odds_of_a_pose_follow_residual_and_similarity() -> None:
    judge = JudgeSettings()
    good, bad = (probability(judge, EdgeFit(residual, 0.5), 0.4, 1.0) for residual in (1.0, 5.0))
    assert good > judge.accepted_probability > bad
    assert probability(judge, EdgeFit(1.0, 0.5), 0.0, 1.0) < good
    assert probability(judge, EdgeFit(2.0, 0.5), 0.4, 2.0) == pytest.approx(good)  # twice as large a photograph
    usual = probability(judge, EdgeFit(1.0, 0.5), judge.usual_similarity, 1.0)
    assert probability(judge, EdgeFit(1.0, 0.5), None, 1.0) == usual
