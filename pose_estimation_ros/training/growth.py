"""Networks for more objects than they were trained for, which still know the earlier ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def grown_weights(
    state: Mapping[str, Tensor], object_rows: Mapping[str, int], before: int, after: int
) -> dict[str, Tensor]:
    """Return weights with rows for further objects behind those of the earlier ones, as the mean of these.

    Args:
        state: weights of a network.
        object_rows: tensors that have rows for every object, and for how many things before the first object.
        before: number of objects so far.
        after: number of objects to be.

    Raises:
        ValueError: if a tensor is not there or its rows are not those of so many objects, or there are to be fewer.
    """
    if not 0 < before <= after:
        raise ValueError(f"grown_weights: from {before} to {after} objects, expected at least as many")
    grown = dict(state)
    for name, others in object_rows.items():
        if name not in state:
            raise ValueError(f"grown_weights: no weights {name!r}")
        value = state[name]
        if len(value) % (before + others):
            raise ValueError(f"grown_weights: {name} has {len(value)} rows, expected those of {before} objects")
        blocks = value.reshape(before + others, -1, *value.shape[1:])
        new = blocks[others:].mean(dim=0, keepdim=True).expand(after - before, *blocks.shape[1:])
        grown[name] = torch.cat([blocks, new]).flatten(0, 1)
    return grown
