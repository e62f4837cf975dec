"""Networks that compare images with renderings, as other runtimes run them."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from pose_estimation_ros.methods.domain import Domain
from pose_estimation_ros.networks.attention_net import RENDERED, AttentionNet
from pose_estimation_ros.networks.attention_paper import PaperAttentionNet, make_attention_net
from pose_estimation_ros.networks.onnx_file import NetworkExport
from pose_estimation_ros.objects.bundle import Bundle


class _Comparison(nn.Module):
    def __init__(self, network: AttentionNet | PaperAttentionNet, is_real: bool) -> None:
        super().__init__()
        self.network, self.is_real = network, is_real

    def forward(self, observed: Tensor, rendered: Tensor, distance: Tensor, extent: Tensor) -> tuple[Tensor, ...]:
        found = self.network(observed, rendered, distance, extent, self.is_real)
        always = found.shift, found.log_distance, found.axis_angle, found.log_error
        return always if found.similarity is None else (*always, found.similarity)


def export_comparison(bundle: Bundle, role: str, domain: Domain) -> list[NetworkExport]:
    """Return the comparison for every size of image that its stages use, updates solved for."""
    network = bundle.load_network(role, lambda _, **kind: make_attention_net(**kind), torch.device("cpu"))
    always = ("shift", "log_distance", "axis_angle", "log_error")
    outputs = (*always, "similarity") if isinstance(network, AttentionNet) else always
    module = _Comparison(network, domain == "real").eval()
    sizes = sorted({*network.coarse_sizes, bundle.network(role).input_size})
    return [NetworkExport(f"{role}_{size}", module, partial(_example, size), outputs) for size in sizes]


def _example(size: int, count: int) -> dict[str, Tensor]:
    """Return images, and renderings of a bump that fills most of them."""
    generator = torch.Generator().manual_seed(0)
    observed = torch.rand(count, 3, size, size, generator=generator)
    line = torch.linspace(-1.2, 1.2, size)
    x, y = line[None, :].expand(size, size), line[:, None].expand(size, size)
    height = 1.0 - x**2 - y**2
    mask = (height > 0.0).float()
    points = torch.stack([x, y, -height.clamp(min=0.0).sqrt(), torch.ones_like(x)]) * mask
    rendered = torch.zeros(count, RENDERED, size, size)
    rendered[:, :3] = torch.rand(count, 3, size, size, generator=generator) * mask
    rendered[:, 3:] = points
    distance = 4.0 + torch.rand(count, generator=generator)
    return {"observed": observed, "rendered": rendered, "distance": distance, "extent": torch.full((count,), 1.3)}
