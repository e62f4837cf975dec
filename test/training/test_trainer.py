from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pose_estimation_ros.methods.heatmaps.training import HeatmapsRecipe
from pose_estimation_ros.training.muon import Muon
from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer

CONFIG = OptimiserConfig(batch=8, learning_rate=0.05, warmup_samples=80, ema_samples=400, weight_decay=0.0, bf16=False)


def batches(seed: int = 0) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.rand(8, 2, generator=generator)


def step(network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    loss = (network(batch) - (batch @ torch.tensor([[2.0], [-1.0]]) + 0.5)).square().mean()
    return loss, {"error": loss.detach().sqrt()}


def trainer(folder: Path, resume: bool = False) -> Trainer:
    torch.manual_seed(0)
    return Trainer(nn.Linear(2, 1), CONFIG, 8000, folder, resume)


def test_learns_a_linear_function_and_logs_it(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    assert run.train(batches(), step, 8000, "all")
    averaged = run.averaged_state()
    torch.testing.assert_close(averaged["weight"], torch.tensor([[2.0, -1.0]]), atol=0.03, rtol=0.0)
    torch.testing.assert_close(averaged["bias"], torch.tensor([0.5]), atol=0.03, rtol=0.0)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["loss"] < 0.01 * log[0]["loss"]
    assert log[-1]["samples"] == 8000


def test_resumes_where_it_stopped(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole")
    stream = batches()
    whole.train(stream, step, 1600, "whole")
    parts = trainer(tmp_path / "parts")
    stream = batches()
    parts.train(stream, step, 800, "first")
    again = trainer(tmp_path / "parts", resume=True)
    assert again.samples == 800
    again.train(stream, step, 1600, "second")
    torch.testing.assert_close(again.network.weight, whole.network.weight)


def test_muon_takes_the_kernels_and_resumes(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"kind": "muon"})

    def convolutional(folder: Path, resume: bool = False) -> Trainer:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 1, 1))
        return Trainer(network, config, 8000, folder, resume)

    def brightest(network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (network(batch.repeat(1, 2)[:, :3, None, None])[:, 0, 0, 0] - batch.amax(dim=1)).square().mean()
        return loss, {"error": loss.detach()}

    whole, stream = convolutional(tmp_path / "whole"), batches()
    assert isinstance(whole.optimisers[1], Muon)
    assert whole.optimisers[1].param_groups[0]["params"][0] is whole.network[2].weight
    whole.train(stream, brightest, 1600, "whole")
    parts, stream = convolutional(tmp_path / "parts"), batches()
    parts.train(stream, brightest, 800, "first")
    again = convolutional(tmp_path / "parts", resume=True)
    again.train(stream, brightest, 1600, "second")
    torch.testing.assert_close(again.network[2].weight, whole.network[2].weight)


def test_an_interrupt_keeps_the_checkpoint(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Tensor]:
        for number, batch in enumerate(batches()):
            if number == 30:
                raise KeyboardInterrupt
            yield batch

    run = trainer(tmp_path)
    assert not run.train(interrupted(), step, 8000, "cut short")
    assert trainer(tmp_path, resume=True).samples == 240


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path).train(batches(), step, 80, "first")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: made with another network; start over without --resume"):
        Trainer(nn.Linear(3, 1), CONFIG, 8000, tmp_path, resume=True)


def test_a_loss_that_is_not_finite_stops_with_its_place(tmp_path: Path) -> None:
    def broken(network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return network(batch).mean() * float("nan"), {}

    with pytest.raises(FloatingPointError, match="loss is nan after 0 samples"):
        trainer(tmp_path).train(batches(), broken, 800, "broken")


def test_frozen_parameters_stay(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    before = network[0].weight.clone()
    run = Trainer(network, CONFIG, 800, tmp_path, rate_factors={"0.": 0.0})
    run.train(batches(), step, 400, "half frozen")
    assert torch.equal(network[0].weight, before)


def test_snapshots_say_when_and_in_which_stage_they_were_taken(tmp_path: Path) -> None:
    from safetensors import safe_open

    config = CONFIG.model_copy(update={"snapshot_samples": 800})
    run = Trainer(nn.Linear(2, 1), config, 1600, tmp_path)
    run.train(batches(), step, 1600, "toy 64 px")
    files = sorted((tmp_path / "snapshots").iterdir())
    assert [file.stem for file in files] == ["000000800", "000001600"]
    with safe_open(files[1], "pt") as content:
        assert content.metadata() == {"stage": "toy 64 px"}
        torch.testing.assert_close(content.get_tensor("weight"), run.averaged_state()["weight"].half())


def test_a_checkpoint_refuses_another_recipe_but_may_become_longer(tmp_path: Path) -> None:
    def open_trainer(**told: Any) -> Trainer:
        recipe = HeatmapsRecipe.model_validate({"optimiser": CONFIG.model_dump(), **told})
        return Trainer(nn.Linear(2, 1), CONFIG, 8000, tmp_path, resume=True, recipe=recipe)

    open_trainer(seed=3, samples=8000).train(batches(), step, 80, "first")
    assert open_trainer(seed=3, samples=16000, workers=0).samples == 80
    with pytest.raises(ValueError, match=r"checkpoint\.pt: made with another recipe \(seed = 4 instead of 3\)"):
        open_trainer(seed=4, samples=8000)
