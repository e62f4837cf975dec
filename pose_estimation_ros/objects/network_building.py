"""Networks built from what a bundle says: one much larger than its weights is refused before it takes memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Network = TypeVar("Network", bound=nn.Module)
_SPARE_NUMBERS = 20_000_000  # that a network may make while it is built, beside twice its weights
_FACTORIES = frozenset((torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye))


def build_network(make: Callable[[], Network], state: Mapping[str, Tensor]) -> Network:
    """Build a network and load its weights.

    Args:
        make: builds it.
        state: its weights, whose size is that of their file.

    Raises:
        RuntimeError: if they do not fit.
    """
    with _Bounded(2 * sum(value.numel() for value in state.values()) + _SPARE_NUMBERS):
        network = make()
    network.load_state_dict(state)
    return network


class _Bounded(TorchFunctionMode):
    """Count the numbers of new tensors; what was not written yet has taken no memory when it is refused."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._left = self._limit = limit

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in _FACTORIES:
            self._left -= made.numel()
            if self._left < 0:
                shape = "x".join(map(str, made.shape))
                raise RuntimeError(f"{shape} numbers more than its weights have (at most {self._limit:,} in all)")
        return made
