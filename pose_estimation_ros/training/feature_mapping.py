"""The joint loss of Feature Mapping: free renderings, pairs of real images and renderings, and the poses of the former.

With the network's features f, the mapping g, what reads them h, real images x_r with poses e_r, their renderings x_s
and free renderings x_f (Rad, Oberweger and Lepetit, CVPR 2018, section 3):

    L = L_S(h(f(x_f))) + features * |g(f(x_r)) - f(x_s)|^2 / variance of f(x_f) + real * L_R(h(g(f(x_r))))

L_S and L_R are the loss that the method is trained with anyway. The middle term would be least if all features were the
same, so no gradient flows into f(x_s), its size is measured in the variance of features of free renderings, and
`CollapseWatch` ends a training whose features lose that variance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

_VARIANCE_FLOOR = 1e-12


class MappingWeights(BaseModel):
    """Weights of the terms, relative to the loss of free renderings."""

    model_config = ConfigDict(extra="forbid")

    features: float = Field(default=0.02, ge=0.0)  # agreement of mapped real features with those of renderings
    real: float = Field(default=1.0, ge=0.0)  # the method's own loss on real images


def feature_variance(features: Sequence[Tensor]) -> list[Tensor]:
    """Return for each of several features (B, C) or (B, C, H, W) the variance of a channel, mean over channels.

    Raises:
        ValueError: if there is one image only, which has none.
    """
    if any(len(item) < 2 for item in features):
        raise ValueError(f"feature_variance: {len(features[0])} image, expected at least 2")
    return [item.detach().float().transpose(0, 1).flatten(1).var(dim=1).mean() for item in features]


def feature_loss(
    mapped: Sequence[Tensor], rendered: Sequence[Tensor], variance: Sequence[Tensor], weight: Tensor | None = None
) -> Tensor:
    """Measure how far mapped features of real images are from the features of their renderings.

    Args:
        mapped: g(f(x_r)), vectors (B, C) or maps (B, C, H, W).
        rendered: f(x_s), same shapes; taken as given, no gradient flows into them.
        variance: `feature_variance` of free renderings; it is the unit.
        weight: of the positions of maps (B, S, S), S at least as large as the maps; all the same where absent. Zero
            where real image and rendering do not show the same thing.

    Returns:
        Mean over the features of the squared distance per channel, about 1 if nothing agrees.
    """
    terms = []
    for real, target, unit in zip(mapped, rendered, variance, strict=True):
        squared = (real.float() - target.detach().float()).square().mean(dim=1)
        if weight is None or squared.ndim == 1:
            mean = squared.mean()
        else:
            share = F.adaptive_avg_pool2d(weight[:, None].float(), (squared.shape[1], squared.shape[2]))[:, 0]
            mean = (squared * share).sum() / share.sum().clamp(min=1.0)
        terms.append(mean / unit.clamp(min=_VARIANCE_FLOOR))
    return torch.stack(terms).mean()


def joint_loss(free: Tensor, features: Tensor, real: Tensor, weights: MappingWeights) -> Tensor:
    """Add up the losses of free renderings, of features and of real images."""
    return free + weights.features * features + weights.real * real


class CollapseError(ValueError):
    """Features have become (nearly) the same for all images."""


class CollapseWatch:
    """Compares the variance of features with what it was at first.

    Args:
        least_share: of the first variance that has to be left.
        every: checks between two looks; a look waits for the device.
    """

    def __init__(self, least_share: float = 0.05, every: int = 50) -> None:
        self.least_share, self.every = least_share, every
        self.first: list[float] | None = None
        self.count = 0

    def check(self, variance: Sequence[Tensor]) -> None:
        """Take notice of the variance of a batch's features.

        Raises:
            CollapseError: if it has fallen below the share; the message names the feature.
        """
        self.count += 1
        if self.first is not None and self.count % self.every:
            return
        values = [float(item) for item in variance]
        if self.first is None:
            self.first = values
        for number, (now, before) in enumerate(zip(values, self.first, strict=True)):
            if not now >= self.least_share * before:
                raise CollapseError(
                    f"feature {number}: variance {now:.3g}, at first {before:.3g}; expected at least "
                    f"{self.least_share:.0%} of it: the features collapse, train with smaller weights.features or rate"
                )
