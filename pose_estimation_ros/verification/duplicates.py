"""Poses that explain the same pixels."""

from __future__ import annotations

import numpy as np

from pose_estimation_ros.verification.silhouettes import Silhouettes


def without_duplicates(
    silhouettes: Silhouettes,
    object_index: np.ndarray,
    probability: np.ndarray,
    duplicate_overlap: float,
    rival_overlap: float,
) -> list[int]:
    """Return which of N poses stay, in their order.

    Args:
        silhouettes: of the poses.
        object_index: their kinds (N,).
        probability: of the poses (N,); of two that explain the same pixels the more probable stays.
        duplicate_overlap: share of the smaller silhouette that is common to two of one kind.
        rival_overlap: intersection over union of two of different kinds.
    """
    flat = silhouettes.masks.reshape(len(object_index), -1).astype(np.float32)
    common, size = flat @ flat.T, flat.sum(axis=1)
    smaller = common / np.maximum(np.minimum(size[:, None], size[None, :]), 1.0)
    union = common / np.maximum(size[:, None] + size[None, :] - common, 1.0)
    alike = object_index[:, None] == object_index[None, :]
    clash = np.where(alike, smaller > duplicate_overlap, union > rival_overlap)
    kept: list[int] = []
    for number in np.argsort(-probability, kind="stable"):
        if not clash[number, kept].any():
            kept.append(int(number))
    return sorted(kept)
