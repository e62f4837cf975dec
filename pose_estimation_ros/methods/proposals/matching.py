"""How like the views of every object what proposals show is, and what names follow from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.pyramid import Pyramid
from pose_estimation_ros.geometry.transfer import to_device
from pose_estimation_ros.methods.proposals.settings import ProposalsSettings
from pose_estimation_ros.methods.segmentation import Segment
from pose_estimation_ros.methods.view_table import Encode, ViewTable, look_at_boxes

DESCRIPTORS = "descriptors"  # network of a bundle that things and views are compared by
_MIN_VISIBLE = 0.05  # of a view, for it to be compared
_TINY = 1e-3  # of shares, so that their logits stay finite


class Seen(NamedTuple):
    """What B proposals show."""

    directions: Tensor  # (B, K, h, w) features, unit vectors
    visible: Tensor  # (B, h * w) share of the cells that the mask covers
    log_aspect: Tensor  # (B,) logarithm of width over height of the boxes


@dataclass(frozen=True)
class ObjectViews:
    """The views of one object, and what of their cells it covers."""

    table: ViewTable
    share: Tensor  # (V, h * w) of the view, sums to one

    @classmethod
    def of(cls, table: ViewTable) -> ObjectViews:
        """Read off a table's features what the object covers."""
        channels = table.space.basis.shape[1]
        share = torch.cat([part.float().unflatten(1, (channels, -1)).norm(dim=1) for part in table.features.split(512)])
        return cls(table, share)

    def similarity(self, seen: Seen, settings: ProposalsSettings) -> Tensor:
        """Return how like the most similar view is to what proposals show (B,).

        It is the mean cosine of features over the cells that show the object and are not hidden, more for outlines
        that fit and less for boxes of another shape.
        """
        weighted = (seen.directions.flatten(2) * seen.visible[:, None]).flatten(1)
        cosine = torch.cat([weighted @ part.float().T for part in self.table.features.split(512)], dim=1)
        cosine = cosine / (seen.visible @ self.share.T).clamp(min=_MIN_VISIBLE)
        aspect = (seen.log_aspect[:, None] - self.table.log_aspect).abs()
        fit = settings.outline_weight * self._overlap(seen) - settings.aspect_weight * aspect
        return (cosine + fit).amax(dim=1)

    def _overlap(self, seen: Seen) -> Tensor:
        """Return the intersection over union (B, V) of masks and outlines."""
        covered = self.share / self.share.amax(dim=1, keepdim=True).clamp(min=_TINY)
        common = seen.visible @ covered.T
        union = seen.visible.sum(dim=1)[:, None] + covered.sum(dim=1) - common
        return common / union.clamp(min=_TINY)


class Matcher:
    """Compare proposals with the views of all objects.

    Args:
        encode: the features that the tables hold.
        tables: of every object, in one feature space.
        settings: what counts.
    """

    def __init__(self, encode: Encode, tables: Sequence[ViewTable], settings: ProposalsSettings) -> None:
        self.encode = encode
        self.views = [ObjectViews.of(table) for table in tables]
        self.space = tables[0].space
        self.settings = settings

    def similarity(
        self,
        image: Tensor | Pyramid,
        intrinsics: Tensor,
        found: Sequence[Segment],
        objects: Sequence[int] | None = None,
    ) -> Tensor:
        """Return how like B proposals are to O objects (B, O).

        Args:
            image: (3, H, W) in [0, 1].
            intrinsics: (3, 3).
            found: the proposals.
            objects: their indices; all that there are where absent.
        """
        wanted = self.views if objects is None else [self.views[index] for index in objects]
        seen = self._look(image, intrinsics, found)
        return torch.stack([views.similarity(seen, self.settings) for views in wanted], dim=1)

    def _look(self, image: Tensor | Pyramid, intrinsics: Tensor, found: Sequence[Segment]) -> Seen:
        boxes = np.stack([item.box for item in found])
        view = look_at_boxes(image, intrinsics, boxes)
        directions = self.space.directions(self.encode(view.images))
        whole = to_device(np.stack([item.mask for item in found]), intrinsics.device)
        masks = [_mask_in_box(mask, intrinsics, item.box) for mask, item in zip(whole, found, strict=True)]
        visible = F.adaptive_avg_pool2d(torch.cat(masks), (directions.shape[2], directions.shape[3]))
        return Seen(directions, visible.flatten(1), view.log_aspect)


def _mask_in_box(mask: Tensor, intrinsics: Tensor, box: np.ndarray) -> Tensor:
    """Return a mask (H, W) bool as a camera sees it that is turned to a box (1, 1, SIZE, SIZE)."""
    grey_where_unset = mask.to(intrinsics.dtype)[None] / 2.0 + 0.5  # as it is beyond the image
    return look_at_boxes(grey_where_unset, intrinsics, box[None]).images * 2.0 - 1.0


def name_probabilities(similarity: np.ndarray, objectness: np.ndarray, settings: ProposalsSettings) -> np.ndarray:
    """Return the probabilities that proposals are objects (B, O); what is left of one is that of none of them.

    Args:
        similarity: of proposals and objects (B, O).
        objectness: the network's score of the proposals (B,).
        settings: the model, a multinomial logistic regression.
    """
    sure = np.clip(objectness, _TINY, 1.0 - _TINY)
    odds = settings.sharpness * (similarity - settings.rejected_similarity)
    odds = odds + settings.objectness_weight * np.log(sure / (1.0 - sure))[:, None]
    top = np.maximum(odds.max(axis=1, keepdims=True), 0.0)
    share = np.exp(odds - top)
    return share / (share.sum(axis=1, keepdims=True) + np.exp(-top))
