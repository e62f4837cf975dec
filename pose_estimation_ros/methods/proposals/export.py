"""The networks as other runtimes run them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.proposals.detector import ROLE
from pose_estimation_ros.methods.proposals.matching import DESCRIPTORS
from pose_estimation_ros.methods.segmentation_export import export_segmenter
from pose_estimation_ros.methods.view_table import SIZE
from pose_estimation_ros.networks.descriptor_net import DescriptorNet
from pose_estimation_ros.networks.onnx_file import NetworkExport


class _Descriptors(nn.Module):
    def __init__(self, network: DescriptorNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.network(images),)


def export(context: LoadContext) -> list[NetworkExport]:
    """Return the parts of what proposes, and the descriptors that name what it proposes."""
    bundle = context.bundle
    network = bundle.load_network(DESCRIPTORS, _build, torch.device("cpu"))

    def inputs(count: int) -> dict[str, Tensor]:
        return {"images": torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))}

    descriptors = NetworkExport(DESCRIPTORS, _Descriptors(network).eval(), inputs, ("descriptors",))
    return [*export_segmenter(bundle, ROLE, 1), descriptors]


def _build(_: int, **architecture: Any) -> DescriptorNet:
    return DescriptorNet(**architecture)
