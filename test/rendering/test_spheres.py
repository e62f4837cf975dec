"""Depth of spheres against the rays themselves."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.rendering.spheres import sphere_depth

HEIGHT, WIDTH = 40, 56
INTRINSICS = torch.tensor([[60.0, 0.0, 27.5], [0.0, 64.0, 20.0], [0.0, 0.0, 1.0]])


def random_spheres(batch: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    centres = torch.rand(batch, count, 3, generator=generator) * torch.tensor([1.2, 1.0, 0.8])
    return centres - torch.tensor([0.6, 0.5, -0.5]), 0.01 + 0.08 * torch.rand(batch, count, generator=generator)


def every_ray(centres: torch.Tensor, radii: torch.Tensor) -> torch.Tensor:
    """Meet every sphere (N, 3) with every ray, in float64."""
    v, u = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    rays = torch.stack([(u - 27.5) / 60.0, (v - 20.0) / 64.0, torch.ones_like(u)], dim=2).double()
    a, b = rays.square().sum(dim=2)[..., None], rays @ centres.double().T
    square = b.square() - a * (centres.double().square().sum(dim=1) - radii.double().square())
    return torch.where(square > 0.0, (b - square.clamp(min=0.0).sqrt()) / a, torch.inf).amin(dim=2)


def test_windows_miss_nothing_that_rays_through_every_pixel_meet():
    centres, radii = random_spheres(3, 80)
    found = sphere_depth(centres, radii, INTRINSICS.expand(3, 3, 3), HEIGHT, WIDTH)
    for one in range(3):
        true = every_ray(centres[one], radii[one])
        agree = torch.isinf(true) == torch.isinf(found[one])
        assert agree.float().mean() > 0.998  # rays that graze are met or not as rounding has it
        both = torch.isfinite(true) & torch.isfinite(found[one])
        assert (true - found[one])[both].abs().quantile(0.999) < 1e-3 and both.sum() > 300


def test_spheres_outside_the_image_and_behind_others_are_not_seen():
    centres = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 0.0, 0.6], [5.0, 0.0, 1.0]]])
    found = sphere_depth(centres, torch.tensor([[0.05, 0.03, 0.05]]), INTRINSICS[None], HEIGHT, WIDTH)
    assert torch.isclose(found[0, 20, 27], torch.tensor(0.57), atol=1e-3)
    assert torch.isinf(found[0, :, -1]).all()


def test_a_sphere_about_the_camera_is_refused():
    with pytest.raises(ValueError, match="reaches the plane of the camera"):
        sphere_depth(torch.tensor([[[0.0, 0.0, 0.04]]]), torch.tensor([[0.05]]), INTRINSICS[None], HEIGHT, WIDTH)
