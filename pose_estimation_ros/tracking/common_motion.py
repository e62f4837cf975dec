"""The motion that most instances share from one frame to the next: that of the camera."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pose_estimation_ros.geometry.symmetry import canonicalise
from pose_estimation_ros.objects.catalog import Catalog

MIN_SUPPORT = 3  # instances that must move alike: two of one kind could have changed places
_MOST_PROPOSALS = 200
_AT_REST = 0  # position of no motion among the proposals
_REST_SHARE = 0.7  # of the best one's support
_AGREEMENT_DIAMETERS = 0.25  # between where an instance is expected and where one is found

Placed = tuple[int, np.ndarray]  # object index, camera_from_object (4, 4) in metres


def common_motion(
    known: Sequence[Placed], found: Sequence[Placed], catalog: Catalog, symmetries: Sequence[np.ndarray]
) -> np.ndarray | None:
    """Find the rigid motion that takes most known instances to found ones of their kind.

    Every pair of one kind proposes a motion; that one wins under which most centres are where they are expected, nearer
    ones counting more. Where a camera that stands still explains about as much, it stands still: the rotation of one
    estimate is too noisy to say more.

    Args:
        known: instances where they were last seen.
        found: those of this frame.
        catalog: the objects.
        symmetries: of every object of the catalog, shape (S, 4, 4) each.

    Returns:
        The motion (4, 4) in the camera's frame; None where fewer than MIN_SUPPORT instances share one, or fewer than
        half of those that could.
    """
    if min(len(known), len(found)) < MIN_SUPPORT:
        return None
    motions = np.stack(_proposals(known, found, symmetries))
    before, now = _centres(known, catalog), _centres(found, catalog)
    moved = np.einsum("mij,kj->mki", motions[:, :3, :3], before) + motions[:, None, :3, 3]
    away_m = np.linalg.norm(moved[:, :, None] - now, axis=-1)  # (motions, known, found)
    kinds = np.array([index for index, _ in known])
    away_m[:, kinds[:, None] != np.array([index for index, _ in found])] = np.inf
    reach_m = _AGREEMENT_DIAMETERS * np.array([catalog[index].diameter_m for index in kinds])
    nearness = np.clip(1.0 - away_m.min(axis=2) / reach_m, 0.0, None)  # (motions, known), 1 for where it is expected
    support = nearness.sum(axis=1)
    best = int(np.argmax(support))
    if support[_AT_REST] >= _REST_SHARE * support[best]:
        best = _AT_REST
    enough = max(MIN_SUPPORT, math.ceil(min(len(known), len(found)) / 2))
    return motions[best] if np.count_nonzero(nearness[best]) >= enough else None


def _centres(placed: Sequence[Placed], catalog: Catalog) -> np.ndarray:
    """Return the centres (N, 3) of the objects' boxes, which no symmetry moves."""
    return np.stack([pose[:3, :3] @ catalog[index].centre_m + pose[:3, 3] for index, pose in placed])


def _proposals(known: Sequence[Placed], found: Sequence[Placed], symmetries: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return no motion, and those of pairs of one kind; rare kinds first, whose pairs are rarely wrong."""
    counts = Counter(index for index, _ in (*known, *found))
    proposals = [np.eye(4)]
    for index, before in sorted(known, key=lambda item: counts[item[0]]):
        for other, now in found:
            if other == index and len(proposals) < _MOST_PROPOSALS:
                proposals.append(canonicalise(now, symmetries[index], before) @ np.linalg.inv(before))
    return proposals
