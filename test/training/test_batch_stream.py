"""Batches by their number: the same ones wherever a training begins and whoever makes them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import pytest
import torch
from torch import Tensor

from pose_estimation_ros.training.batch_stream import Draw, batch_stream


@dataclass(frozen=True)
class Drawn:
    values: Tensor  # (B, 3)
    process: Tensor  # (B, 3): the process, its group, its threads
    names: list[str]


def maker() -> Draw[Drawn]:
    generator = torch.Generator()

    def draw(seed: int, samples: int) -> Drawn:
        generator.manual_seed(seed)
        here = torch.tensor([os.getpid(), os.getpgrp(), torch.get_num_threads()])
        return Drawn(torch.rand(samples, 3, generator=generator), here.expand(samples, 3), ["name"] * samples)

    return draw


def stream(first: int = 0, batch: int = 40, workers: int = 0, seed: int = 3) -> Iterator[Drawn]:
    return batch_stream(maker, seed, first, batch, workers)


def test_a_batch_is_as_long_as_it_should_be() -> None:
    for batch in (6, 16, 24, 40):
        drawn = next(stream(batch=batch))
        assert len(drawn.values) == len(drawn.names) == len(drawn.values.unique(dim=0)) == batch


@pytest.mark.parametrize(("first", "workers"), [(3, 0), (0, 1), (2, 1), (1, 2)])
def test_a_batch_depends_on_its_number_alone(first: int, workers: int) -> None:
    expected = [item.values for item in islice(stream(), 6)]
    found = [item.values for item in islice(stream(first, workers=workers), 6 - first)]
    for one, other in zip(expected[first:], found, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(expected[0], expected[1])
    assert not torch.equal(expected[0], next(stream(seed=4)).values)


def test_only_the_processes_that_make_batches_keep_to_one_thread() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert next(stream()).process[0].tolist() == [os.getpid(), os.getpgrp(), 2]
        assert torch.get_num_threads() == 2
        process, _, threads = next(stream(workers=1)).process[0].tolist()
        assert process != os.getpid() and threads == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_ctrl_c_does_not_end_the_stream() -> None:
    """The terminal sends it to all processes of its group."""
    batches = stream(workers=1)
    process, group, _ = next(batches).process[0].tolist()
    assert group == process
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        assert len(next(batches).values) == 40
    finally:
        signal.signal(signal.SIGINT, previous)
