"""One map of all resolutions is sampled as each resolution would be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.data.pyramid import GREY, Pyramid, picture_of
from pose_estimation_ros.geometry.camera import Camera


def random_image(height: int, width: int) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(48, 64), (37, 53), (1, 70), (5, 1)])
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_samples_are_those_of_the_averaged_image(size: tuple[int, int], level: int):
    image, factor = random_image(*size), 2**level
    generator = torch.Generator().manual_seed(1)
    place = torch.rand(1, 9, 9, 2, generator=generator) * torch.tensor([size[1], size[0]]) * 1.4 - 0.2 * max(size)
    small = F.avg_pool2d(image[None], factor, ceil_mode=True)
    grid = 2.0 * (place + 0.5) / factor / torch.tensor([small.shape[3], small.shape[2]]) - 1.0
    expected = F.grid_sample(small - GREY, grid, align_corners=False) + GREY
    found = Pyramid.of(image).sample(place, torch.tensor([factor * 1.2]))
    levels = max(size).bit_length()
    if level < levels:
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0.0)


def test_samples_of_every_scale_are_taken_at_once():
    pyramid = Pyramid.of(random_image(60, 80))
    place = torch.rand(4, 5, 5, 2, generator=torch.Generator().manual_seed(1)) * 60.0
    reduction = torch.tensor([0.3, 1.0, 2.5, 9.0])
    together = pyramid.sample(place, reduction)
    for number in range(4):
        alone = pyramid.sample(place[number : number + 1], reduction[number : number + 1])
        torch.testing.assert_close(together[number : number + 1], alone)


def test_beyond_the_last_level_and_at_no_scale_something_is_seen():
    image = torch.full((3, 4, 4), 0.25)
    found = Pyramid.of(image).sample(torch.full((2, 1, 1, 2), 1.5), torch.tensor([1e6, float("nan")]))
    torch.testing.assert_close(found, torch.full_like(found, 0.25), atol=1e-5, rtol=0.0)


def test_a_frame_is_prepared_once():
    frame = Frame(np.full((6, 8, 3), 51, dtype=np.uint8), Camera(np.diag([9.0, 9.0, 1.0]), 8, 6))
    pyramid, intrinsics = picture_of(frame, torch.device("cpu"))
    torch.testing.assert_close(pyramid.image, torch.full((3, 6, 8), 0.2))
    torch.testing.assert_close(intrinsics, torch.diag(torch.tensor([9.0, 9.0, 1.0])))
    assert picture_of(frame, torch.device("cpu"))[0] is pyramid
