"""The network as other runtimes run it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.nemo.estimator import ROLE
from pose_estimation_ros.methods.nemo.network import NemoNet
from pose_estimation_ros.networks.onnx_file import NetworkExport


class _Features(nn.Module):
    def __init__(self, network: NemoNet, is_real: bool) -> None:
        super().__init__()
        self.network, self.is_real = network, is_real

    def forward(self, crops: Tensor, object_index: Tensor) -> tuple[Tensor]:
        return (self.network(crops, object_index, self.is_real),)


def export(context: LoadContext) -> list[NetworkExport]:
    """Return the features of crops; the meshes and their features are not part of the file.

    What the encoder sees is mapped as `nemo.domain` says.
    """
    bundle = context.bundle
    network, size = bundle.load_network(ROLE, NemoNet, torch.device("cpu")), bundle.network(ROLE).input_size

    def inputs(count: int) -> dict[str, Tensor]:
        crops = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
        return {"crops": crops, "object_index": torch.arange(count) % network.embedding.num_embeddings}

    module = _Features(network, context.settings.domain == "real").eval()
    return [NetworkExport(ROLE, module, inputs, ("features",))]
