"""The projections of a box's corners with their uncertainty, for all objects of a bundle in one network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose_estimation_ros.networks.encoder import EncoderKind, make_encoder
from pose_estimation_ros.networks.feature_mapping import FeatureMapping
from pose_estimation_ros.objects.control_points import CORNERS
from pose_estimation_ros.objects.outline import OUTLINE_POINTS

STRIDE = 16  # input pixels per cell of the map that the features are made of
_EMBEDDING = 64
_OUTPUTS = 3 * CORNERS  # two coordinates and one uncertainty each
_TYPICAL = 0.3  # corners are about so far from the crop's centre, in sides of the crop
_TYPICAL_LOG_SCALE = -3.0
_LOG_SCALES = (-7.0, 1.0)  # limits of the logarithm of the uncertainties


class CornerPredictions(NamedTuple):
    """Where the corners of boxes are; lengths in sides of the crop, from its centre."""

    offsets: Tensor  # (B, 8, 2) columns and rows
    log_scales: Tensor  # (B, 8) logarithms of the scales of the Laplace distributions of both coordinates


class CornersNet(nn.Module):
    """Regress the projections of the eight corners of an object's box from one feature vector.

    Follows Feature Mapping (Rad et al., CVPR 2018): the feature extractor ends in two fully connected layers, one
    linear layer is the predictor. Differences: one network for all objects (an embedding of the object modulates the
    last layer of the extractor, the predictor is the object's own), an encoder that other methods share in place of
    VGG's first layers, and an uncertainty for each corner.

    Args:
        objects: number of objects.
        size: side of the crops that it is for, pixels; a multiple of 32.
        features: width of the feature vector.
        channels: of the map that is flattened for the first fully connected layer.
        encoder: its kind, see `make_encoder`.
        widths: channels of encoder `own`.
        blocks: residual blocks of encoder `own`.
        mapping: the features of real images are mapped to those of renderings, see `FeatureMapping`.

    Raises:
        ValueError: if the size is no multiple of 32.
    """

    outline: Tensor  # (objects, OUTLINE_POINTS, 3) metres, from which boxes follow; zeros where it is not known

    def __init__(
        self,
        objects: int,
        size: int = 128,
        features: int = 1024,
        channels: int = 64,
        encoder: EncoderKind = "own",
        widths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        mapping: bool = False,
    ) -> None:
        super().__init__()
        if size < 32 or size % 32:
            raise ValueError(f"CornersNet: size = {size}: expected a multiple of 32 pixels")
        self.objects, self.size = objects, size
        self.encoder = make_encoder(encoder, widths, blocks)
        *_, middle, deepest = self.encoder.channels
        self.join = nn.Conv2d(middle + deepest, channels, 1, bias=False)
        self.join_norm = nn.BatchNorm2d(channels)
        self.enter = nn.Linear(channels * (size // STRIDE) ** 2, features)
        self.enter_norm = nn.LayerNorm(features)
        self.inner = nn.Linear(features, features)
        self.inner_norm = nn.LayerNorm(features)
        self.embedding = nn.Embedding(objects, _EMBEDDING)
        self.modulate = nn.Linear(_EMBEDDING, 2 * features)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        self.head_weight = nn.Parameter(torch.randn(objects, _OUTPUTS, features) * 0.01)
        self.head_bias = nn.Parameter(torch.zeros(objects, _OUTPUTS))
        self.register_buffer("outline", torch.zeros(objects, OUTLINE_POINTS, 3))
        self.mapping = FeatureMapping([features]) if mapping else None

    def forward(self, crops: Tensor, object_index: Tensor, is_real: bool = False) -> CornerPredictions:
        """Predict the corners in crops (B, 3, size, size), in [0, 1], of objects (B,).

        Features of crops that are real go through the mapping, if there is one.
        """
        features = self.features(crops, object_index)
        if is_real and self.mapping is not None:
            (features,) = self.mapping([features])
        return self.read(features, object_index)

    def features(self, crops: Tensor, object_index: Tensor) -> Tensor:
        """Return the feature vectors (B, features) of crops of objects.

        Raises:
            ValueError: if the crops have another size.
        """
        if crops.shape[2:] != (self.size, self.size):
            raise ValueError(f"CornersNet: crops of {tuple(crops.shape[2:])} pixels, expected {self.size} a side")
        *_, middle, deepest = self.encoder(crops)
        wide = F.interpolate(deepest, size=middle.shape[2:], mode="bilinear", align_corners=False)
        joined = F.relu(self.join_norm(self.join(torch.cat([middle, wide], dim=1))))
        entered = F.relu(self.enter_norm(self.enter(joined.flatten(1))))
        scale, shift = self.modulate(self.embedding(object_index)).chunk(2, dim=1)
        return F.relu(self.inner_norm(self.inner(entered)) * (1.0 + scale) + shift)

    def read(self, features: Tensor, object_index: Tensor) -> CornerPredictions:
        """Predict the corners from feature vectors."""
        weight = self.head_weight[object_index].to(features.dtype)
        out = torch.bmm(weight, features[:, :, None])[:, :, 0].float() + self.head_bias[object_index]
        offsets = _TYPICAL * out[:, : 2 * CORNERS].unflatten(1, (CORNERS, 2))
        return CornerPredictions(offsets, (out[:, 2 * CORNERS :] + _TYPICAL_LOG_SCALE).clamp(*_LOG_SCALES))
