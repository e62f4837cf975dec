"""Mask R-CNN as other runtimes run it: in three parts, between which boxes are chosen, which is no network's work."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose_estimation_ros.methods.segmentation import load_segmenter
from pose_estimation_ros.networks.mask_rcnn import STRIDE, MaskRCNNNetwork
from pose_estimation_ros.networks.onnx_file import NetworkExport
from pose_estimation_ros.objects.bundle import Bundle

_BOX_CELLS, _MASK_CELLS = 7, 14  # a side of what is read of a region


class _Dense(nn.Module):
    def __init__(self, network: MaskRCNNNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = list(self.network.backbone(images).values())
        objectness, deltas = self.network.rpn.head(maps)
        return (*maps, *objectness, *deltas)


class _Boxes(nn.Module):
    def __init__(self, network: MaskRCNNNetwork) -> None:
        super().__init__()
        self.heads = network.roi_heads

    def forward(self, regions: Tensor) -> tuple[Tensor, ...]:
        return self.heads.box_predictor(self.heads.box_head(regions))


class _Masks(nn.Module):
    def __init__(self, network: MaskRCNNNetwork) -> None:
        super().__init__()
        self.heads = network.roi_heads

    def forward(self, regions: Tensor) -> tuple[Tensor]:
        return (self.heads.mask_predictor(self.heads.mask_head(regions)),)


def export_segmenter(bundle: Bundle, role: str, classes: int) -> list[NetworkExport]:
    """Return what sees the whole image, and what sees the regions that follow from it: box head and mask head."""
    segmenter = load_segmenter(bundle, role, classes, torch.device("cpu"), 1.0)
    network, width = segmenter.network, -(-segmenter.input_width // STRIDE) * STRIDE
    height = -(-segmenter.input_width * 3 // 4 // STRIDE) * STRIDE  # of an image of four by three
    channels = network.backbone.out_channels

    def images(count: int) -> dict[str, Tensor]:
        return {"images": torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))}

    def regions(count: int, cells: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(0)
        return {"regions": torch.randn(count, channels, cells, cells, generator=generator)}

    levels = range(5 if len(network.rpn.anchor_generator.sizes) == 5 else 4)
    dense = tuple(f"{name}_{level}" for name in ("map", "objectness", "deltas") for level in levels)
    return [
        NetworkExport(f"{role}_dense", _Dense(network).eval(), images, dense),
        NetworkExport(
            f"{role}_boxes", _Boxes(network).eval(), lambda count: regions(count, _BOX_CELLS), ("logits", "deltas")
        ),
        NetworkExport(f"{role}_masks", _Masks(network).eval(), lambda count: regions(count, _MASK_CELLS), ("masks",)),
    ]
