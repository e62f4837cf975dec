"""Batches by their number: made in this process or ahead of time by others, always the same ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from pose_estimation_ros.training import processes
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
    """One process's share of batches by number; the source is opened in the process that uses it."""

    def __init__(self, make: Callable[[], Draw[Batch]], seed: int, batch: int, chunk: int, share: range) -> None:
        self.make = make
        self.seed = seed
        self.parts = [
            range(start, min(start + chunk, batch))
            for start in range(share.start - share.start % chunk, share.stop, chunk)
        ]
        self.chunk, self.share = chunk, share
        self.draw: Draw[Batch] | None = None

    def __getitem__(self, number: int) -> Batch:
        draw = self.draw = self.draw or self.make()
        seeds = (place_seed(self.seed, Draws.BATCHES, number, part.start // self.chunk) for part in self.parts)
        drawn = _joined([draw(seed, len(part)) for seed, part in zip(seeds, self.parts, strict=True)])
        first = self.share.start - self.parts[0].start
        whole = self.parts[-1].stop - self.parts[0].start
        return drawn if whole == len(self.share) else _sliced(drawn, first, first + len(self.share))


def _joined(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    content = {field.name: [getattr(part, field.name) for part in parts] for field in fields(parts[0])}
    return type(parts[0])(**{name: _chained(values) for name, values in content.items()})


def _sliced(drawn: Any, first: int, stop: int) -> Any:
    return type(drawn)(**{field.name: getattr(drawn, field.name)[first:stop] for field in fields(drawn)})


def _chained(values: list[Any]) -> Any:
    return torch.cat(values) if isinstance(values[0], Tensor) else [item for value in values for item in value]


def batch_stream(
    make: Callable[[], Draw[Batch]],
    seed: int,
    first: int,
    batch: int,
    workers: int,
    on_gpu: bool = False,
    chunk: int = CHUNK,
) -> Iterator[Batch]:
    """Yield batches without end; batch number n is the same whatever the first one was and whoever makes it.

    Processes that train together get their shares of it. On a CPU it is the same however many they are; chunks that two
    of them have a part in are made by both.

    Args:
        make: opens the source, in every process that makes batches.
        seed: of the training.
        first: number of the first batch: how many steps the training has taken.
        batch: samples of a batch.
        workers: processes that make batches; 0 makes them in this one.
        on_gpu: whether they are made on a GPU, which takes its share whole and in this process.
        chunk: samples that are made at once on a CPU.

    Raises:
        ValueError: if the processes cannot share a batch evenly.
    """
    share = processes.share_of(batch)
    numbered = _Numbered(make, seed, batch, len(share) if on_gpu else chunk, share)
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
