"""The refiner's network: what the solver makes of flow, what is compared with what, where attention may lie."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.networks import attention_net
from pose_estimation_ros.networks.attention_flow import Updates, flow_jacobian, point_flow, solve_updates
from pose_estimation_ros.networks.attention_net import CELL, RENDERED, AttentionNet, correlation
from pose_estimation_ros.networks.attention_paper import make_attention_net

CELLS = 12


def _scene(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return points (B, 3, h, w) over the radius, distances and extents in diameters."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 3, CELLS, CELLS, generator=generator, dtype=torch.float64) * 1.6 - 0.8
    distance = torch.rand(count, generator=generator, dtype=torch.float64) * 6.0 + 3.0
    return points, distance, torch.full((count,), 1.3, dtype=torch.float64)


def _flow(points: Tensor, update: Tensor, distance: Tensor, extent: Tensor) -> Tensor:
    before = points.flatten(2) / 2.0
    after = matrix_from_axis_angle(update[:, 3:]) @ before
    return point_flow(before, after, update[:, :2], update[:, 2], distance, extent, CELLS)


def test_jacobian_is_that_of_the_flow():
    points, distance, extent = _scene(0, 1)

    def flow(update: Tensor) -> Tensor:
        return _flow(points, update[None], distance, extent)[0]

    numeric = torch.autograd.functional.jacobian(flow, torch.zeros(6, dtype=torch.float64))
    exact = flow_jacobian(points.flatten(2) / 2.0, distance, extent, CELLS)[0].permute(2, 1, 0)
    torch.testing.assert_close(exact, numeric, atol=1e-10, rtol=0.0)


def test_exact_flow_gives_the_update_back_in_every_stream():
    points, distance, extent = _scene(1, 6)
    generator = torch.Generator().manual_seed(2)
    scale = torch.tensor([0.05, 0.05, 0.08, 0.2, 0.2, 0.2], dtype=torch.float64)
    update = torch.randn(6, 6, generator=generator, dtype=torch.float64) * scale
    flow = _flow(points, update, distance, extent).transpose(1, 2).reshape(6, 2, CELLS, CELLS)
    share = torch.rand(6, 3, CELLS * CELLS, generator=generator, dtype=torch.float64).softmax(dim=2)
    solved = solve_updates(points, flow, share, torch.full((6,), -30.0), distance, extent).all
    torch.testing.assert_close(solved, update[:, None].expand(-1, 3, -1), atol=1e-4, rtol=0.0)


def test_what_gets_no_attention_changes_nothing():
    points, distance, extent = _scene(3, 2)
    update = torch.tensor([[0.03, -0.02, 0.05, 0.1, -0.1, 0.05]], dtype=torch.float64).expand(2, -1)
    flow = _flow(points, update, distance, extent).transpose(1, 2).reshape(2, 2, CELLS, CELLS)
    wrong = flow.clone()
    wrong[:, :, :, : CELLS // 3] += 5.0  # as under an occluder
    share = torch.ones(2, 3, CELLS, CELLS, dtype=torch.float64)
    share[..., : CELLS // 3] = 0.0
    share = (share / share.sum(dim=(2, 3), keepdim=True)).flatten(2)
    solved = solve_updates(points, wrong, share, torch.full((6,), -30.0), distance, extent)
    torch.testing.assert_close(solved.combined, update, atol=1e-4, rtol=0.0)


@pytest.mark.parametrize(("stream", "axes"), [("shift", slice(0, 2)), ("distance", slice(2, 3)), ("turn", slice(3, 6))])
def test_updates_scatter_as_said_where_three_cells_are_independent(stream: str, axes: slice) -> None:
    """Where all of them are, the covariance is too large by their number over three."""
    points, distance, extent = (item[:1].expand(400, *item.shape[1:]) for item in _scene(5, 1))
    flow = 0.1 * torch.randn(400, 2, CELLS, CELLS, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    share = torch.full((400, 3, CELLS**2), 1.0 / CELLS**2, dtype=torch.float64)
    solved = solve_updates(points, flow, share, torch.full((6,), -30.0), distance, extent)
    update, covariance = solved.combined[:, axes], solved.covariance[:, axes, axes]
    squared = torch.einsum("bi,bij,bj->b", update, torch.linalg.inv(covariance), update) * CELLS**2 / 3.0
    assert 0.8 < float(squared.mean()) / update.shape[1] < 1.2, stream


def test_the_covariance_of_updates_grows_with_what_the_flow_cannot_explain() -> None:
    points, distance, extent = _scene(7, 2)
    noise = torch.randn(2, 2, CELLS, CELLS, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    share = torch.full((2, 3, CELLS * CELLS), 1.0 / CELLS**2, dtype=torch.float64)
    arguments = (share, torch.full((6,), -30.0), distance, extent)
    small, large = (solve_updates(points, scale * noise, *arguments).covariance for scale in (0.01, 0.02))
    torch.testing.assert_close(large, 4.0 * small, rtol=1e-2, atol=0.0)
    torch.testing.assert_close(small, small.mT)
    assert float(torch.linalg.eigvalsh(small).min()) > 0.0
    assert not small[:, 2, [0, 1, 3, 4, 5]].any()  # streams do not mix


def test_correlation_is_the_cosine_with_every_near_cell():
    generator = torch.Generator().manual_seed(4)
    here, there = torch.randn(2, 2, 5, 6, 7, generator=generator).unbind(0)
    found = correlation(here, there, 2)
    assert found.shape == (2, 25, 6, 7)
    a, b = (F.normalize(item - item.mean(dim=(2, 3), keepdim=True), dim=1) for item in (here, there))
    for down, across in ((0, 0), (-2, 1), (1, 2)):
        channel = (down + 2) * 5 + across + 2
        expected = (a[:, :, 3, 3] * b[:, :, 3 + down, 3 + across]).sum(dim=1) * 2.0**0.5
        torch.testing.assert_close(found[:, channel, 3, 3], expected)
    assert found[:, 0, 0, 0].abs().max() == 0.0  # off the image


def _pair(count: int = 2, size: int = 48) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    rendered = torch.zeros(count, RENDERED, size, size)
    part = slice(size // 4, 3 * size // 4)
    rendered[:, :6, part, part] = torch.rand(count, 6, size // 2, size // 2, generator=generator)
    rendered[:, 6, part, part] = 1.0
    observed = torch.rand(count, 3, size, size, generator=generator)
    return observed, rendered, torch.full((count,), 5.0), torch.full((count,), 1.3)


@pytest.mark.parametrize("attention", [True, False])
def test_attention_lies_on_the_rendered_object_and_sums_to_one(attention):
    torch.manual_seed(0)
    network = AttentionNet(attention=attention).eval()
    with torch.no_grad():
        torch.nn.init.normal_(network.out.weight, std=0.5)
        prediction = network(*_pair())
    cells = 48 // CELL
    assert prediction.attention.shape == (2, 3, cells, cells)
    torch.testing.assert_close(prediction.attention.sum(dim=(2, 3)), torch.ones(2, 3))
    outside = torch.ones(cells, cells, dtype=torch.bool)
    outside[cells // 4 : 3 * cells // 4, cells // 4 : 3 * cells // 4] = False
    assert prediction.attention[..., outside].abs().max() < 1e-6
    inside = prediction.attention[..., ~outside]
    assert (inside.amax() / inside.amin() > 1.5) == attention


def test_the_same_picture_twice_looks_alike():
    torch.manual_seed(0)
    network = AttentionNet().eval()
    observed, rendered, distance, extent = _pair()
    rendered[:, :3] = rendered[:, :3] * rendered[:, 6:]
    same = rendered[:, :3] + 0.45 * (1.0 - rendered[:, 6:])
    with torch.no_grad():
        alike, other = (network(image, rendered, distance, extent).similarity for image in (same, observed))
    torch.testing.assert_close(alike, torch.ones(2), atol=1e-4, rtol=0.0)
    assert (other < 0.9).all()


def test_an_object_that_is_nowhere_in_the_rendering_gives_finite_numbers():
    network = AttentionNet().eval()
    observed, rendered, distance, extent = _pair()
    with torch.no_grad():
        prediction = network(observed, torch.zeros_like(rendered), distance, extent)
    for item in (
        prediction.shift,
        prediction.log_distance,
        prediction.axis_angle,
        prediction.log_error,
        prediction.attention,
    ):
        assert torch.isfinite(item).all()
    torch.testing.assert_close(prediction.attention.sum(dim=(2, 3)), torch.ones(2, 3))


@pytest.mark.parametrize("size", [80, 152])
def test_the_network_of_the_paper_takes_the_usual_sizes_and_answers_in_single_precision(size: int) -> None:
    torch.manual_seed(0)
    network = make_attention_net("paper", growth=2, layers=(1, 1, 1, 1, 1, 1), up=(1, 1, 1), first=4, hidden=8).eval()
    torch.nn.init.normal_(network.says[0][1].weight)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        prediction = network(*_pair(size=size))
    assert {
        item.dtype for item in (prediction.shift, prediction.log_distance, prediction.axis_angle, prediction.log_error)
    } == {torch.float32}
    assert prediction.shift.abs().min() > 0.0
    torch.testing.assert_close(prediction.attention.sum(dim=(2, 3)), torch.ones(2, 3))


def test_eight_bit_networks_solve_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def spy(*arguments: Tensor) -> Updates:
        calls.append((arguments, solve_updates(*arguments)))
        return calls[-1][1]

    monkeypatch.setattr(attention_net, "solve_updates", spy)
    torch.manual_seed(0)
    network = AttentionNet().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.nn.init.normal_(network.out.weight, std=0.5)
        prediction = network(*_pair())
    ((arguments, solved),) = calls
    exact = solve_updates(*(item.double() for item in arguments))
    assert solved.all.abs().max() > 0.01
    torch.testing.assert_close(solved.all.double(), exact.all, atol=1e-4, rtol=1e-3)
    assert prediction.shift.dtype == prediction.axis_angle.dtype == prediction.log_error.dtype == torch.float32


def test_unknown_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="variant = 'huge': expected compact or paper"):
        make_attention_net("huge")


def test_a_frozen_encoder_stays_as_it_is_in_training():
    network = AttentionNet().train()
    before = {key: value.clone() for key, value in network.encoder.state_dict().items()}
    network(*_pair()).shift.sum().backward()
    assert all(parameter.grad is None for parameter in network.encoder.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.encoder.state_dict().items())
    assert network.out.weight.grad is not None and network.out.weight.grad.abs().sum() > 0.0
