"""Selectable detectors. A new one is one file and one line in DETECTORS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pose_estimation_ros.registry import chosen_class

if TYPE_CHECKING:
    import torch

    from pose_estimation_ros.detection.base import Detector
    from pose_estimation_ros.objects.bundle import Bundle

DETECTORS = {
    "mask_rcnn": "pose_estimation_ros.detection.mask_rcnn:MaskRCNN",
    "patches": "pose_estimation_ros.detection.patches:PatchLocaliser",
}


def make_detector(name: str, bundle: Bundle, device: torch.device) -> Detector:
    """Load a detector with its weights from a bundle.

    Raises:
        ValueError: if there is no such detector.
        BundleError: if the bundle has no weights for it.
    """
    made: Detector = chosen_class("detector", name, DETECTORS).from_bundle(bundle, device)
    return made
