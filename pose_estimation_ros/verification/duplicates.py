"""Poses that explain the same pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import PoseHypothesis
from pose_estimation_ros.objects.box_outline import box_outline, common_areas
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.verification.settings import VerificationSettings


def without_duplicates(
    common: np.ndarray, object_index: Sequence[int], score: Sequence[float], settings: VerificationSettings
) -> list[int]:
    """Return which of N poses stay, in their order.

    Args:
        common: areas (N, N) of the image that two poses cover; on the diagonal what one covers.
        object_index: kinds of the N objects.
        score: of the N poses; of two that explain the same pixels the better one stays.
        settings: which poses are the same thing twice.
    """
    size, kinds = np.diag(common), np.asarray(object_index)
    smaller = common / np.maximum(np.minimum(size[:, None], size[None, :]), 1.0)
    union = common / np.maximum(size[:, None] + size[None, :] - common, 1.0)
    alike = kinds[:, None] == kinds[None, :]
    clash = np.where(alike, smaller > settings.duplicate_overlap, union > settings.rival_overlap)
    kept: list[int] = []
    for number in np.argsort(-np.asarray(score), kind="stable"):
        if not clash[number, kept].any():
            kept.append(int(number))
    return sorted(kept)


def distinct(
    hypotheses: Sequence[PoseHypothesis], catalog: Catalog, camera: Camera, settings: VerificationSettings
) -> list[PoseHypothesis]:
    """Return the poses that are not the same thing twice, as far as their objects' boxes tell: it takes no mesh."""
    if len(hypotheses) < 2:
        return list(hypotheses)
    kinds = [item.object_index for item in hypotheses]
    outlines = [box_outline(catalog[item.object_index], item.camera_from_object, camera) for item in hypotheses]
    scores = [item.score for item in hypotheses]
    kept = without_duplicates(common_areas(outlines, outlines), kinds, scores, settings)
    return [hypotheses[number] for number in kept]
