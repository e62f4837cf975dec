"""Selectable pose refiners.

A refiner is a class with the method of `base.Refiner` and, if it has weights or meshes to load, a class method
`from_bundle(bundle, device, mesh_dir)`. It needs one file and one line in `REFINERS`.
"""

from __future__ import annotations

from pathlib import Path

import torch

from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.refinement.base import NoRefiner, Refiner
from pose_estimation_ros.registry import chosen_class

REFINERS = {
    "attention": "pose_estimation_ros.refinement.attention:Attention",
}


def make_refiner(name: str, bundle: Bundle, device: torch.device, mesh_dir: Path | None = None) -> Refiner:
    """Build a refiner by its name; "none" leaves poses as they are.

    Raises:
        ValueError: if there is no such refiner.
    """
    if name == "none":
        return NoRefiner()
    refiner: Refiner = chosen_class("refiner", name, REFINERS, ("none",)).from_bundle(bundle, device, mesh_dir)
    return refiner
