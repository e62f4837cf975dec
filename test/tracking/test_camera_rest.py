"""The images alone tell whether the camera rests, to a fraction of a pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pose_estimation_ros.tracking.camera_rest import CameraRest

SIZE = (480, 640)


def _texture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return an image (H, W, 3) with edges at all places and in all directions."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(0, 255, (size[0] * 40 // size[1], 40, 3)).astype(np.float32)
    return np.clip(cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def _shifted(image: np.ndarray, x: float, y: float = 0.0) -> np.ndarray:
    matrix = np.array([[1, 0, x], [0, 1, y]], dtype=np.float32)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def _noisy(image: np.ndarray, seed: int, deviation: float = 5.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0.0, deviation, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def _told(images: list[np.ndarray]) -> list[bool]:
    rest = CameraRest()
    return [rest.update(image) for image in images]


def test_noise_is_no_motion_and_the_first_image_tells_nothing():
    assert _told([_noisy(_texture(0), seed) for seed in range(4)]) == [False, True, True, True]


@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.0, 1.0), (4.0, -3.0), (60.0, 20.0)])
def test_a_motion_ends_the_rest_for_one_image(shift):
    still, moved = _texture(0), _shifted(_texture(0), *shift)
    assert _told([_noisy(still, 1), _noisy(moved, 2), _noisy(moved, 3)]) == [False, False, True]


def test_a_slow_drift_adds_up():
    """A twentieth of a pixel an image is too little to be seen from one image to the next."""
    told = _told([_noisy(_shifted(_texture(0), 0.05 * step), step) for step in range(25)])
    assert 2 <= told[1:].count(False) <= 6


def test_things_that_move_hide_no_rest_and_other_light_is_no_motion():
    still, other = _texture(0), _texture(1)
    images = []
    for step in range(4):
        image = _noisy(np.clip(still * (1.0 + 0.02 * step) + 4.0 * step, 0, 255).astype(np.uint8), step)
        image[100:300, 50 * step : 50 * step + 250] = other[100:300, :250]
        images.append(image)
    assert _told(images) == [False, True, True, True]


def test_a_gripper_that_the_camera_carries_along_is_no_rest():
    """It stays where it is in the image, and before it is a plain table that nobody sees move."""
    table = np.full((*SIZE, 3), 120, dtype=np.uint8)
    table[300:, 150:500] = _texture(0)[300:, 150:500]
    assert _told([_noisy(table, seed, 1.0) for seed in range(3)]) == [False, False, False]


def test_another_scene_or_size_is_no_rest():
    wide = _texture(1, (360, 640))
    assert _told([_texture(0), _texture(1), wide, wide]) == [False, False, False, True]


@pytest.mark.parametrize("size", [(1, 1), (2000, 8), (8, 2000), (480, 640), (1080, 1920)])
def test_where_there_is_no_texture_nothing_is_known(size):
    blank = np.full((*size, 3), 90, dtype=np.uint8)
    assert _told([_noisy(blank, seed, 1.0) for seed in range(3)]) == [False, False, False]


def test_large_and_small_images_are_looked_at_alike():
    for size in ((120, 160), (720, 1280), (1080, 1920)):
        image = _texture(3, size)
        moved = _shifted(image, 0.01 * size[1])
        assert _told([image, _noisy(image, 1), moved, moved]) == [False, True, False, True]


def test_reset_forgets_the_images():
    rest = CameraRest()
    rest.update(_texture(0))
    rest.reset()
    assert not rest.update(_texture(0))
