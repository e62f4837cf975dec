"""Crops: what a crop pixel shows is what its own camera matrix says, at every scale and across the border."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from pose_estimation_ros.data.crops import crop_frame, cut_squares, squares_around
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.camera import Camera

INTRINSICS = np.array([[500.0, 0.0, 158.0], [0.0, 510.0, 121.0], [0.0, 0.0, 1.0]])
CPU = torch.device("cpu")


def _ramps() -> torch.Tensor:
    """An image whose red is its column and whose green is its row, scaled into [0, 1]."""
    rows, columns = torch.meshgrid(torch.arange(240.0), torch.arange(320.0), indexing="ij")
    return torch.stack([columns / 320.0, rows / 240.0, torch.full_like(rows, 0.25)])


@pytest.mark.parametrize("side", [20.0, 64.0, 75.0, 128.0, 200.0])  # enlarged, same size, reduced by up to 3
def test_a_crop_pixel_shows_the_ray_of_its_own_camera(side):
    squares = torch.tensor([[150.3, 119.2, side], [162.0, 121.5, side]])
    crops = cut_squares(_ramps(), torch.from_numpy(INTRINSICS).float(), squares, torch.tensor([0, 1]), 64)
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    for index in range(2):
        rays = torch.stack([columns, rows, torch.ones_like(rows)], -1) @ torch.linalg.inv(crops.camera[index]).T
        in_image = rays @ torch.from_numpy(INTRINSICS).float().T
        torch.testing.assert_close(crops.pixels[index, 0], in_image[..., 0] / 320.0, atol=2e-4, rtol=0)
        torch.testing.assert_close(crops.pixels[index, 1], in_image[..., 1] / 240.0, atol=2e-4, rtol=0)


def test_a_crop_of_the_same_size_is_the_window_of_the_image():
    image = torch.rand(3, 240, 320, generator=torch.Generator().manual_seed(0))
    square = torch.tensor([[100 + 31.5, 50 + 31.5, 64.0]])
    crops = cut_squares(image, torch.from_numpy(INTRINSICS).float(), square, torch.tensor([0]), 64)
    torch.testing.assert_close(crops.pixels[0], image[:, 50:114, 100:164], atol=1e-5, rtol=0)
    expected = Camera(INTRINSICS, 320, 240).crop(100, 50, 64, 64).intrinsics
    np.testing.assert_allclose(crops.camera[0], expected, atol=1e-4)


def test_crop_camera_is_that_of_cropping_and_resizing():
    square = torch.tensor([[120.5, 100.5, 42.0]])
    crops = cut_squares(_ramps(), torch.from_numpy(INTRINSICS).float(), square, torch.tensor([0]), 128)
    window = Camera(INTRINSICS, 320, 240).crop(100, 80, 42, 42).resize(128, 128)
    np.testing.assert_allclose(crops.camera[0], window.intrinsics, rtol=1e-5)


def test_fine_patterns_average_out_when_reduced():
    rows, columns = torch.meshgrid(torch.arange(240), torch.arange(320), indexing="ij")
    board = ((rows + columns) % 2).float().expand(3, -1, -1)
    square = torch.tensor([[160.0, 120.0, 128.0], [161.3, 119.4, 200.0]])
    crops = cut_squares(board, torch.from_numpy(INTRINSICS).float(), square, torch.tensor([0, 0]), 64)
    assert (crops.pixels - 0.5).abs().max() < 0.02


def test_outside_the_image_is_grey():
    white = torch.ones(3, 240, 320)
    square = torch.tensor([[0.0, 120.0, 64.0]])
    crops = cut_squares(white, torch.from_numpy(INTRINSICS).float(), square, torch.tensor([0]), 64)
    assert torch.allclose(crops.pixels[0, :, :, :31], torch.tensor(0.5))
    assert torch.allclose(crops.pixels[0, :, :, 33:], torch.tensor(1.0))


def test_squares_have_the_centre_and_the_padded_longer_side():
    squares = squares_around(np.array([[10, 20, 50, 30], [5, 5, 5, 5]]), padding=1.5)
    np.testing.assert_allclose(squares, [[30, 25, 60], [5, 5, 2]])  # an empty box still gives a square


def test_detections_keep_their_order_and_read_only_images_are_welcome():
    rgb = (255 * _ramps().permute(1, 2, 0).numpy()).astype(np.uint8)
    rgb.flags.writeable = False  # as images from messages are
    frame = Frame(rgb, Camera(INTRINSICS, 320, 240))
    detections = [Detection(3, 0.9, np.array([10.0, 10, 40, 30])), Detection(1, 0.8, np.array([200.0, 100, 260, 180]))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        crops = crop_frame(frame, detections, 32, 1.5, CPU)
    assert crops.object_index.tolist() == [3, 1]
    assert crops.pixels[1, 0].mean() == pytest.approx(230 / 320, abs=0.01)
    assert crops.pixels[1, 1].mean() == pytest.approx(140 / 240, abs=0.01)


def test_mirrored_views_of_an_image_are_welcome():
    bgr = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    camera = Camera(INTRINSICS, 320, 240)
    detections = [Detection(0, 0.9, np.array([10.0, 10, 40, 30]))]
    view = crop_frame(Frame(bgr[..., ::-1], camera), detections, 32, 1.5, CPU)
    copy = crop_frame(Frame(bgr[..., ::-1].copy(), camera), detections, 32, 1.5, CPU)
    torch.testing.assert_close(view.pixels, copy.pixels)


def test_no_detections_give_no_crops():
    frame = Frame(np.zeros((240, 320, 3), np.uint8), Camera(INTRINSICS, 320, 240))
    crops = crop_frame(frame, [], 32, 1.5, CPU)
    assert len(crops) == 0 and crops.pixels.shape == (0, 3, 32, 32)
