"""The processes of one training, as `torchrun` starts them: on several cores, on several GPUs, on several machines.

Everything here does nothing, or what one process does, where a program was not started by torchrun.
"""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from pose_estimation_ros.networks.device import resolve_device

Value = TypeVar("Value")
_PATIENCE = timedelta(hours=3)  # of those who wait for the first process; it makes banks of views and tables


def count() -> int:
    """Return the number of processes, 1 without torchrun."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def number() -> int:
    """Return which of the processes this is, from 0."""
    return dist.get_rank() if count() > 1 else 0


def is_first() -> bool:
    """Tell whether this is the process that writes and prints."""
    return number() == 0


def on_this_machine() -> int:
    """Return how many of the processes run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if count() > 1 else 1


def restarted() -> bool:
    """Tell whether torchrun started the processes anew after one had failed; it tells those of its machine alone."""
    return any_of(_restarts() > 0)


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def are_many() -> bool:
    """Tell whether torchrun started several of this program."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def refuse_many(program: str) -> None:
    """Refuse to run a program that is not made for several processes.

    Raises:
        ValueError: if torchrun started several of it.
    """
    if are_many():
        raise ValueError(
            f"{os.environ['WORLD_SIZE']} processes were started by torchrun: {program} is made for one; "
            "expected pose_train or pose_evaluate, or no torchrun"
        )


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Let the processes that torchrun started know each other, and only the first one print.

    They talk through NCCL about what lies on GPUs, and through Gloo about the rest.

    Args:
        device: auto, cpu or cuda; with several processes each takes the GPU of its number on its machine.

    Yields:
        The device of this process.

    Raises:
        ValueError: if there is no such device, or none for this process.
    """
    if not are_many() or dist.is_initialized():
        yield resolve_device(device)
        return
    own = _own_device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    store, rank, size = next(rendezvous("env://", timeout=_PATIENCE))
    if size == int(os.environ.get("LOCAL_WORLD_SIZE", "0")):  # the store may still know addresses of those who failed
        store = dist.PrefixStore(f"start {_restarts()}", store)
    backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE, store=store, rank=rank, world_size=size)
    try:
        with nullcontext() if is_first() else redirect_stdout(io.StringIO()):
            yield own
    finally:
        dist.destroy_process_group()


def _own_device(name: str) -> torch.device:
    if name.startswith("cuda:"):
        raise ValueError(
            f"device = {name!r}: with several processes each takes its own GPU; expected auto, cpu or cuda"
        )
    device = resolve_device(name)
    if device.type != "cuda":
        return device
    local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= gpus:
        raise ValueError(
            f"process {local + 1} of this machine has no GPU: PyTorch sees {gpus}; expected --nproc-per-node {gpus}, "
            "or --device cpu"
        )
    return torch.device("cuda", local)


def wait() -> None:
    """Wait until all processes have come here."""
    if count() > 1:
        any_of(False)


def any_of(happened: bool) -> bool:
    """Tell whether something happened in any of the processes."""
    if count() == 1:
        return happened
    flag = torch.tensor([happened], dtype=torch.uint8)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


def made_by_first(make: Callable[[], Value], read: Callable[[], Value]) -> Value:
    """Let the first process make what all others then read from the disk.

    Args:
        make: called in the first process.
        read: called in all others, when it is there.
    """
    if is_first():
        value = make()
        wait()
        return value
    wait()
    return read()


def from_first(value: Value) -> Value:
    """Return what the first process has."""
    if count() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def from_all(value: Value) -> list[Value]:
    """Return what every process has, in their order."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def require_shared(folder: Path) -> None:
    """Refuse a folder that other machines do not see.

    Raises:
        ValueError: if a process does not see what the first one puts there.
    """
    if count() == 1:
        return
    token = folder / from_first(f".{uuid.uuid4().hex}")
    if is_first():
        folder.mkdir(parents=True, exist_ok=True)
        token.touch()
    wait()
    is_there = token.is_file()
    all_see = not any_of(not is_there)
    if is_first():
        token.unlink()
    if not all_see:
        raise ValueError(f"{folder.resolve()}: not the same folder on all machines; expected one on a disk they share")


def share_of(batch: int) -> range:
    """Return which samples of every batch are this process's.

    Raises:
        ValueError: if they cannot be shared out evenly.
    """
    if batch % count():
        raise ValueError(
            f"optimiser.batch = {batch}: it is the batch of all {count()} processes together; expected a multiple of "
            f"{count()}"
        )
    size = batch // count()
    return range(number() * size, (number() + 1) * size)
