"""Which device networks run on."""

from __future__ import annotations

import torch


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is the GPU where there is one.

    Raises:
        ValueError: if the name is none of auto, cpu, cuda, cuda:N, or this machine has no such GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if name != "cpu" and not (kind == "cuda" and (number.isdecimal() or name == kind)):
        raise ValueError(f"device = {name!r}: expected auto, cpu, cuda or cuda:N")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise ValueError(f"device = {name!r}: PyTorch sees {count} CUDA devices on this machine; use auto or cpu")
    return torch.device(name)
