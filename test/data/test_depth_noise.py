"""The noise of structured-light cameras: shadows where they belong, steps of disparity, torn edges, holes."""

from __future__ import annotations

import math

import pytest
import torch

from pose_estimation_ros.data.depth_noise import DepthNoise, add_depth_noise

QUIET = DepthNoise(disparity_noise_px=0.0, torn_share=0.0, hole_share=0.0)
INTRINSICS = torch.tensor([[[580.0, 0.0, 63.5], [0.0, 580.0, 47.5], [0.0, 0.0, 1.0]]])


def seen(depth: torch.Tensor, noise: DepthNoise) -> torch.Tensor:
    return add_depth_noise(depth, INTRINSICS, noise, torch.Generator().manual_seed(2))


def test_a_near_plate_throws_a_shadow_to_its_left_as_wide_as_the_baseline_makes_it():
    depth = torch.full((1, 96, 128), 0.8)
    depth[0, 30:60, 70:100] = 0.6
    lost = torch.isinf(seen(depth, QUIET))[0]
    width = 580.0 * QUIET.baseline_m * (1.0 / 0.6 - 1.0 / 0.8)
    rows = lost[35:55]
    assert rows.sum(dim=1).float().mean() == pytest.approx(width, abs=1.5)
    assert rows[:, 70 - round(width) + 1 : 69].all() and not rows[:, 72:98].any() and not lost[:25].any()


def test_depth_comes_in_steps_of_disparity():
    depth = torch.linspace(0.5, 1.0, 128).expand(1, 96, 128)
    disparity = 580.0 * QUIET.baseline_m / seen(depth, QUIET)[0]
    steps = disparity[torch.isfinite(disparity)] / QUIET.disparity_step_px
    assert torch.allclose(steps, steps.round(), atol=1e-3) and len(steps.round().unique()) > 100


def test_noise_grows_with_the_squared_distance():
    noise = DepthNoise(torn_share=0.0, hole_share=0.0, disparity_step_px=1e-3)
    near, far = (seen(torch.full((1, 96, 128), z), noise).std() for z in (0.5, 1.0))
    assert far / near == pytest.approx(4.0, rel=0.1)


def test_holes_cover_their_share_and_nothing_stays_nothing():
    depth = torch.full((1, 480, 640), 0.7)
    depth[0, :100] = torch.inf
    lost = torch.isinf(seen(depth, DepthNoise(torn_share=0.0, hole_share=0.05)))[0]
    assert lost[:100].all() and lost[100:].float().mean() == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("across", [True, False])
def test_torn_edges_show_what_is_beside_them_and_nothing_else_is_moved(across: bool):
    # A tiny baseline has no shadows, and steps of disparity that cannot be seen.
    noise = QUIET.model_copy(
        update={"torn_share": 0.5, "baseline_m": 1e-4, "disparity_step_px": 1e-7, "grazing_deg": 89.9}
    )
    depth = torch.full((1, 1000, 128), 0.6)
    depth[:, :, 64:] = 0.8
    torn = seen(depth if across else depth.transpose(1, 2), noise)
    (torn,) = torn if across else torn.transpose(1, 2)
    near, far = (torn - 0.6).abs() < 1e-3, (torn - 0.8).abs() < 1e-3
    assert (near | far | torch.isinf(torn)).all() and torch.isinf(torn).float().mean() < 1e-3
    assert not far[:, :63].any() and not near[:, 65:].any()
    # Half of the pixels are taken from beside, half of these from the other side of the edge.
    assert far[:, 63].float().mean() == pytest.approx(0.25, abs=0.05)
    assert near[:, 64].float().mean() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("across", [True, False])
@pytest.mark.parametrize(("degrees", "is_lost"), [(0.0, False), (75.0, False), (84.0, True)])
def test_surfaces_seen_at_a_grazing_angle_are_not_measured(across: bool, degrees: float, is_lost: bool):
    # The plane z = 0.7 + x tan(angle), the further right, or further down, the further away.
    place = torch.arange(-10, 11)
    strip = 0.7 / (1.0 - math.tan(math.radians(degrees)) * place / 580.0)
    depth = torch.full((1, 96, 96), torch.inf)
    depth[0, :, 40:61] = strip
    lost = torch.isinf(seen(depth if across else depth.transpose(1, 2), QUIET))
    (lost,) = lost if across else lost.transpose(1, 2)
    inner = lost[:-1, 40:60]  # beside what was not measured there is no slope
    assert inner.all() if is_lost else not inner.any()
