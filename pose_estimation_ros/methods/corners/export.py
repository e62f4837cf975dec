"""The network as other runtimes run it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.corners.estimator import ROLE
from pose_estimation_ros.methods.corners.network import CornersNet
from pose_estimation_ros.networks.onnx_file import NetworkExport


class _Corners(nn.Module):
    def __init__(self, network: CornersNet, is_real: bool) -> None:
        super().__init__()
        self.network, self.is_real = network, is_real

    def forward(self, crops: Tensor, object_index: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(crops, object_index, self.is_real))


def export(context: LoadContext) -> list[NetworkExport]:
    """Return the corners of crops and the logarithms of their scales; features are mapped as `corners.domain` says."""
    network = context.bundle.load_network(ROLE, CornersNet, torch.device("cpu"))

    def inputs(count: int) -> dict[str, Tensor]:
        crops = torch.rand(count, 3, network.size, network.size, generator=torch.Generator().manual_seed(0))
        return {"crops": crops, "object_index": torch.arange(count) % network.objects}

    module = _Corners(network, context.settings.domain == "real").eval()
    return [NetworkExport(ROLE, module, inputs, ("offsets", "log_scales"))]
