"""Test-time augmentation of a detector: the image is seen in several ways, and what was found is averaged.

The averaging is that of Solovyev, Wang and Gabruseva, "Weighted boxes fusion", Image and Vision Computing 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pose_estimation_ros.networks import light_torchvision  # noqa: F401  comes before torchvision

# isort: split
from torchvision.ops import batched_nms, box_iou

SAME_BOX = 0.5  # least intersection over union of two boxes of one thing


@dataclass(frozen=True)
class View:
    """One way to see an image."""

    scale: float = 1.0  # of the width at which the network is used to see images
    is_mirrored: bool = False


PLAIN = (View(),)
AUGMENTED = (View(scale=1.25), View(is_mirrored=True))


@dataclass(frozen=True)
class Found:
    """What a network found in one view, N things, in pixels of the image."""

    boxes: np.ndarray  # (N, 4) x0 y0 x1 y1
    scores: np.ndarray  # (N,)
    labels: np.ndarray  # (N,) of their classes
    cells: np.ndarray  # (N, M, M) probability of each cell of a box to be on the thing

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: np.ndarray) -> Found:
        return Found(self.boxes[rows], self.scores[rows], self.labels[rows], self.cells[rows])


def fuse(views: Sequence[Found]) -> Found:
    """Average what was found in several views of one image.

    Boxes of one class that overlap by at least SAME_BOX are one thing: its box and cells are the average, weighted by
    score; its score is the mean over all views, 0 in those that do not show it.
    """
    fused = views[0]
    for number, found in enumerate(views[1:], 1):
        fused = _fused(fused, found, number)
    if len(views) == 1 or not len(fused):
        return fused
    boxes, scores, labels = (torch.from_numpy(item) for item in (fused.boxes, fused.scores, fused.labels))
    kept = batched_nms(boxes, scores.to(boxes.dtype), labels, SAME_BOX)
    return fused[kept.numpy()]


def _fused(first: Found, second: Found, seen: int) -> Found:
    """Return the average of `seen` views, fused before, and one more."""
    pairs = _pairs(first, second)
    alone = ~np.isin(np.arange(len(second)), pairs[:, 1])
    scores = first.scores * seen / (seen + 1)
    boxes, cells = first.boxes.copy(), first.cells.copy()
    for mine, theirs in pairs:
        share = second.scores[theirs] / (second.scores[theirs] + seen * first.scores[mine])
        boxes[mine] += share * (second.boxes[theirs] - boxes[mine])
        cells[mine] += share * (second.cells[theirs] - cells[mine])
        scores[mine] += second.scores[theirs] / (seen + 1)
    rest = second[alone]
    return Found(
        np.concatenate([boxes, rest.boxes]),
        np.concatenate([scores, rest.scores / (seen + 1)]),
        np.concatenate([first.labels, rest.labels]),
        np.concatenate([cells, rest.cells]),
    )


def _pairs(first: Found, second: Found) -> np.ndarray:
    """Return which things are the same, rows (P, 2), those that overlap most first; each belongs to one pair."""
    overlap = box_iou(torch.from_numpy(first.boxes), torch.from_numpy(second.boxes)).numpy()
    overlap = np.where(first.labels[:, None] == second.labels[None], overlap, 0.0)
    pairs: list[tuple[int, int]] = []
    while overlap.size and overlap.max() >= SAME_BOX:
        mine, theirs = np.unravel_index(int(overlap.argmax()), overlap.shape)
        pairs.append((int(mine), int(theirs)))
        overlap[mine], overlap[:, theirs] = 0.0, 0.0
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
