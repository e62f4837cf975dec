"""Detection with Mask R-CNN."""

from __future__ import annotations

from collections.abc import Collection

import torch

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.segmentation import Segmenter, load_segmenter
from pose_estimation_ros.methods.test_time_augmentation import AUGMENTED, PLAIN

ROLE = "detector"  # of the network in the bundle


class MaskRCNN:
    """Find the objects of a bundle with boxes and masks.

    Args:
        segmenter: its classes are the objects, in the order of the catalog.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter

    @torch.inference_mode()
    def detect(self, frame: Frame, score_threshold: float, objects: Collection[int] | None = None) -> list[Detection]:
        """Return the objects scored at least `score_threshold`, best first; see `Detector`."""
        found = self.segmenter.segment(frame.rgb, score_threshold)
        wanted = [item for item in found if objects is None or item.label in objects]
        return [Detection(item.label, item.score, item.box, item.mask) for item in wanted]


def load(context: LoadContext) -> MaskRCNN:
    """Load the detector of a bundle.

    Raises:
        BundleError: if weights are missing, damaged or do not fit.
    """
    bundle, settings = context.bundle, context.settings
    views = AUGMENTED if _is_augmented(context) else PLAIN
    return MaskRCNN(load_segmenter(bundle, ROLE, len(bundle.catalog), context.device, settings.max_mask_overlap, views))


def _is_augmented(context: LoadContext) -> bool:
    choice = context.settings.test_time_augmentation
    return context.refines if choice == "auto" else choice == "always"
