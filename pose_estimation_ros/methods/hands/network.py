"""DeepPrior++: a residual network that finds hand joints through a prior, and a small one that centres the crop.

Oberweger and Lepetit, "DeepPrior++: Improving Fast and Accurate 3D Hand Pose Estimation", ICCV workshops 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pose_estimation_ros.data.nyu_hand import JOINTS
from pose_estimation_ros.methods.hands.votes import JointVotes
from pose_estimation_ros.networks.feature_mapping import FeatureMapping

_OUTPUTS = 3 * len(JOINTS)
_CENTRE_CHANNELS, _CENTRE_FEATURES = 16, 128
_SCALES = (1, 2, 4)  # the crop, and the middle half and quarter of it along each axis


class Bottleneck(nn.Module):
    """Residual block, normalised before its convolutions (He et al., ECCV 2016)."""

    def __init__(self, enter: int, leave: int, stride: int) -> None:
        super().__init__()
        inner = leave // 4
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in (enter, inner, inner))
        self.convolutions = nn.ModuleList(
            [
                nn.Conv2d(enter, inner, 1, stride, bias=False),
                nn.Conv2d(inner, inner, 3, 1, 1, bias=False),
                nn.Conv2d(inner, leave, 1, bias=False),
            ]
        )
        self.shortcut = nn.Conv2d(enter, leave, 1, stride, bias=False) if enter != leave or stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, enter, H, W) to (B, leave, H / stride, W / stride)."""
        out = F.relu(self.norms[0](x))
        kept = x if self.shortcut is None else self.shortcut(out)
        for norm, convolution in zip([None, *self.norms[1:]], self.convolutions, strict=True):
            out = convolution(out if norm is None else F.relu(norm(out)))
        return kept + out


class CentreNet(nn.Module):
    """Regress the palm from a crop about a place nearby, looking at three scales."""

    def __init__(self, size: int) -> None:
        super().__init__()
        side = size // 16
        self.scales = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(1, 8, 5, 1, 2),
                nn.MaxPool2d(max(4 // scale, 1)),
                nn.ReLU(),
                nn.Conv2d(8, _CENTRE_CHANNELS, 5, 1, 2),
                nn.MaxPool2d(2),
                nn.ReLU(),
                nn.Conv2d(_CENTRE_CHANNELS, _CENTRE_CHANNELS, 3, 1, 1),
                nn.MaxPool2d(2),
                nn.ReLU(),
            )
            for scale in _SCALES
        )
        self.enter = nn.Linear(len(_SCALES) * _CENTRE_CHANNELS * side**2, _CENTRE_FEATURES)
        self.leave = nn.Linear(_CENTRE_FEATURES, 3)

    def forward(self, crops: Tensor) -> Tensor:
        """Return where the palm is (B, 3) in the cubes of crops (B, 1, S, S)."""
        size = crops.shape[-1]
        seen = []
        for scale, network in zip(_SCALES, self.scales, strict=True):
            start = (size - size // scale) // 2
            middle = crops[:, :, start : start + size // scale, start : start + size // scale]
            seen.append(network(middle).flatten(1))
        return self.leave(F.relu(self.enter(torch.cat(seen, dim=1))))


class HandNet(nn.Module):
    """Both networks.

    Args:
        objects: one, the hand; bundles pass it.
        size: side of the crops in pixels, a multiple of 32.
        widths: channels of the four stages.
        blocks: residual blocks of every stage; 5 as published.
        features: length of the feature vectors, or channels of the feature map.
        components: of the prior.
        search_scale: how many times as large as a hand's the cubes are in which the palm is looked for.
        reading: what joints are read from: a `vector`, as published, or `votes` of the places of a feature map.
        mapping: the features of real images are mapped to those of renderings, see `FeatureMapping`.

    Raises:
        ValueError: if the size is not such a multiple, or the reading another one.
    """

    prior_mean: Tensor
    prior_basis: Tensor

    def __init__(
        self,
        objects: int = 1,
        size: int = 64,
        widths: Sequence[int] = (64, 128, 256, 256),
        blocks: int = 2,
        features: int = 1024,
        components: int = 30,
        search_scale: float = 1.0,
        reading: Literal["vector", "votes"] = "vector",
        mapping: bool = False,
    ) -> None:
        super().__init__()
        if reading not in ("vector", "votes"):
            raise ValueError(f"HandNet: reading = {reading}: expected vector or votes")
        if size < 32 or size % 32:
            raise ValueError(f"HandNet: size = {size}: expected a multiple of 32 pixels")
        self.size, self.search_scale, self.reading = size, search_scale, reading
        self.centre = CentreNet(size)
        self.stem = nn.Conv2d(1, 32, 5, 1, 2)
        stages: list[nn.Module] = []
        before = 32
        for width in widths:
            for number in range(blocks):
                stages.append(Bottleneck(before, width, 2 if number == 0 else 1))
                before = width
        self.blocks = blocks
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(before)
        if reading == "votes":
            self.votes = JointVotes(widths[1:], features, len(JOINTS))
        else:
            self.enter = nn.Linear(before * (size // 32) ** 2, features)
            self.inner = nn.Linear(features, features)
            self.coefficients = nn.Linear(features, components)
        self.register_buffer("prior_mean", torch.zeros(_OUTPUTS))
        self.register_buffer("prior_basis", torch.zeros(components, _OUTPUTS))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        for last in (self.centre.leave, self.votes.votes if reading == "votes" else self.coefficients):
            nn.init.normal_(last.weight, std=0.01)
        self.mapping = FeatureMapping([features]) if mapping else None

    def set_prior(self, mean: Tensor, basis: Tensor) -> None:
        """Set the mean (42,) and the components (K, 42), orthonormal, of joints in cubes."""
        self.prior_mean.copy_(mean)
        self.prior_basis.copy_(basis)

    def features(self, crops: Tensor) -> Tensor:
        """Return features of crops (B, 1, size, size) about palms: vectors (B, F), or maps (B, F, size / 8, size / 8).

        Raises:
            ValueError: if the crops have another size.
        """
        if crops.shape[1:] != (1, self.size, self.size):
            raise ValueError(
                f"HandNet: crops of shape {tuple(crops.shape[1:])}, expected (1, {self.size}, {self.size})"
            )
        out = F.max_pool2d(self.stem(crops), 2)
        levels = []
        for start in range(0, len(self.stages), self.blocks):
            out = self.stages[start : start + self.blocks](out)
            levels.append(out)
        levels[-1] = F.relu(self.norm(out))
        if self.reading == "votes":
            return self.votes.features(levels[1:])
        return F.relu(self.inner(F.relu(self.enter(levels[-1].flatten(1)))))

    def read(self, features: Tensor) -> Tensor:
        """Return joints (B, 14, 3) in cubes, from such features, as far as the prior's components can say them."""
        if self.reading == "votes":
            weights = (self.votes(features).flatten(1) - self.prior_mean) @ self.prior_basis.T
        else:
            weights = self.coefficients(features).float()
        return (self.prior_mean + weights @ self.prior_basis).unflatten(1, (len(JOINTS), 3))

    def forward(self, crops: Tensor, is_real: bool = False) -> Tensor:
        """Return joints (B, 14, 3) in the cubes of crops (B, 1, size, size).

        Features of crops that are real go through the mapping, if there is one.
        """
        features = self.features(crops)
        if is_real and self.mapping is not None:
            (features,) = self.mapping([features.float()])
        return self.read(features)


def fit_prior(joints: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Find mean (42,) and principal components (K, 42) of joints (N, 14, 3) in cubes.

    Raises:
        ValueError: if there are fewer poses than components.
    """
    if len(joints) < components:
        raise ValueError(f"fit_prior: {len(joints)} poses, expected at least {components}")
    flat = joints.flatten(1).double()
    mean = flat.mean(dim=0)
    centred = flat - mean
    _, vectors = torch.linalg.eigh(centred.T @ centred / len(flat))  # least first
    return mean.float(), vectors.flip(1)[:, :components].T.float().contiguous()
