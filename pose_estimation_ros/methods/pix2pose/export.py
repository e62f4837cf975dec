"""The network as other runtimes run it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.pix2pose.estimator import ROLE
from pose_estimation_ros.methods.pix2pose.network import Pix2PoseNet
from pose_estimation_ros.networks.onnx_file import NetworkExport


class _Maps(nn.Module):
    def __init__(self, network: Pix2PoseNet, is_real: bool) -> None:
        super().__init__()
        self.network, self.is_real = network, is_real

    def forward(self, crops: Tensor, object_index: Tensor) -> tuple[Tensor, ...]:
        maps = self.network(crops, object_index, self.is_real)
        always = maps.coordinates, maps.error, maps.mask_logits
        return always if maps.placement is None else (*always, maps.placement)


def export(context: LoadContext) -> list[NetworkExport]:
    """Return the maps of crops, and the placement of their objects where the network knows it.

    Features are mapped as `pix2pose.domain` says.
    """
    bundle = context.bundle
    network, size = bundle.load_network(ROLE, Pix2PoseNet, torch.device("cpu")), bundle.network(ROLE).input_size

    def inputs(count: int) -> dict[str, Tensor]:
        crops = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
        return {"crops": crops, "object_index": torch.arange(count) % network.objects}

    outputs = ("coordinates", "error", "mask_logits") + (("placement",) if network.placement is not None else ())
    module = _Maps(network, context.settings.domain == "real").eval()
    return [NetworkExport(ROLE, module, inputs, outputs)]
