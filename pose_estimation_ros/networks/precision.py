"""The number format in which networks run on a device.

A choice holds for what a thread does inside `use_precision`. `auto` chooses nothing: what surrounds it decides, then
the environment variable POSE_PRECISION, then the hardware.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

import torch

Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
VARIABLE = "POSE_PRECISION"

_choice: ContextVar[Precision] = ContextVar("precision", default="auto")  # each thread has its own


@contextmanager
def use_precision(choice: str) -> Iterator[None]:
    """Choose the number format of all networks that this thread runs inside the context.

    Args:
        choice: `bfloat16`, emulated and slow where the device lacks it; `float32`, on GPUs as PyTorch rounds it;
            `auto` for bfloat16 where the hardware computes in it, unless somebody else has chosen.

    Raises:
        ValueError: if there is no such choice.
    """
    checked = _checked(choice, "precision")
    token = _choice.set(_choice.get() if checked == "auto" else checked)
    try:
        yield
    finally:
        _choice.reset(token)


def chosen_precision() -> Precision:
    """Return the choice in force in this thread: the innermost context's that chooses, else the environment's.

    Raises:
        ValueError: if the environment variable has another value than the three choices.
    """
    choice = _choice.get()
    return _checked(os.environ.get(VARIABLE, "auto"), VARIABLE) if choice == "auto" else choice


def runs_bfloat16(device: torch.device) -> bool:
    """Tell whether networks run in bfloat16 on the device: by choice, else where its hardware computes in it.

    Raises:
        ValueError: as `chosen_precision` does.
    """
    choice = chosen_precision()
    return has_bfloat16(device) if choice == "auto" else choice == "bfloat16"


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether the device computes in bfloat16 in hardware, so that it pays to use it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        # Without AMX or AVX-512 BF16, bfloat16 is emulated and slower than float32.
        return _cpu_says("_is_amx_tile_supported") or _cpu_says("_is_avx512_bf16_supported")
    return False


def autocast(device: torch.device, wanted: bool = True) -> torch.autocast:
    """Return the context that runs networks in bfloat16 if `runs_bfloat16` and wanted, and as they are otherwise."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted and runs_bfloat16(device))


def _cpu_says(question: str) -> bool:
    """Ask PyTorch about the processor; older releases, such as Ubuntu's own, do not know the questions."""
    ask = getattr(torch.cpu, question, None)
    return ask is not None and bool(ask())


def _checked(choice: str, name: str) -> Precision:
    for known in PRECISIONS:
        if choice == known:
            return known
    raise ValueError(f"{name} = {choice!r}: expected one of {', '.join(PRECISIONS)}")
