"""Selectable pose refiners.

A refiner is a class with the method of `base.Refiner` and, if it has weights or meshes to load, a class method
`from_bundle(bundle, device, mesh_dir)`. It needs one file and one line in `REFINERS`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import torch

from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.refinement.base import NoRefiner, Refiner

REFINERS: dict[str, str] = {}  # name -> "module:Class", imported when asked for


def make_refiner(name: str, bundle: Bundle, device: torch.device, mesh_dir: Path | None = None) -> Refiner:
    """Build a refiner by its name; "none" leaves poses as they are.

    Raises:
        ValueError: if there is no such refiner.
    """
    if name == "none":
        return NoRefiner()
    if name not in REFINERS:
        raise ValueError(f"refiner = {name!r}: expected one of {', '.join(['none', *sorted(REFINERS)])}")
    module, _, cls = REFINERS[name].partition(":")
    refiner: Refiner = getattr(import_module(module), cls).from_bundle(bundle, device, mesh_dir)
    return refiner
