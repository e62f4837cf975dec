"""Batches by their number: made in this process or ahead of time by others, always the same ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from pose_estimation_ros.training.reproducibility import Draws, place_seed

Batch = TypeVar("Batch")
Drawn = TypeVar("Drawn", covariant=True)
CHUNK = 16  # samples that are made at once on a CPU: so few stay in its cache
_AHEAD = 6  # batches that every process has ready


class Draw(Protocol[Drawn]):
    """Makes samples that depend on a seed alone."""

    def __call__(self, seed: int, samples: int) -> Drawn:
        """Return a dataclass of tensors, or of lists, with so many samples."""


class _Numbered(torch.utils.data.Dataset, Generic[Batch]):
    """Batches by number; the source is opened in the process that uses it."""

    def __init__(self, make: Callable[[], Draw[Batch]], seed: int, batch: int, chunk: int) -> None:
        self.make = make
        self.seed = seed
        self.sizes = [min(chunk, batch - start) for start in range(0, batch, chunk)]
        self.draw: Draw[Batch] | None = None

    def __getitem__(self, number: int) -> Batch:
        draw = self.draw = self.draw or self.make()
        seeds = (place_seed(self.seed, Draws.BATCHES, number, part) for part in range(len(self.sizes)))
        return _joined([draw(seed, size) for seed, size in zip(seeds, self.sizes, strict=True)])


def _joined(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    content = {field.name: [getattr(part, field.name) for part in parts] for field in fields(parts[0])}
    return type(parts[0])(**{name: _chained(values) for name, values in content.items()})


def _chained(values: list[Any]) -> Any:
    return torch.cat(values) if isinstance(values[0], Tensor) else [item for value in values for item in value]


def batch_stream(
    make: Callable[[], Draw[Batch]], seed: int, first: int, batch: int, workers: int, on_gpu: bool = False
) -> Iterator[Batch]:
    """Yield batches without end; batch number n is the same whatever the first one was and whoever makes it.

    Args:
        make: opens the source, in every process that makes batches.
        seed: of the training.
        first: number of the first batch: how many steps the training has taken.
        batch: samples of a batch.
        workers: processes that make batches; 0 makes them in this one.
        on_gpu: whether they are made on a GPU, which takes them whole and in this process.
    """
    numbered = _Numbered(make, seed, batch, batch if on_gpu else CHUNK)
    if on_gpu or workers == 0:
        for number in count(first):
            yield numbered[number]
    yield from torch.utils.data.DataLoader(
        numbered,
        sampler=count(first),  # type: ignore[arg-type]  # any iterable will do
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_AHEAD,
        worker_init_fn=_leave_group,
    )


def _leave_group(_: int) -> None:
    """Leave the terminal's group of processes: Ctrl-C is for the trainer, which finishes its step and ends us."""
    os.setpgrp()
