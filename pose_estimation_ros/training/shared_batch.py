"""Losses of a batch that several processes share, equal to those of one process with the whole batch.

The loss of the whole batch is the mean of the processes' losses, and so are its gradients. A mean over samples, of
which each process has as many, needs nothing for that; a mean over what samples have different numbers of divides by
`shared_count`; what compares samples with each other takes all of them with `gathered`; what is drawn for each sample
is drawn with `draw_columns`. One process computes what it would without these functions, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pose_estimation_ros.training import processes


def shared_count(count: Tensor, minimum: float = 1.0) -> Tensor:
    """Return by what a process divides the sum over its items, so that the mean of all processes is that of all items.

    Args:
        count: this process's number of items, or the sum of their weights.
        minimum: least number of items in the batch.
    """
    if processes.count() == 1:
        return count.clamp(min=minimum)
    return shared_sum(count.float()).clamp(min=minimum) / processes.count()


@torch.no_grad()
def shared_sum(value: Tensor) -> Tensor:
    """Return the sum over all processes; no gradient flows."""
    if processes.count() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total


def gathered(rows: Tensor) -> Tensor:
    """Return the rows (B, ...) of all processes (N * B, ...), in the order of one process; gradients flow back."""
    return rows if processes.count() == 1 else _Gathered.apply(rows)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(processes.count())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.contiguous()
        dist.all_reduce(total)
        return total.chunk(processes.count())[processes.number()]


def draw_columns(odds: Tensor, samples: int) -> Tensor:
    """Draw columns without replacement for every row, as `torch.multinomial` does for the rows of all processes.

    Args:
        odds: relative, not negative, shape (B, N).
        samples: columns of each row.

    Returns:
        Their numbers, shape (B, samples).
    """
    if processes.count() == 1:
        return torch.multinomial(odds, samples)
    # multinomial is this race of exponential clocks; all processes have seeded the same generator
    clocks = odds.new_empty((processes.count() * len(odds), odds.shape[1])).exponential_()
    return (odds / clocks.chunk(processes.count())[processes.number()]).topk(samples, dim=1).indices


@torch.no_grad()
def share_step(
    parameters: Iterable[nn.Parameter], loss: Tensor, figures: Mapping[str, float | Tensor]
) -> tuple[Tensor, Mapping[str, float | Tensor]]:
    """Average gradients, loss and figures over the processes.

    Not with `DistributedDataParallel`, which wraps `forward`: losses call parts of a network, and not the same ones in
    every step. What it would win, sending gradients while others are computed, is little for networks of a few million
    weights.

    Args:
        parameters: of the network, after the backward pass.
        loss: of this process's samples.
        figures: what else there is to log.

    Returns:
        Loss and figures of the whole batch.
    """
    if processes.count() == 1:
        return loss, figures
    trained = [item for item in parameters if item.requires_grad]
    reached = torch.tensor([item.grad is not None for item in trained], dtype=torch.uint8)
    dist.all_reduce(reached, dist.ReduceOp.MAX)  # an optimiser passes over what no loss has reached
    trained = [item for item, is_reached in zip(trained, reached.tolist(), strict=True) if is_reached]
    gradients = [torch.zeros_like(item) if item.grad is None else item.grad for item in trained]
    numbers = [
        torch.as_tensor(item, dtype=torch.float32, device=loss.device) for item in (loss.detach(), *figures.values())
    ]
    flat = torch.cat([item.flatten() for item in (*gradients, *numbers)])
    dist.all_reduce(flat)
    parts = iter((flat / processes.count()).split([item.numel() for item in (*gradients, *numbers)]))
    for item in trained:
        mean = next(parts).view(item.shape)
        item.grad = mean.clone() if item.grad is None else item.grad.copy_(mean)
    shared, *others = (part[0] for part in parts)
    return shared, dict(zip(figures, others, strict=True))
