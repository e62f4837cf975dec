"""Values on their way between host and device, so that neither waits for the other unless it has to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def to_device(values: np.ndarray | Tensor | Sequence[int], device: torch.device) -> Tensor:
    """Send values to a device; the host goes on at once, and what is queued there next sees them.

    Memory of NumPy's is shared where the device is the CPU.
    """
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(values)
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # only pinned memory is read without waiting


def to_host(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    """Fetch tensors, all of them with one wait for the device. Those of bfloat16 become float32, as NumPy has none."""
    known = [item.float() if item.dtype == torch.bfloat16 else item for item in tensors]
    copies = [item.detach().to("cpu", non_blocking=True) for item in known]
    for device in {item.device for item in known if item.is_cuda}:
        torch.cuda.synchronize(device)
    return tuple(item.numpy() for item in copies)


def rows_to_visit(wanted: Tensor) -> Tensor:
    """Return the numbers of rows (R,) that are wanted; on a GPU all, as the host would wait to know which."""
    return wanted.nonzero()[:, 0] if wanted.device.type == "cpu" else torch.arange(len(wanted), device=wanted.device)


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Return numbers as a tensor of another's kind and on its device, sent there once; not to be written to.

    Args:
        values: the numbers.
        like: has the dtype and the device.
    """
    return _sent(values, like.dtype, like.device)


def forget_constants() -> None:
    """Forget what was sent, as where the device is not the one any more that it was."""
    _sent.cache_clear()


@lru_cache(maxsize=256)
def _sent(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # trainings may meet them next
        return torch.tensor(values, dtype=dtype, device=device)
