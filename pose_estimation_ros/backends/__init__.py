"""Selectable pose estimators. A new one is one file and one line in BACKENDS."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pose_estimation_ros.backends.base import Backend
    from pose_estimation_ros.objects.bundle import Bundle

BACKENDS = {
    "heatmaps": "pose_estimation_ros.backends.heatmaps:Heatmaps",
    "pix2pose": "pose_estimation_ros.backends.pix2pose:Pix2Pose",
}


def make_backend(name: str, bundle: Bundle, device: torch.device) -> Backend:
    """Load a backend with its weights from a bundle.

    Raises:
        ValueError: if there is no such backend.
        BundleError: if the bundle has no weights for it.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend = {name!r}: expected one of {', '.join(sorted(BACKENDS))}")
    module, _, attribute = BACKENDS[name].partition(":")
    return getattr(import_module(module), attribute).from_bundle(bundle, device)
