"""What a speed measurement is, and how it is shown."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Spread:
    """Milliseconds over the frames."""

    p50: float
    p90: float


@dataclass(frozen=True)
class Measurement:
    """What a run showed; written as JSON."""

    machine: dict[str, Any]
    bundle: str
    backend: str
    refiner: str
    device: str
    source: str
    image_size: str
    frames: int
    boxes_per_frame: float
    poses_per_frame: float
    load_s: float  # from the bundle's files to the first image
    stages_ms: dict[str, Spread]  # total is the whole frame
    throughput_fps: float
    comparisons_per_pose: float  # of renderings with the image, by the refiner; 0 without one
    peak_memory_mb: dict[str, float]  # rss; cuda where the networks run there
    median_rotation_deg: float | None = None  # over all boxes; measured where two backends are compared


def spreads(timings: Sequence[dict[str, float]]) -> dict[str, Spread]:
    """Return median and 90th percentile per stage in milliseconds from seconds per frame."""
    return {
        stage: Spread(*(1e3 * float(value) for value in np.percentile([item[stage] for item in timings], [50, 90])))
        for stage in timings[0]
    }


def peak_memory_mb(device: torch.device) -> dict[str, float]:
    """Return the most memory in use since the start: of the process, and of PyTorch on the GPU."""
    unit = 1.0 if sys.platform == "darwin" else 1024.0  # bytes there, KiB on Linux
    peak = {"rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    if device.type == "cuda":
        peak["cuda"] = torch.cuda.max_memory_allocated(device) / 1e6
    return peak


def comparison(measurement: Measurement, other: Measurement) -> str:
    """Compare the pose stage of two runs in one line."""
    pose = [item.stages_ms["pose"].p50 for item in (measurement, other)]
    factor = pose[1] / max(pose[0], 1e-9)
    text = f"pose: {measurement.backend} {pose[0]:.0f} ms, {other.backend} {pose[1]:.0f} ms, {factor:.1f} times"
    errors = measurement.median_rotation_deg, other.median_rotation_deg
    if errors[0] is None or errors[1] is None:
        return text
    return f"{text}; median rotation error {errors[0]:.1f} and {errors[1]:.1f} degrees"


def table(measurement: Measurement) -> str:
    """Format the numbers for people."""
    host = measurement.machine
    where = f"{host['cpu']}, {host['cores']} cores, {host['threads']} threads"
    if "gpu" in host:
        where += f", {host['gpu']}"
    memory = ", ".join(f"{name} {value:.0f} MB" for name, value in measurement.peak_memory_mb.items())
    each = ""
    if measurement.comparisons_per_pose and measurement.poses_per_frame:
        number = measurement.comparisons_per_pose
        share = measurement.stages_ms["refinement"].p50 / measurement.poses_per_frame / number
        each = f"refinement: {number:.1f} comparisons per object, {share:.1f} ms each (p50)"
    lines = [
        f"{measurement.bundle}, {measurement.backend}, refiner {measurement.refiner} on {measurement.device}: {where}",
        f"{measurement.frames} frames of {measurement.image_size} from {measurement.source}, "
        f"{measurement.boxes_per_frame:.1f} boxes and {measurement.poses_per_frame:.1f} poses per frame",
        "",
        "| stage | p50 ms | p90 ms |",
        "|---|---|---|",
        *(f"| {stage} | {spread.p50:.1f} | {spread.p90:.1f} |" for stage, spread in measurement.stages_ms.items()),
        "",
        *([each] if each else []),
        f"{measurement.throughput_fps:.2f} frames per second, loaded in {measurement.load_s:.1f} s, "
        f"peak memory {memory}",
    ]
    return "\n".join(lines)
