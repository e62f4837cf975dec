"""Poses of objects that no network was trained on: views that look like the box, then render and compare."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.base import LoadContext, PoseHypothesis
from pose_estimation_ros.methods.covariance import published_covariance
from pose_estimation_ros.methods.render_compare import (
    Picture,
    RenderCompare,
    Stage,
    chosen_updates,
    cost_of,
    success_probability,
)
from pose_estimation_ros.methods.unseen.settings import UnseenSettings
from pose_estimation_ros.methods.update_covariance import chosen_covariances
from pose_estimation_ros.methods.view_search import ViewSearch, make_tables
from pose_estimation_ros.methods.view_table import PADDING, SIZE
from pose_estimation_ros.networks.attention_net import AttentionNet
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, BundleError

ROLES = ("unseen", "attention")  # networks of a bundle that compare, the first one that is there


class Found(NamedTuple):
    """The pose of one object."""

    pose: np.ndarray  # (4, 4)
    log_error: float
    similarity: float
    covariance: np.ndarray  # (6, 6)
    comparisons: int


class Unseen:
    """Estimate poses by a table of views and by comparing renderings with the image.

    Args:
        search: finds views to begin with, and compares.
        settings: how many of them are looked at.
    """

    crop_size = SIZE
    crop_padding = PADDING

    def __init__(self, search: ViewSearch, settings: UnseenSettings | None = None) -> None:
        self.search = search
        self.comparison = search.comparison
        self.settings = settings or UnseenSettings()
        self.device = search.device

    @torch.inference_mode()
    def estimate(self, frame: Frame, crops: Crops, detections: list[Detection]) -> list[PoseHypothesis]:
        """Estimate as `Backend` says; the crops are cut anew, by cameras that are turned to the boxes."""
        if not detections:
            return []
        picture, hypotheses = self.comparison.picture(frame), []
        for number, (detection, likely) in enumerate(
            zip(detections, self.search.candidates(picture, detections), strict=True)
        ):
            found = self._refined(picture, detection.object_index, likely.poses)
            if found is None:
                continue
            chance = self._success_probability(found.log_error)
            hypotheses.append(
                PoseHypothesis(
                    object_index=detection.object_index,
                    detection_index=number,
                    camera_from_object=found.pose,
                    score=float(np.clip(detection.score * chance, 0.0, 1.0)),
                    covariance=published_covariance(found.covariance, found.pose, self.settings.covariance_scale),
                    comparisons=found.comparisons,
                    similarity=found.similarity if math.isfinite(found.similarity) else None,
                )
            )
        return hypotheses

    def _refined(self, picture: Picture, object_index: int, poses: Tensor) -> Found | None:
        """Compare candidates (K, 4, 4), ever fewer of them and ever more closely; None where all fail."""
        settings, comparison = self.settings, self.comparison
        index = torch.full((len(poses),), object_index, device=self.device)
        spent = 0
        coarse = (comparison.network.coarse_sizes or (comparison.size,))[0]
        for size, kept in ((coarse, settings.refined), (comparison.size, settings.finished)):
            if not len(poses):
                return None
            trace, known, broken = comparison.run(picture, index[: len(poses)], poses, [size])
            spent += len(poses)
            cost = self._cost(trace[-1], broken)
            poses = known[-1][cost.topk(min(kept, len(cost)), largest=False).indices]
        index = index[: len(poses)]
        trace, known, broken = comparison.run(picture, index, poses, [comparison.size] * settings.stages)
        cost = self._cost(trace[-1], broken)
        best = int(cost.argmin())
        if not math.isfinite(float(cost[best])):
            return None
        chosen = chosen_updates(trace, None, settings.similarity_margin)
        covariance = chosen_covariances(trace, known, comparison.centre[index], chosen)[best]
        similarity = trace[-1].prediction.similarity
        return Found(
            known[chosen[best], best].double().cpu().numpy(),
            float(trace[max(int(chosen[best]) - 1, 0)].prediction.log_error[best]),
            math.nan if similarity is None else float(similarity[best]),
            covariance.double().cpu().numpy(),
            spent + len(poses) * settings.stages,
        )

    def _cost(self, stage: Stage, broken: Tensor) -> Tensor:
        """Return how little poses (B,) fit the image; of those that cannot be compared any more, infinity."""
        return cost_of(stage, self.settings.similarity_weight).nan_to_num(math.inf).masked_fill(broken, math.inf)

    def _success_probability(self, log_error: float) -> float:
        settings = self.settings
        chance = success_probability(torch.tensor(log_error), settings.accepted_error_diameters, settings.error_scale)
        return float(chance.nan_to_num(0.0))


def load(context: LoadContext) -> Unseen:
    """Load the network of a bundle and table the views of its objects.

    Raises:
        BundleError: if weights or meshes are missing, damaged or do not fit, or the network has no features.
        ValueError: if the tables would take more memory than the settings allow.
    """
    bundle, settings = context.bundle, context.settings
    role = next((role for role in ROLES if role in bundle.networks), ROLES[-1])
    comparison = RenderCompare.load(bundle, role, context.device, context.mesh_dir)
    if not isinstance(comparison.network, AttentionNet):
        raise BundleError(
            f"{bundle.path / BUNDLE_FILE}: networks.{role} is of variant 'paper', which has no features to look views "
            "up by; backend unseen expects variant 'compact'"
        )
    try:
        tables = make_tables(comparison, bundle.catalog, bundle.pose_prior, settings)
    except ValueError as error:
        raise ValueError(f"unseen.{error}") from error
    return Unseen(ViewSearch(comparison, tables, settings), settings)
