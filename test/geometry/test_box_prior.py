"""A box and a rotation place an object; a box cut by the image's rim does not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pose_estimation_ros.geometry.box_prior import BoxUncertainty, places_in_box, translation_prior_from_box

INTRINSICS = np.array([[600.0, 0.0, 320.0], [0.0, 620.0, 240.0], [0.0, 0.0, 1.0]])
SIZE = (640, 480)
UNCERTAINTY = BoxUncertainty(centre_sigma=0.03, log_size_sigma=0.03, redundancy=4.0)
# Corners of a lopsided shape whose origin is not its centre.
OUTLINE = np.array([[x, y, z] for x in (-0.02, 0.08) for y in (-0.05, 0.01) for z in (0.0, 0.12)])


def pose_of(turn: tuple[float, float, float], place: tuple[float, float, float]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(np.array(turn))[0], place
    return pose


def pixels_of(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    seen = (points @ pose[:3, :3].T + pose[:3, 3]) @ INTRINSICS.T
    return seen[:, :2] / seen[:, 2:]


def box_of(pose: np.ndarray) -> np.ndarray:
    pixels = pixels_of(OUTLINE, pose)
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


@pytest.mark.parametrize("place", [(0.0, 0.0, 1.0), (0.25, -0.15, 0.9), (-0.3, 0.2, 1.2)])
@pytest.mark.parametrize("turn", [(0.3, -0.4, 0.2), (2.0, 0.5, -0.7)])
def test_the_true_rotation_gives_the_true_place(
    turn: tuple[float, float, float], place: tuple[float, float, float]
) -> None:
    pose = pose_of(turn, place)
    guess = pose.copy()
    guess[:3, 3] = 0.1, 0.1, 3.0  # only the rotation is used
    translation_prior = translation_prior_from_box(guess, OUTLINE, box_of(pose), INTRINSICS, SIZE, UNCERTAINTY)
    assert translation_prior is not None
    in_camera = pose[:3, :3] @ translation_prior.point + pose[:3, 3]
    assert translation_prior.depth_m == pytest.approx(in_camera[2], rel=0.005)
    assert np.abs(pixels_of(translation_prior.point[None], pose)[0] - translation_prior.pixel).max() < 0.5


def test_deviations_grow_with_the_box() -> None:
    near, far = (
        translation_prior_from_box(
            pose, OUTLINE, box_of(pose), INTRINSICS, SIZE, replace(UNCERTAINTY, centre_sigma=0.05)
        )
        for pose in (pose_of((0.3, -0.4, 0.2), (0.0, 0.0, z)) for z in (0.6, 1.2))
    )
    assert near is not None and far is not None
    np.testing.assert_allclose(near.pixel_deviation / far.pixel_deviation, 2.0, rtol=0.1)


@pytest.mark.parametrize(
    "box",
    [
        (-0.5, 50.0, 80.0, 120.0),  # at the left rim
        (500.0, 50.0, 639.5, 120.0),  # at the right rim
        (50.0, 60.0, 50.0, 90.0),  # empty
    ],
)
def test_a_box_that_is_cut_off_or_empty_places_nothing(box: tuple[float, ...]) -> None:
    pose = pose_of((0.3, -0.4, 0.2), (0.0, 0.0, 1.0))
    assert translation_prior_from_box(pose, OUTLINE, np.array(box), INTRINSICS, SIZE, UNCERTAINTY) is None


def test_a_box_that_puts_the_camera_into_the_object_places_nothing() -> None:
    box = box_of(pose_of((0.3, -0.4, 0.2), (0.0, 0.0, 1.0)))
    deep, ahead = OUTLINE * [1.0, 1.0, 40.0], pose_of((0.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    assert translation_prior_from_box(ahead, deep, box, INTRINSICS, SIZE, UNCERTAINTY) is None


def test_many_rotations_are_placed_as_one_by_one() -> None:
    box = np.array([200.0, 150.0, 300.0, 290.0])
    poses = [pose_of((0.3, -0.4, 0.2), (0.0, 0.0, 1.0)), pose_of((2.0, 0.5, -0.7), (0.0, 0.0, 1.0))]
    places = places_in_box(np.stack([pose[:3, :3] for pose in poses]), OUTLINE, box, INTRINSICS)
    for pose, place in zip(poses, places, strict=True):
        prior = translation_prior_from_box(pose, OUTLINE, box, INTRINSICS, SIZE, UNCERTAINTY)
        assert prior is not None
        assert place[2] == pytest.approx(prior.depth_m, rel=1e-9)
        np.testing.assert_allclose(INTRINSICS @ place / place[2], [*prior.pixel, 1.0], rtol=1e-9)


def test_a_box_wider_than_the_object_can_be_has_no_place() -> None:
    places = places_in_box(np.eye(3)[None], OUTLINE, np.array([-9e3, -9e3, 9e3, 9e3]), INTRINSICS)
    assert np.isnan(places).all()
