"""Muon: steps are orthogonal, a linear map is learnt, vectors are refused."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.networks.precision import chosen_precision, use_precision
from pose_estimation_ros.training.muon import Muon, orthogonalised


@pytest.fixture(autouse=True, params=["float32", "bfloat16"])
def _precision(request):
    with use_precision(request.param):
        yield


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_singular_values_come_near_one(shape):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(3)) * 1e-4
    values = torch.linalg.svdvals(orthogonalised(matrix).float())
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.3


def test_directions_are_kept():
    matrix = torch.randn(12, 12, generator=torch.Generator().manual_seed(4))
    u, _, v = torch.linalg.svd(matrix)
    mixed = u.T @ orthogonalised(matrix).float() @ v.T
    off_diagonal = float((mixed - torch.diag(torch.diagonal(mixed))).abs().max())
    # Iterations stretch short directions, up to 3.4 times each, and their roundings: 2^-9 in bfloat16, else 2^-24.
    assert off_diagonal < (0.05 if chosen_precision() == "bfloat16" else 1e-5)


def test_a_convolution_is_learnt():
    generator = torch.Generator().manual_seed(5)
    truth, learnt = (torch.nn.Conv2d(4, 6, 3, bias=False) for _ in range(2))
    with torch.no_grad():
        for layer in (truth, learnt):
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
    optimiser = Muon(learnt.parameters(), lr=0.5, weight_decay=0.0)
    losses = []
    for step in range(150):
        optimiser.param_groups[0]["lr"] = 0.5 * (1.0 - step / 150)
        images = torch.randn(8, 4, 6, 6, generator=generator)
        loss = (learnt(images) - truth(images).detach()).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"Muon: a weight of shape \(7,\)"):
        Muon([torch.zeros(7, requires_grad=True)])
