"""The network as other runtimes run it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.heatmaps.estimator import ROLE
from pose_estimation_ros.networks.heatmap_net import HeatmapNet, patch_grid, spread_patches
from pose_estimation_ros.networks.onnx_file import NetworkExport


class _Votes(nn.Module):
    def __init__(self, network: HeatmapNet, patches: Tensor, is_real: bool) -> None:
        super().__init__()
        self.network, self.patches, self.is_real = network, patches, is_real

    def forward(self, crops: Tensor, object_index: Tensor) -> tuple[Tensor]:
        patches = self.patches.expand(crops.shape[0], -1)
        return (self.network(crops, object_index, patches, self.is_real),)


def export(context: LoadContext) -> list[NetworkExport]:
    """Return the votes of the patches of a crop, those that the settings choose.

    Features are mapped as `heatmaps.domain` says.
    """
    bundle = context.bundle
    network, size = bundle.load_network(ROLE, HeatmapNet, torch.device("cpu")), bundle.network(ROLE).input_size
    patches = spread_patches(patch_grid(size, network.window), context.settings.patches)[None]

    def inputs(count: int) -> dict[str, Tensor]:
        crops = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
        return {"crops": crops, "object_index": torch.arange(count) % network.objects}

    module = _Votes(network, patches, context.settings.domain == "real").eval()
    return [NetworkExport(ROLE, module, inputs, ("votes",))]
