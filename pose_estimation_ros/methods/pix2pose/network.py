"""Dense object coordinates with their expected error, for all objects of a bundle in one network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pose_estimation_ros.networks.decoder import ModulatedMerge
from pose_estimation_ros.networks.encoder import EncoderKind, make_encoder
from pose_estimation_ros.networks.feature_mapping import FeatureMapping
from pose_estimation_ros.networks.placement import PlacementHead

COORDINATE_LIMIT = 1.1  # bins span [-1.1, 1.1] in units of the half box
STRIDE = 4  # input pixels per output cell
ERROR_FLOOR = 0.02  # added to expected errors where they weigh cells


class CoordinateMaps(NamedTuple):
    """What the network says of every cell of a crop; S = input side / STRIDE."""

    coordinates: Tensor  # (B, 3, S, S) normalised object coordinates, the box is [-1, 1] per axis
    error: Tensor  # (B, S, S) expected L1 error of the coordinates, in [0, 1]
    mask_logits: Tensor  # (B, 2, S, S) logits of the visible and of the full object mask
    bin_logits: Tensor  # (B, 3, K, S, S) logits of the coordinate bins
    placement: Tensor | None = None  # (B, 6) centre and size with their uncertainties, see `PlacementHead`


class Pix2PoseNet(nn.Module):
    """Predict, for every cell of a crop, the point of the object seen there and how wrong it may be.

    Follows Pix2Pose (Park et al., ICCV 2019): coordinates and an expected error per pixel. Differences: one network
    for all objects (an embedding of the object modulates the decoder, the last layer is chosen per sample), and the
    coordinate of each axis is the mean of a distribution over bins, which learns faster than a regressed value; beside
    the maps the object's centre and apparent size are regressed, which fix its distance.

    Args:
        objects: number of objects.
        widths: channels of encoder `own`.
        blocks: residual blocks of encoder `own`.
        decoder: channels of the decoder at strides 16, 8 and 4.
        bins: bins per axis.
        placement: regress the centre and the apparent size of the object as well.
        encoder: its kind, see `make_encoder`.
        mapping: the features of real images are mapped to those of renderings, see `FeatureMapping`.
    """

    bin_centres: Tensor

    def __init__(
        self,
        objects: int,
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        decoder: Sequence[int] = (192, 128, 64),
        bins: int = 32,
        placement: bool = True,
        encoder: EncoderKind = "own",
        mapping: bool = False,
    ) -> None:
        super().__init__()
        self.objects = objects
        self.bins = bins
        self.encoder = make_encoder(encoder, widths, blocks)
        *skips, deepest = self.encoder.channels
        self.embedding = nn.Embedding(objects, 64)
        channels, merges = deepest, []
        for skip, out in zip(reversed(skips), decoder, strict=True):
            merges.append(ModulatedMerge(channels, skip, out, 64))
            channels = out
        self.merges = nn.ModuleList(merges)
        self.outputs = 3 * bins + 3  # bins, error, two masks
        self.head_weight = nn.Parameter(torch.randn(objects, self.outputs, channels) * 0.01)
        self.head_bias = nn.Parameter(torch.zeros(objects, self.outputs))
        self.placement = PlacementHead(channels + 5, 64) if placement else None
        self.classifier = nn.Linear(deepest, objects)
        self.mapping = FeatureMapping(self.encoder.channels) if mapping else None
        centres = (torch.arange(bins) + 0.5) / bins * 2.0 - 1.0
        self.register_buffer("bin_centres", centres * COORDINATE_LIMIT, persistent=False)

    def forward(self, crops: Tensor, object_index: Tensor, is_real: bool = False) -> CoordinateMaps:
        """Predict maps for crops (B, 3, S, S) in [0, 1] of objects (B,).

        Features of crops that are real go through the mapping, if there is one.
        """
        features = self.encoder(crops)
        if is_real and self.mapping is not None:
            features = self.mapping(features)
        return self.decode(features, object_index)

    def classify(self, features: list[Tensor]) -> Tensor:
        """Return object logits (B, objects) from encoder features; an auxiliary task in training."""
        return self.classifier(features[3].float().mean(dim=(2, 3)))

    def decode(self, features: list[Tensor], object_index: Tensor) -> CoordinateMaps:
        """Predict maps from encoder features."""
        embedding = self.embedding(object_index)
        x = features[3]
        for merge, skip in zip(self.merges, reversed(features[:3]), strict=True):
            x = merge(x, skip, embedding)
        batch, channels, height, width = x.shape
        weight = self.head_weight[object_index].to(x.dtype)
        flat = torch.bmm(weight, x.reshape(batch, channels, height * width))
        out = (flat.float() + self.head_bias[object_index][:, :, None]).reshape(batch, self.outputs, height, width)
        bin_logits = out[:, : 3 * self.bins].reshape(batch, 3, self.bins, height, width)
        error = torch.sigmoid(out[:, 3 * self.bins])
        coordinates, mask_logits = self.coordinates_of(bin_logits), out[:, 3 * self.bins + 1 :]
        placement = None
        if self.placement is not None:
            masks = torch.sigmoid(mask_logits)
            dense = torch.cat([coordinates * masks[:, 1:], masks], dim=1).detach()
            placement = self.placement(torch.cat([x, dense.to(x.dtype)], dim=1), embedding)
        return CoordinateMaps(coordinates, error, mask_logits, bin_logits, placement)

    def coordinates_of(self, bin_logits: Tensor) -> Tensor:
        """Return the mean of each bin distribution: (B, 3, K, S, S) -> (B, 3, S, S)."""
        share = torch.softmax(bin_logits.float(), dim=2)
        return (share * self.bin_centres[:, None, None]).sum(dim=2)  # a product of matrices would be in half precision
