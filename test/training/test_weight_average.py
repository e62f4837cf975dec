from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pose_estimation_ros.training.trainer import OptimiserConfig, Trainer
from pose_estimation_ros.training.weight_average import WeightAverage


def line(value: float) -> nn.Module:
    network = nn.BatchNorm1d(1)
    nn.init.constant_(network.weight, value)
    return network


def test_weights_of_the_last_samples_count_most() -> None:
    network = line(0.0)
    average = WeightAverage(network, memory_samples=50)
    for step in range(1, 401):
        nn.init.constant_(network.weight, float(step))
        average.update(network, 10, 10 * step)
    expected = 400 - 1 / (torch.tensor(0.2).exp() - 1)  # of an exponential average that forgets over five steps
    torch.testing.assert_close(average.values["weight"], expected[None], atol=0.01, rtol=0.0)


def test_the_weights_it_began_with_are_soon_gone() -> None:
    network = line(100.0)
    average = WeightAverage(network, memory_samples=10**9)
    nn.init.constant_(network.weight, 1.0)
    for step in range(1, 51):
        average.update(network, 10, 10 * step)
    assert average.values["weight"].item() == pytest.approx(1.0, abs=0.01)


def test_it_is_of_float32_inside_and_of_the_networks_types_outside() -> None:
    network = line(1.0).to(torch.bfloat16)
    average = WeightAverage(network, memory_samples=100)
    network(torch.linspace(1.0, 2.0, 8, dtype=torch.bfloat16)[:, None])
    average.update(network, 8, 8)
    assert average.values["running_mean"].dtype == torch.float32
    state = average.state(network)
    assert {key: value.dtype for key, value in state.items()} == {
        key: value.dtype for key, value in network.state_dict().items()
    }
    assert state["num_batches_tracked"] == 1
    assert 0.0 < (average.values["running_mean"] / network.running_mean).item() < 1.0


def test_a_training_of_a_single_step_ships_other_weights_than_it_began_with(tmp_path: Path) -> None:
    def step(network: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return (network(batch) - 1.0).square().mean(), {}

    torch.manual_seed(0)
    network = nn.Linear(2, 1)
    before = network.weight.detach().clone()
    config = OptimiserConfig(batch=4, learning_rate=0.1, warmup_samples=0, bf16=False)
    run = Trainer(network, config, 4, tmp_path)
    assert run.train(iter([torch.rand(4, 2)]), step, 4, "one step")
    shipped = run.averaged_state()["weight"]
    moved = network.weight.detach() - before
    assert (moved.abs() > 0.01).all()
    assert (((shipped - before) / moved) > 0.5).all()
