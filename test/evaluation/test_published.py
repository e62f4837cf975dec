"""What the node publishes: shares of right poses and of found objects, and how far the score is from the truth."""

from __future__ import annotations

import numpy as np
import pytest

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.evaluation.bop_results import Estimate
from pose_estimation_ros.evaluation.published import (
    describe_published,
    is_right,
    judge_published,
    published_figures,
    write_published,
)


def _moved(pose: np.ndarray, share: float) -> np.ndarray:
    """Return a pose that is farther away by a share of its distance."""
    other = pose.copy()
    other[:3, 3] *= 1.0 + share
    return other


def _estimates(dataset: BopDataset, share: float, score: float) -> list[Estimate]:
    return [
        Estimate(*image.key, truth.object_id, score, _moved(truth.camera_from_object, share))
        for image in dataset.images
        for truth in image.ground_truth
    ]


@pytest.mark.parametrize(("share", "right"), [(0.049, True), (-0.049, True), (0.051, False), (0.5, False)])
def test_a_right_pose_is_off_by_less_than_a_twentieth_of_its_distance(share, right):
    pose = np.eye(4)
    pose[:3, 3] = [0.1, -0.2, 0.7]
    assert is_right(_moved(pose, share), pose) is right


def test_perfect_poses_find_everything_that_is_visible(tiny_bop):
    dataset = BopDataset(tiny_bop)
    result = judge_published(dataset.images, _estimates(dataset, 0.0, 1.0), {1, 2}, 0.5)
    figures = published_figures(result)
    assert (figures["poses"], figures["right"], figures["found"]) == (7, 1.0, 1.0)
    assert figures["visible_objects"] == 6  # one is wholly hidden
    assert figures["calibration_error"] == 0.0


def test_what_is_held_back_is_not_published_but_tells_of_the_calibration(tiny_bop, tmp_path):
    dataset = BopDataset(tiny_bop)
    poses = [*_estimates(dataset, 0.01, 0.9), *_estimates(dataset, 0.2, 0.3), *_estimates(dataset, 0.2, 0.6)]
    result = judge_published(dataset.images, poses, {1, 2}, 0.5)
    figures = published_figures(result)
    assert (figures["poses"], figures["candidates"]) == (14, 21)
    assert figures["right"] == pytest.approx(0.5)
    assert figures["calibration_error"] == pytest.approx((0.1 + 0.6) / 2.0)
    assert figures["calibration_error_of_candidates"] == pytest.approx((0.1 + 0.6 + 0.3) / 3.0)
    assert figures["ranking"] == 1.0
    assert "14 poses, 50% within 5 % of their distance" in describe_published(figures)
    write_published(tmp_path / "published.png", result)
    assert (tmp_path / "published.png").stat().st_size > 1000


def test_a_pose_of_another_object_finds_nothing(tiny_bop):
    dataset = BopDataset(tiny_bop)
    swapped = [
        Estimate(item.scene_id, item.image_id, 3 - item.object_id, 0.9, item.camera_from_object)
        for item in _estimates(dataset, 0.0, 0.9)[:2]
    ]
    figures = published_figures(judge_published(dataset.images[:1], swapped, {1, 2}, 0.5))
    assert (figures["right"], figures["found"]) == (0.0, 0.0)


def test_without_poses_shares_are_unknown(tiny_bop, tmp_path):
    dataset = BopDataset(tiny_bop)
    result = judge_published(dataset.images, [], {1}, 0.5)
    figures = published_figures(result)
    assert np.isnan([figures["right"], figures["calibration_error"], figures["ranking"]]).all()
    assert figures["found"] == 0.0
    assert "0 poses" in describe_published(figures)
    write_published(tmp_path / "published.png", result)
    assert not (tmp_path / "published.png").exists()
