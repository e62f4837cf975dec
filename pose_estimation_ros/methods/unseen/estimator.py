"""Poses of objects that no network was trained on: views that look like the box, then render and compare."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.transfer import to_host
from pose_estimation_ros.methods.base import LoadContext, PoseHypothesis
from pose_estimation_ros.methods.covariance import published_covariance
from pose_estimation_ros.methods.render_compare import RenderCompare, success_probability
from pose_estimation_ros.methods.unseen.settings import UnseenSettings
from pose_estimation_ros.methods.view_search import ViewSearch
from pose_estimation_ros.methods.view_table import PADDING, SIZE
from pose_estimation_ros.methods.view_tables import ViewTables, encoded
from pose_estimation_ros.networks.attention_net import AttentionNet
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, BundleError

ROLES = ("unseen", "attention")  # networks of a bundle that compare, the first one that is there


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
        picture, settings, hypotheses = self.comparison.picture(frame), self.settings, []
        for number, (detection, likely) in enumerate(
            zip(detections, self.search.candidates(picture, detections), strict=True)
        ):
            if not len(likely.poses):
                continue
            found = self.search.best(
                picture,
                detection,
                self.search.shortlist(picture, detection, likely),
                settings.finished,
                settings.stages,
                settings.similarity_margin,
            )
            if found is None:
                continue
            chance, likeness, pose, covariance = to_host(
                self._success_probability(found.log_error),
                found.similarity,
                found.pose.double(),
                found.covariance.double(),
            )
            similarity = float(likeness)
            hypotheses.append(
                PoseHypothesis(
                    object_index=detection.object_index,
                    detection_index=number,
                    camera_from_object=pose,
                    score=float(np.clip(detection.score * float(chance), 0.0, 1.0)),
                    covariance=published_covariance(covariance, pose, settings.covariance_scale),
                    comparisons=found.comparisons,
                    similarity=similarity if math.isfinite(similarity) else None,
                )
            )
        return hypotheses

    def _success_probability(self, log_error: Tensor) -> Tensor:
        settings = self.settings
        chance = success_probability(log_error, settings.accepted_error_diameters, settings.error_scale)
        return chance.nan_to_num(0.0)


def load(context: LoadContext) -> Unseen:
    """Load the network of a bundle and table the views of its objects.

    Raises:
        BundleError: if weights or meshes are missing, damaged or do not fit, or the network has no features.
        ValueError: if the tables would take more memory than the settings allow.
    """
    bundle, settings = context.bundle, context.settings
    role = next((role for role in ROLES if role in bundle.networks), ROLES[-1])
    comparison = RenderCompare.load(bundle, role, context.device, context.mesh_dir, settings.domain)
    if not isinstance(comparison.network, AttentionNet):
        raise BundleError(
            f"{bundle.path / BUNDLE_FILE}: networks.{role} is of variant 'paper', which has no features to look views "
            "up by; backend unseen expects variant 'compact'"
        )
    try:
        encode = partial(encoded, comparison.network)
        tables = ViewTables(comparison, bundle.catalog, bundle.pose_prior, settings, encode, settings.channels)
    except ValueError as error:
        raise ValueError(f"unseen.{error}") from error
    tables.make()
    return Unseen(ViewSearch(comparison, tables, settings), settings)
