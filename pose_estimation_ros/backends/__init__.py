"""Selectable pose estimators. A new one is one file and one line in BACKENDS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from pose_estimation_ros.registry import chosen_class

if TYPE_CHECKING:
    from pose_estimation_ros.backends.base import Backend
    from pose_estimation_ros.objects.bundle import Bundle

BACKENDS = {
    "heatmaps": "pose_estimation_ros.backends.heatmaps:Heatmaps",
    "nemo": "pose_estimation_ros.backends.nemo:Nemo",
    "nemo_paper": "pose_estimation_ros.backends.nemo:PaperNemo",
    "pix2pose": "pose_estimation_ros.backends.pix2pose:Pix2Pose",
}


def make_backend(name: str, bundle: Bundle, device: torch.device) -> Backend:
    """Load a backend with its weights from a bundle.

    Raises:
        ValueError: if there is no such backend.
        BundleError: if the bundle has no weights for it.
    """
    made: Backend = chosen_class("backend", name, BACKENDS).from_bundle(bundle, device)
    return made
