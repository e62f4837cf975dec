"""The network as other runtimes run it."""

from __future__ import annotations

from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.mask_rcnn.detector import ROLE
from pose_estimation_ros.methods.segmentation_export import export_segmenter
from pose_estimation_ros.networks.onnx_file import NetworkExport


def export(context: LoadContext) -> list[NetworkExport]:
    """Return the detector's parts."""
    return export_segmenter(context.bundle, ROLE, len(context.bundle.catalog))
