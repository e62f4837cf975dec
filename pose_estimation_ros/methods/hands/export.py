"""The networks as other runtimes run them: the palm from a crop near it, and the joints from a crop about it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.hands.estimator import ROLE
from pose_estimation_ros.methods.hands.network import HandNet
from pose_estimation_ros.networks.onnx_file import NetworkExport


class _Palm(nn.Module):
    def __init__(self, network: HandNet) -> None:
        super().__init__()
        self.network = network.centre

    def forward(self, crops: Tensor) -> tuple[Tensor]:
        return (self.network(crops),)


class _Joints(nn.Module):
    def __init__(self, network: HandNet, is_real: bool) -> None:
        super().__init__()
        self.network, self.is_real = network, is_real

    def forward(self, crops: Tensor) -> tuple[Tensor]:
        return (self.network(crops, self.is_real),)


def export(context: LoadContext) -> list[NetworkExport]:
    """Return both networks; palms and joints are in cubes, features are mapped as `hands.domain` says."""
    network = context.bundle.load_network(ROLE, HandNet, torch.device("cpu"))

    def inputs(count: int) -> dict[str, Tensor]:
        crops = 2.0 * torch.rand(count, 1, network.size, network.size, generator=torch.Generator().manual_seed(0)) - 1.0
        return {"crops": crops}

    return [
        NetworkExport(f"{ROLE}_centre", _Palm(network).eval(), inputs, ("palm",)),
        NetworkExport(ROLE, _Joints(network, context.settings.domain == "real").eval(), inputs, ("joints",)),
    ]
