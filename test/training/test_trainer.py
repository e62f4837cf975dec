from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pose_estimation_ros.methods.heatmaps.training import HeatmapsRecipe
from pose_estimation_ros.training.muon import Muon
from pose_estimation_ros.training.pause import Pause
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


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether two nested states are the same to the last bit."""
    flat = [torch.utils._pytree.tree_flatten(item) for item in (one, other)]
    same = [torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in zip(flat[0][0], flat[1][0], strict=True)]
    return flat[0][1] == flat[1][1] and all(same)


def state(run: Trainer) -> dict[str, Any]:
    optimisers = [item.state_dict() for item in run.optimisers]
    counts = {"samples": run.samples, "steps": run.steps}
    return {"network": run.network.state_dict(), "average": run.averaged_state(), "optimisers": optimisers, **counts}


def noisy_step(network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw as the losses of the methods do, from the default generator."""
    chosen = torch.multinomial(torch.ones(len(batch)), 4)
    return step(network, batch[chosen] + 0.1 * torch.randn(4, 2))


def numbered(first: int) -> Iterator[Tensor]:
    for number in count(first):
        yield torch.rand(8, 2, generator=torch.Generator().manual_seed(number))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_two_halves_are_one_whole_to_the_last_bit(tmp_path: Path, kind: str) -> None:
    config = CONFIG.model_copy(update={"kind": kind})

    def train_to(steps: int, folder: Path, resume: bool = False) -> Trainer:
        torch.manual_seed(steps)  # what was drawn before does not matter
        network = nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.Conv2d(2, 6, 1), nn.BatchNorm2d(6), nn.Dropout(0.2))
        network.extend([nn.Conv2d(6, 1, 1), nn.Flatten()])
        for number, weight in enumerate(network.parameters()):
            nn.init.normal_(weight, generator=torch.Generator().manual_seed(number))
        run = Trainer(network, config, 800, folder, resume, seed=5)
        assert run.train(numbered(run.steps), noisy_step, 8 * steps, "part")
        return run

    whole = train_to(100, tmp_path / "whole")
    train_to(50, tmp_path / "parts")
    again = train_to(100, tmp_path / "parts", resume=True)
    assert again.steps == 100 and equal(state(again), state(whole))


@pytest.mark.parametrize("last", [30, 99])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_training_after_its_step(tmp_path: Path, number: signal.Signals, last: int) -> None:
    def signalled(network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if run.steps == last:
            os.kill(os.getpid(), number)
        return noisy_step(network, batch)

    whole = trainer(tmp_path / "whole")
    whole.train(numbered(0), noisy_step, 800, "all")
    run = trainer(tmp_path / "parts")
    before = signal.getsignal(number)
    assert not run.train(numbered(0), signalled, 800, "all")
    assert run.steps == last + 1 and signal.getsignal(number) == before
    again = trainer(tmp_path / "parts", resume=True)
    assert again.train(numbered(again.steps), noisy_step, 800, "all")
    assert equal(state(again), state(whole))
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "parts")]
    lines = [[json.loads(line) | {"seconds": 0} for line in log] for log in logs]
    assert lines[0] == lines[1]


def paused(folder: Path, at_samples: int, resume: bool = False) -> Trainer:
    torch.manual_seed(0)
    return Trainer(nn.Linear(2, 1), CONFIG, 8000, folder, resume, pause=Pause(at_samples))


def test_a_pause_changes_nothing(tmp_path: Path) -> None:
    """It comes after the batch that reaches it, whether this is the last one of a stage or not."""
    whole = trainer(tmp_path / "whole")
    whole.train(numbered(0), noisy_step, 800, "all")
    run = paused(tmp_path / "parts", 236)
    assert not run.train(numbered(0), noisy_step, 480, "first")
    assert run.pause == Pause(236, reached=True) and run.samples == 240
    run = paused(tmp_path / "parts", 480, resume=True)
    assert run.train(numbered(run.steps), noisy_step, 480, "first")
    assert not run.train(numbered(run.steps), noisy_step, 800, "second")
    assert run.pause == Pause(480, reached=True) and run.samples == 480
    run = paused(tmp_path / "parts", 801, resume=True)
    assert run.train(numbered(run.steps), noisy_step, 800, "second")
    assert run.pause == Pause(801) and equal(state(run), state(whole))


def test_an_interrupted_training_is_not_paused(tmp_path: Path) -> None:
    """Not even if the signal comes in the last step before the pause."""

    def signalled(network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if run.steps == 29:
            os.kill(os.getpid(), signal.SIGINT)
        return noisy_step(network, batch)

    run = paused(tmp_path, 240)
    assert not run.train(numbered(0), signalled, 800, "all")
    assert run.pause == Pause(240) and run.samples == 240


def test_half_a_step_is_not_kept(tmp_path: Path) -> None:
    """A second Ctrl-C does not wait for the step to end; the training goes on from the last checkpoint."""

    def impatient(network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if run.steps == 30:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return noisy_step(network, batch)

    run = trainer(tmp_path)
    assert run.train(numbered(0), noisy_step, 160, "first")
    with pytest.raises(KeyboardInterrupt):
        run.train(numbered(20), impatient, 800, "second")
    assert trainer(tmp_path, resume=True).steps == 20


def test_what_a_killed_training_logged_after_its_checkpoint_is_not_logged_twice(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.train(numbered(0), step, 800, "all")
    checkpoint = (tmp_path / "checkpoint.pt").read_bytes()
    run.train(numbered(100), step, 2400, "all")
    (tmp_path / "checkpoint.pt").write_bytes(checkpoint)
    again = trainer(tmp_path, resume=True)
    again.train(numbered(again.steps), step, 2400, "all")
    samples = [json.loads(line)["samples"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert samples == [400, 800, 1200, 1600, 2000, 2400]


def test_a_checkpoint_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path).train(batches(), step, 80, "first")
    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del content["format"], content["steps"]
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: format 1, expected 2: .*start over without --resume"):
        trainer(tmp_path, resume=True)


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


def test_threads_add_in_one_order(tmp_path: Path) -> None:
    """Gradients of rows that were picked several times are sums, which threads would add as they come."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(0)
    picked = torch.randint(4, (32,), generator=generator)
    factors = torch.randn(32, 1000, 64, generator=generator)

    def pick(network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return (network.weight.view(4, 1000, 64)[picked] * factors).mean(), {}

    def trained(name: str) -> Tensor:
        network = nn.Linear(64, 4000, bias=False)
        nn.init.zeros_(network.weight)
        Trainer(network, CONFIG, 80, tmp_path / name).train(numbered(0), pick, 80, "rows")
        return network.weight

    try:
        first = trained("first")
        assert all(torch.equal(first, trained(str(number))) for number in range(4))
    finally:
        torch.set_num_threads(threads)
    assert not torch.are_deterministic_algorithms_enabled()
