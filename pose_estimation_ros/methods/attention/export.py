"""The network as other runtimes run it."""

from __future__ import annotations

from pose_estimation_ros.methods.attention.refiner import ROLE
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.render_compare_export import export_comparison
from pose_estimation_ros.networks.onnx_file import NetworkExport


def export(context: LoadContext) -> list[NetworkExport]:
    """Return the comparison of images and renderings; features are mapped as `attention.domain` says."""
    return export_comparison(context.bundle, ROLE, context.settings.domain)
