"""The number format in which networks run on a device."""

from __future__ import annotations

import torch


def runs_bfloat16(device: torch.device) -> bool:
    """Tell whether the device computes in bfloat16 in hardware, so that it pays to use it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        # Without AMX or AVX-512 BF16, bfloat16 is emulated and slower than float32.
        return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return False


def autocast(device: torch.device) -> torch.autocast:
    """Return the context that runs networks in bfloat16 where that is faster, and as they are elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=runs_bfloat16(device))
