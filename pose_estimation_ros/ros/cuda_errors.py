"""Tell errors after which CUDA works on from those after which it needs a new process."""

from __future__ import annotations

import re
import traceback

import torch

_CUDA_ERROR = re.compile(r"(CUDA|cuDNN) error\b|CUDNN_STATUS_|CUBLAS_STATUS_", re.IGNORECASE)
_OUT_OF_MEMORY = re.compile(r"out of memory|_STATUS_ALLOC_FAILED|Failed to allocate \d+ bytes on device 'cuda")


def cuda_is_lost(error: BaseException) -> bool:
    """Tell whether CUDA is unusable for the rest of this process after an exception of the pipeline.

    A failed assertion or an illegal address in a kernel ends the context for good: every later call fails likewise.
    Where PyTorch uses CUDA it is asked whether it still can; elsewhere the words of the exception decide.
    """
    if torch.cuda.is_initialized():
        return not _works()
    is_cuda_error = isinstance(error, RuntimeError) and _CUDA_ERROR.search(str(error)) is not None
    return is_cuda_error and not is_out_of_memory(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether the memory of the GPU did not suffice; CUDA itself works on."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None


def release_cached_memory(error: BaseException | None = None) -> None:
    """Give memory of the GPU that is only cached back, after letting go of the tensors that an exception holds."""
    if error is not None:
        traceback.clear_frames(error.__traceback__)
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _works() -> bool:
    """Wait for every GPU in use; a lost context answers at once, with its error."""
    try:
        for index in range(torch.cuda.device_count()):
            if torch.cuda.memory_reserved(index):
                torch.cuda.synchronize(index)
    except RuntimeError:
        return False
    return True
