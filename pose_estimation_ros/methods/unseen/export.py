"""The networks as other runtimes run them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.render_compare_export import export_comparison
from pose_estimation_ros.methods.unseen.estimator import ROLES
from pose_estimation_ros.methods.view_table import SIZE
from pose_estimation_ros.methods.view_tables import encoded
from pose_estimation_ros.networks.attention_net import AttentionNet
from pose_estimation_ros.networks.attention_paper import make_attention_net
from pose_estimation_ros.networks.onnx_file import NetworkExport


class _Features(nn.Module):
    def __init__(self, network: AttentionNet, is_real: bool) -> None:
        super().__init__()
        self.network, self.is_real = network, is_real

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (encoded(self.network, images, self.is_real),)


def export(context: LoadContext) -> list[NetworkExport]:
    """Return the features that views are looked up by, and the comparison where it is a network of its own.

    Where the network maps features of images and `unseen.domain` says that these are real, those have a file of their
    own beside that of the renderings in the table.
    """
    bundle, domain = context.bundle, context.settings.domain
    role = next((role for role in ROLES if role in bundle.networks), None)
    if role is None:
        return []
    network = bundle.load_network(role, lambda _, **kind: make_attention_net(**kind), torch.device("cpu"))
    if not isinstance(network, AttentionNet):
        return []

    def inputs(count: int) -> dict[str, Tensor]:
        return {"images": torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))}

    kinds = {f"{role}_features": False}
    if domain == "real" and network.mapping is not None:
        kinds[f"{role}_features_real"] = True
    features = [
        NetworkExport(name, _Features(network, is_real).eval(), inputs, ("features",))
        for name, is_real in kinds.items()
    ]
    return [*features, *(export_comparison(bundle, role, domain) if role == ROLES[0] else [])]
