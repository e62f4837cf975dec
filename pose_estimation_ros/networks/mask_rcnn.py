"""Mask R-CNN: torchvision's region proposals and region heads on a backbone of our choice.

He et al., "Mask R-CNN", ICCV 2017. Torchvision's own resizing is left out: the network takes images in [0, 1] at the
size at which it shall see them, and its backbone normalises them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose_estimation_ros.networks import light_torchvision  # noqa: F401  comes before torchvision

# isort: split
from torchvision.models import resnet50
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from pose_estimation_ros.networks.encoder import EncoderKind, make_encoder

STRIDE = 32  # of the coarsest map of the encoder; inputs are padded to a multiple of it
BACKBONES = ("compact", "resnet50_fpn")


class CompactBackbone(nn.Module):
    """The encoder shared with the pose networks and a light feature pyramid on its four maps."""

    trunk_name = "encoder"  # of the part that may come with trained weights
    has_coco_weights = False

    def __init__(
        self, encoder: EncoderKind, widths: Sequence[int] | None, blocks: Sequence[int] | None, channels: int
    ) -> None:
        super().__init__()
        self.encoder = make_encoder(encoder, widths, blocks)
        self.fpn = FeaturePyramidNetwork(list(self.encoder.channels), channels, norm_layer=nn.BatchNorm2d)
        self.out_channels = channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return maps "0".."3" with strides 4, 8, 16, 32 of images (B, 3, H, W)."""
        return self.fpn(OrderedDict((str(level), value) for level, value in enumerate(self.trunk_maps(images))))

    def trunk_maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps of the encoder with strides 4, 8, 16, 32 of images (B, 3, H, W)."""
        return self.encoder(images)


class ResNet50Backbone(nn.Module):
    """Torchvision's ResNet-50 with its feature pyramid: 256 channels, strides 4, 8, 16, 32 and 64."""

    trunk_name = "body"
    has_coco_weights = True
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        body = resnet50(weights=None)
        kept = {f"layer{level + 1}": str(level) for level in range(4)}
        pyramid = BackboneWithFPN(body, kept, [256, 512, 1024, 2048], 256)
        self.body, self.fpn, self.out_channels = pyramid.body, pyramid.fpn, 256
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return maps "0".."3" and "pool" of images (B, 3, H, W)."""
        return self.fpn(self.body((images - self.mean) / self.std))

    def trunk_maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps of the body with strides 4, 8, 16, 32 of images (B, 3, H, W)."""
        return list(self.body((images - self.mean) / self.std).values())


class MaskRCNNNetwork(nn.Module):
    """Find boxes, classes and masks of known objects.

    Args:
        classes: number of object classes, without background.
        backbone: "compact", or "resnet50_fpn" (torchvision's, with its five levels).
        widths, blocks: of the compact backbone's encoder `own`.
        channels: of the feature pyramid and the mask head.
        box_hidden: width of the box head.
        mask_layers: number of 3x3 convolutions of the mask head.
        anchor_sizes: anchor sides in input pixels, one per pyramid level.
        proposals_train, proposals_test: regions kept (before, after) non-maximum suppression, before counts per level.
        box_samples: regions per image on which the box head is trained; at most a quarter of them positive.
        region_scale: side in input pixels of a region whose features are read from stride 16; half of it from
            stride 8, and so on. Masks are read one level finer.
        detections_per_image: most detections returned.
        encoder: kind of the compact backbone's encoder, see `make_encoder`.

    Raises:
        ValueError: if a setting is unknown or inconsistent.
    """

    def __init__(
        self,
        classes: int,
        backbone: str = "compact",
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        channels: int = 64,
        box_hidden: int = 256,
        mask_layers: int = 2,
        anchor_sizes: Sequence[float] = (20.0, 40.0, 80.0, 160.0),
        proposals_train: tuple[int, int] = (256, 64),
        proposals_test: tuple[int, int] = (300, 150),
        box_samples: int = 64,
        region_scale: float = 80.0,
        detections_per_image: int = 30,
        encoder: EncoderKind = "own",
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"MaskRCNNNetwork: classes = {classes}, expected at least 1")
        self.classes = classes
        self.backbone = _backbone(backbone, encoder, widths, blocks, channels)
        levels = 5 if backbone == "resnet50_fpn" else 4
        if len(anchor_sizes) != levels:
            raise ValueError(
                f"MaskRCNNNetwork: {len(anchor_sizes)} anchor sizes {tuple(anchor_sizes)}, expected {levels}: "
                f"one per pyramid level of {backbone}"
            )
        self.rpn = _region_proposals(channels, anchor_sizes, proposals_train, proposals_test)
        self.roi_heads = _region_heads(
            classes, channels, box_hidden, mask_layers, box_samples, detections_per_image, region_scale
        )

    def forward(self, images: Tensor, targets: list[dict[str, Tensor]] | None = None) -> Any:
        """Detect, or compute the training losses.

        Args:
            images: (B, 3, H, W) in [0, 1].
            targets: in training mode, per image `boxes` (n, 4) x0 y0 x1 y1 in pixels, `labels` (n,) int64 in
                1..classes, `masks` (n, H, W) uint8.

        Returns:
            In training mode a dict of scalar losses; otherwise per image a dict of `boxes` (n, 4), `labels` (n,),
            `scores` (n,) and `masks` (n, 1, 28, 28), the probability of each cell of the box.
        """
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % STRIDE, 0, -height % STRIDE), value=0.45)
        features = self.backbone(padded.contiguous(memory_format=torch.channels_last))
        # Region operations work on plain layouts, and in float32 under autocast: convert once, not per head.
        features = OrderedDict((name, value.float().contiguous()) for name, value in features.items())
        sizes = [(height, width)] * len(images)
        proposals, rpn_losses = self.rpn(ImageList(padded, sizes), features, targets)
        detections, roi_losses = self.roi_heads(features, proposals, sizes, targets)
        return {**rpn_losses, **roi_losses} if self.training else detections


def _backbone(
    name: str, encoder: EncoderKind, widths: Sequence[int] | None, blocks: Sequence[int] | None, channels: int
) -> CompactBackbone | ResNet50Backbone:
    if name == "compact":
        return CompactBackbone(encoder, widths, blocks, channels)
    if name == "resnet50_fpn":
        if encoder != "own":
            raise ValueError(f"MaskRCNNNetwork: encoder = {encoder!r}: is for backbone compact, not resnet50_fpn")
        if channels != 256:
            raise ValueError(f"MaskRCNNNetwork: channels = {channels}, expected 256 for resnet50_fpn")
        return ResNet50Backbone()
    raise ValueError(f"MaskRCNNNetwork: backbone = {name!r}, expected one of {', '.join(BACKBONES)}")


class _ProposalHead(RPNHead):
    """Torchvision's, with float32 outputs: boxes are decoded in their format, and bfloat16 rounds 600 pixels to 2."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        objectness, deltas = super().forward(x)
        return [item.float() for item in objectness], [item.float() for item in deltas]


class _BoxPredictor(FastRCNNPredictor):
    """Torchvision's, with float32 outputs, for the same reason."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, deltas = super().forward(x)
        return scores.float(), deltas.float()


def _region_proposals(
    channels: int, anchor_sizes: Sequence[float], train: tuple[int, int], test: tuple[int, int]
) -> RegionProposalNetwork:
    anchors = AnchorGenerator(tuple((size,) for size in anchor_sizes), ((0.5, 1.0, 2.0),) * len(anchor_sizes))
    return RegionProposalNetwork(
        anchors,
        _ProposalHead(channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=128,
        positive_fraction=0.5,
        pre_nms_top_n={"training": train[0], "testing": test[0]},
        post_nms_top_n={"training": train[1], "testing": test[1]},
        nms_thresh=0.7,
    )


def _region_heads(
    classes: int,
    channels: int,
    box_hidden: int,
    mask_layers: int,
    box_samples: int,
    detections_per_image: int,
    scale: float,
) -> RoIHeads:
    maps = ["0", "1", "2", "3"]
    # One sample per bin is enough: a region spans about as many cells of its map as it has bins.
    return RoIHeads(
        box_roi_pool=MultiScaleRoIAlign(maps, 7, sampling_ratio=1, canonical_scale=scale),
        box_head=TwoMLPHead(channels * 7 * 7, box_hidden),
        box_predictor=_BoxPredictor(box_hidden, classes + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=box_samples,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=0.05,
        nms_thresh=0.5,
        detections_per_img=detections_per_image,
        mask_roi_pool=MultiScaleRoIAlign(maps, 14, sampling_ratio=1, canonical_scale=2 * scale),
        mask_head=MaskRCNNHeads(channels, (channels,) * mask_layers, dilation=1),
        mask_predictor=MaskRCNNPredictor(channels, channels, classes + 1),
    )


def load_coco_weights(network: MaskRCNNNetwork) -> dict[str, str]:
    """Take over every weight of torchvision's COCO model whose name and shape fit: all but the class layers.

    Returns:
        What the bundle says of the weights.

    Raises:
        ValueError: if the backbone is not resnet50_fpn.
        OSError: if the weights are neither in the cache nor to be downloaded.
    """
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights as Coco

    if not network.backbone.has_coco_weights:
        raise ValueError(
            "pretrained: coco: there are no such weights for the compact backbone, only for resnet50_fpn; expected "
            "pretrained: imagenet with network: {encoder: lite0}"
        )
    try:
        source = Coco.COCO_V1.get_state_dict(progress=False)
    except OSError as error:
        raise OSError(
            f"pretrained: coco: cannot read {Coco.COCO_V1.url} ({error}); allow network access or set pretrained: null"
        ) from error
    own = network.state_dict()
    fitting = {name: value for name, value in source.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict(fitting, strict=False)
    return {"weights": "coco", "package": "torchvision", "file": Coco.COCO_V1.url}
