"""The machine that something was measured on: a number without one says nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from pose_estimation_ros.networks.precision import has_bfloat16


def describe_machine(device: torch.device | None = None) -> dict[str, Any]:
    """Name processor, cores, instruction set, threads and versions, how busy it is, and the GPU where one is used."""
    described: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "isa": instruction_set(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),  # processes that ran in the last minute
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if device is not None and device.type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
    return described


def instruction_set() -> str:
    """Return what decides how networks are computed on the CPU, such as avx2 or avx512_bf16."""
    name = torch.backends.cpu.get_cpu_capability().lower()
    return f"{name}_bf16" if has_bfloat16(torch.device("cpu")) else name


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
