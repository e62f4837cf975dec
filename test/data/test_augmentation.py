from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pose_estimation_ros.data.augmentation import color_jitter, low_resolution, sensor, uneven_light


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def checker(count: int = 8, size: int = 32) -> Tensor:
    """Return images whose neighbouring pixels are black and white."""
    index = torch.arange(size)
    pattern = ((index[:, None] + index[None]) % 2).float()
    return pattern.expand(count, 3, size, size).clone()


def test_low_resolution_removes_what_few_pixels_cannot_hold() -> None:
    blurred = low_resolution(checker(), generator(), (8.0, 8.0), noise=0.0)
    assert blurred.std() < 0.02
    torch.testing.assert_close(blurred.mean(), torch.tensor(0.5), atol=1e-3, rtol=0.0)


def test_full_resolution_keeps_a_smooth_image() -> None:
    ramp = torch.linspace(0.2, 0.8, 32).expand(8, 3, 32, 32)
    same = low_resolution(ramp, generator(), (32.0, 64.0), noise=0.0)
    torch.testing.assert_close(same[..., 2:-2], ramp[..., 2:-2], atol=1e-5, rtol=0.0)


def test_noise_has_the_level_asked_for_and_no_bias() -> None:
    grey = torch.full((64, 3, 32, 32), 0.5)
    noisy = sensor(grey, generator(), noise=0.1)
    per_image = (noisy - 0.5).std(dim=(1, 2, 3))
    assert per_image.max() < 0.1 * 1.3 and per_image.max() > 0.06
    assert (noisy.mean() - 0.5).abs() < 2e-3


def test_color_jitter_is_different_for_every_image_and_keeps_order() -> None:
    ramp = torch.linspace(0.1, 0.9, 16).expand(6, 3, 16, 16)
    out = color_jitter(ramp, generator())
    assert (out[..., 1:] >= out[..., :-1] - 1e-6).all()  # brighter stays brighter
    assert torch.unique(out.mean(dim=(1, 2, 3))).numel() == 6
    untouched = color_jitter(ramp, generator(), strength=0.0)
    torch.testing.assert_close(untouched, ramp, atol=1e-5, rtol=0.0)


def test_uneven_light_leaves_about_half_of_the_images_alone() -> None:
    flat = torch.full((200, 3, 16, 16), 0.5)
    changed = (uneven_light(flat, generator()) - flat).abs().amax(dim=(1, 2, 3)) > 1e-6
    assert 0.35 < changed.float().mean() < 0.65


@pytest.mark.parametrize("function", [color_jitter, sensor, uneven_light])
def test_same_seed_same_images(function) -> None:
    images = checker()
    torch.testing.assert_close(function(images, generator(4)), function(images, generator(4)), rtol=0.0, atol=0.0)
