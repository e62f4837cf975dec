"""Errors of hand poses, and the mistakes that are made with them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pose_estimation_ros.data.nyu_hand import PALM, cube_sides, denormalised, normalised
from pose_estimation_ros.evaluation.hands import hand_figures, joint_errors, success, suspicions, write_success_curve

FRAMES, JOINTS = 40, 14
SUBJECTS = np.repeat([0, 1], [15, 25])


@pytest.fixture
def true() -> np.ndarray:
    rng = np.random.default_rng(0)
    palm = rng.uniform([-0.2, -0.15, 0.6], [0.2, 0.15, 0.9], (FRAMES, 1, 3))
    points = palm + rng.normal(0.0, 0.04, (FRAMES, JOINTS, 3))
    points[:, PALM] = palm[:, 0]
    return points


def noisy(points: np.ndarray, sigma: float = 0.006) -> np.ndarray:
    return points + np.random.default_rng(1).normal(0.0, sigma, points.shape)


def test_figures_of_known_errors() -> None:
    errors = np.full((4, JOINTS), 0.004)
    errors[1, 3] = 0.018  # the worst joint of a frame decides
    errors[3] = 0.050
    figures = hand_figures(errors, np.array([0, 0, 1, 1]))
    assert figures["mean_mm"] == pytest.approx((4 * 42 - 4 + 18 + 50 * 14) / 56)
    assert figures["subject_1_mm"] == pytest.approx(4.5) and figures["subject_2_mm"] == pytest.approx(27.0)
    assert figures["mean_max_mm"] == pytest.approx((4 + 18 + 4 + 50) / 4)
    assert [figures[f"within_{limit}_mm"] for limit in (10, 20, 30, 40)] == [0.5, 0.75, 0.75, 0.75]
    assert success(errors, 0.050) == 1.0


def test_other_frames_are_refused(true: np.ndarray) -> None:
    with pytest.raises(ValueError, match="39 frames of estimated joints, expected 40"):
        joint_errors(true[1:], true)


def test_honest_errors_arouse_no_suspicion(true: np.ndarray) -> None:
    assert suspicions(noisy(true), true, SUBJECTS) == []


def test_y_upside_down_is_noticed(true: np.ndarray) -> None:
    mirrored = noisy(true) * np.array([1.0, -1.0, 1.0])
    assert joint_errors(mirrored, true).mean() > 0.05
    (note,) = suspicions(mirrored, true, SUBJECTS)
    assert "y mirrored" in note


@pytest.mark.parametrize("subject", [0, 1])
def test_the_cube_of_the_other_subject_is_noticed(true: np.ndarray, subject: int) -> None:
    sides = cube_sides(SUBJECTS)
    centre = true[:, PALM]
    seen = normalised(noisy(true), centre, sides)
    assert suspicions(denormalised(seen, centre, sides), true, SUBJECTS) == []
    wrong = np.where(subject == SUBJECTS, cube_sides(1 - SUBJECTS), sides)
    (note,) = suspicions(denormalised(seen, centre, wrong), true, SUBJECTS)
    assert note.startswith(f"subject {subject + 1}: hands are ")
    assert ("cube of 250 instead of 300 mm", "cube of 300 instead of 250 mm")[subject] in note


def test_crops_about_the_annotated_palm_are_noticed(true: np.ndarray) -> None:
    centred = noisy(true)
    centred[:, PALM] = noisy(true, 1e-4)[:, PALM]
    (note,) = suspicions(centred, true, SUBJECTS)
    assert "annotated palm" in note


def test_the_curve_is_drawn_where_it_should_be(true: np.ndarray, tmp_path) -> None:
    good, bad = joint_errors(noisy(true), true), joint_errors(noisy(true, 0.03), true)
    pictures = []
    for errors in ({"good": good}, {"good": good, "bad": bad}):
        write_success_curve(tmp_path / "new" / "curve.png", errors)
        pictures.append(cv2.imread(str(tmp_path / "new" / "curve.png")))
    assert (pictures[0] != pictures[1]).any(axis=2).sum() > 300  # the second line
