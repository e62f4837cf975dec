"""A training on a GPU learns what one on a CPU learns, and waits for it when it writes a line of the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer

from ..pretended_cuda import CUDA, Log, pretended_cuda

CONFIG = OptimiserConfig(batch=8, learning_rate=0.05, warmup_samples=80, ema_samples=400, weight_decay=0.0, bf16=False)
STEPS = 120


@pytest.fixture
def device() -> Iterator[Log]:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: see scripts/gpu_check.sh")
    with pretended_cuda() as log:
        yield log


def trainer(folder: Path, place: torch.device) -> Trainer:
    torch.manual_seed(0)
    return Trainer(nn.Linear(2, 1).to(place), CONFIG, 8000, folder)


def batches(place: torch.device) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    every = torch.rand(STEPS, 8, 2, generator=generator).to(place)
    yield from every


def step(network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    loss = (network(batch) - (2.0 * batch[:, :1] - batch[:, 1:] + 0.5)).square().mean()
    return loss, {"error": loss.detach().sqrt()}


def test_the_host_waits_when_it_logs(device: Log, tmp_path: Path):
    run, sent = trainer(tmp_path, CUDA), list(batches(CUDA))
    device.clear()
    assert run.train(iter(sent), step, 8 * STEPS, "all")
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert len(lines) == STEPS // 50
    assert device.count <= len(lines) + 1, device.waits  # and for the steps since, before the checkpoint is written


def test_it_learns_the_same(tmp_path: Path, request: pytest.FixtureRequest):
    here = trainer(tmp_path / "cpu", torch.device("cpu"))
    here.train(batches(torch.device("cpu")), step, 8 * STEPS, "all")
    request.getfixturevalue("device")
    there = trainer(tmp_path / "cuda", CUDA)
    there.train(batches(CUDA), step, 8 * STEPS, "all")
    for name, value in here.averaged_state().items():
        torch.testing.assert_close(there.averaged_state()[name].cpu(), value)
    first, second = (
        json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[-1]) for name in ("cpu", "cuda")
    )
    assert second["loss"] == pytest.approx(first["loss"], rel=1e-3, abs=1e-5)


def test_a_loss_that_is_not_finite_spoils_no_checkpoint(device: Log, tmp_path: Path):
    run = trainer(tmp_path, CUDA)
    run.train(batches(CUDA), step, 80, "good")
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def broken(network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return network(batch).mean() * float("nan"), {}

    with pytest.raises(FloatingPointError, match="loss is nan after"):
        run.train(batches(CUDA), broken, 400, "broken")
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
