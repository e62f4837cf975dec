"""Settings of the detector `mask_rcnn`."""

from __future__ import annotations

from typing import Literal

from pose_estimation_ros.settings import Settings, setting


class MaskRCNNSettings(Settings):
    """How detections are told apart."""

    max_mask_overlap: float = setting(
        0.6,
        "Of two detections whose visible masks overlap by more (intersection over union), whatever their classes, only "
        "the better is kept; 1 keeps both.",
        ge=0.0,
        le=1.0,
    )
    test_time_augmentation: Literal["auto", "always", "never"] = setting(
        "auto",
        "Run the network on the image a quarter larger and on the mirrored image, and average what it finds: better "
        "boxes, fewer false ones, 2.5 times the work; auto does so where poses are refined, which takes longer still.",
    )
