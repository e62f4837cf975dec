"""Which number format networks run in."""

from __future__ import annotations

import pytest
import torch

from pose_estimation_ros.networks.precision import autocast, runs_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("amx", "avx512", "expected"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_bfloat16_is_used_where_the_processor_computes_in_it(monkeypatch, amx, avx512, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    assert runs_bfloat16(CPU) is expected
    with autocast(CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if expected else torch.float32)


def test_a_release_of_pytorch_that_cannot_tell_runs_in_float32(monkeypatch):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not runs_bfloat16(CPU)
