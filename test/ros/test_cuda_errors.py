"""Which errors end CUDA for the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pose_estimation_ros.ros.cuda_errors import cuda_is_lost, is_out_of_memory

ASSERTION = "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"
LOST = [
    getattr(torch, "AcceleratorError", RuntimeError)(ASSERTION),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error 700 detected on device cuda:0: an illegal memory access was encountered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`"),
]
OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("Failed to allocate 21474836480 bytes on device 'cuda:0'"),
]
OTHERS = [RuntimeError("shape mismatch"), ValueError("CUDA error: in the text of another error"), IndexError("3")]


@pytest.fixture
def without_cuda(monkeypatch):
    """Let the words of an error decide, on a machine with a GPU too."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)


@pytest.mark.usefixtures("without_cuda")
def test_words_tell_a_lost_context_from_a_lack_of_memory_and_from_other_errors():
    assert [cuda_is_lost(error) for error in LOST] == [True] * len(LOST)
    assert [cuda_is_lost(error) for error in OUT_OF_MEMORY + OTHERS] == [False] * len(OUT_OF_MEMORY + OTHERS)
    assert [is_out_of_memory(error) for error in OUT_OF_MEMORY] == [True] * len(OUT_OF_MEMORY)
    assert [is_out_of_memory(error) for error in LOST + OTHERS] == [False] * len(LOST + OTHERS)


@pytest.mark.parametrize("error", [LOST[0], OUT_OF_MEMORY[0], OTHERS[0]])
def test_where_pytorch_uses_cuda_the_gpu_is_asked(monkeypatch, error):
    asked = []

    def synchronize(index: int) -> None:
        asked.append(index)
        if lost:
            raise RuntimeError(ASSERTION)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda index: 2**20 * (index == 1))
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    lost = False
    assert not cuda_is_lost(error)
    lost = True
    assert cuda_is_lost(error)
    assert asked == [1, 1]  # a GPU that holds no memory is left alone


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA on this machine: a real failed assertion is not seen"
)
def test_a_real_failed_assertion_loses_cuda_and_a_lack_of_memory_does_not():
    program = """
import torch
from pose_estimation_ros.ros.cuda_errors import cuda_is_lost, is_out_of_memory, release_cached_memory
values = torch.arange(3.0, device="cuda")
try:
    torch.empty(2**50, device="cuda")
except RuntimeError as error:
    assert is_out_of_memory(error) and not cuda_is_lost(error), error
    release_cached_memory(error)
assert values.sum().item() == 3.0
try:
    values[torch.tensor([7], device="cuda")].cpu()
except RuntimeError as error:
    assert cuda_is_lost(error) and not is_out_of_memory(error), error
    print("lost")
"""
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=120)
    assert run.stdout.strip() == "lost", run.stderr
