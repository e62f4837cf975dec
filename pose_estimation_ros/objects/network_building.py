"""Networks built from what a bundle says: one that its weights do not fill is refused before memory is taken for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def build_network(make: Callable[[], Network], state: Mapping[str, Tensor]) -> Network:
    """Build a network and load its weights.

    Args:
        make: builds it.
        state: its weights, whose size is that of their file.

    Raises:
        RuntimeError: if they do not fit; then the network was only built without memory.
    """
    with torch.device("meta"):
        make().load_state_dict({name: value.to("meta") for name, value in state.items()})
    network = make()
    network.load_state_dict(state)
    return network
