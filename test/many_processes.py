"""Processes as torchrun would start them."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def started(rank: int, port: int, count: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    os.environ.update({key: str(value) for key, value in own.items()}, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    work(*arguments)


def in_processes(count: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call a function in processes that see what torchrun would tell them; none of them may fail."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])  # imports for seconds: once here, not in every process
    context = multiprocessing.get_context("fork")
    children = [
        context.Process(target=started, args=(rank, port, count, work, arguments), daemon=True) for rank in range(count)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120.0)
    assert [child.exitcode for child in children] == [0] * count
