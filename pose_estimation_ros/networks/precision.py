"""The number format in which networks run on a device."""

from __future__ import annotations

import torch


def runs_bfloat16(device: torch.device) -> bool:
    """Tell whether the device computes in bfloat16 in hardware, so that it pays to use it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        # Without AMX or AVX-512 BF16, bfloat16 is emulated and slower than float32.
        return _cpu_says("_is_amx_tile_supported") or _cpu_says("_is_avx512_bf16_supported")
    return False


def _cpu_says(question: str) -> bool:
    """Ask PyTorch about the processor; older releases, such as Ubuntu's own, do not know the questions."""
    ask = getattr(torch.cpu, question, None)
    return ask is not None and bool(ask())


def autocast(device: torch.device) -> torch.autocast:
    """Return the context that runs networks in bfloat16 where that is faster, and as they are elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=runs_bfloat16(device))
