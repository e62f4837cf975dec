"""Poses from nothing but a box: views that look like it are looked up, then rendered and compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.networks import light_torchvision  # noqa: F401  comes before torchvision

# isort: split
from torchvision.ops import box_iou

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.geometry.box_prior import places_in_box
from pose_estimation_ros.geometry.camera import project_points
from pose_estimation_ros.geometry.transfer import constant, to_device, to_host
from pose_estimation_ros.methods.render_compare import Picture, RenderCompare, Stage, chosen_updates, cost_of
from pose_estimation_ros.methods.update_covariance import chosen_covariances
from pose_estimation_ros.methods.view_search_settings import ViewSearchSettings
from pose_estimation_ros.methods.view_table import look_at_boxes
from pose_estimation_ros.methods.view_tables import ViewTables, encoded

_UNTABLED = 0.03  # by how much poses that no view speaks for are taken to be less similar than the best view


class Candidates(NamedTuple):
    """Poses to begin with, and how like their views are to what is in a box."""

    similarity: Tensor  # (K,)
    poses: Tensor  # (K, 4, 4)

    def joined(self, poses: Tensor) -> Candidates:
        """Return them with other poses (N, 4, 4) beside, which no view speaks for."""
        best = self.similarity.amax() if len(self.similarity) else torch.zeros((), device=poses.device)
        return Candidates(
            torch.cat([self.similarity, (best - _UNTABLED).expand(len(poses))]), torch.cat([self.poses, poses])
        )

    @property
    def deficit(self) -> Tensor:
        """How much less similar they are than the best (K,)."""
        return self.similarity.amax(dim=0, keepdim=True) - self.similarity if len(self.poses) else self.similarity


class Shortlist(NamedTuple):
    """The poses of one object that look likeliest in small renderings, best first."""

    poses: Tensor  # (K, 4, 4)
    deficit: Tensor  # (K,) see `Candidates`
    log_error: Tensor  # (K,) logarithms of the errors that are expected, diameters
    comparisons: int  # that it took


class Found(NamedTuple):
    """The pose of one object."""

    pose: Tensor  # (4, 4)
    log_error: Tensor  # logarithm of the error that is expected, diameters
    cost: Tensor  # how little the pose fits the image, see `ViewSearch.cost`
    similarity: Tensor  # of the last rendering and the image; not a number where unknown
    covariance: Tensor  # (6, 6) of the pose; not a number where unknown
    comparisons: int


class ViewSearch:
    """Find poses from nothing but a box: views that look like it, then render and compare.

    Args:
        comparison: renders, encodes and compares.
        tables: of the objects; without them only poses that are given are compared.
        settings: how many views are looked at, and what their cost is.
    """

    def __init__(
        self, comparison: RenderCompare, tables: ViewTables | None, settings: ViewSearchSettings | None = None
    ) -> None:
        self.comparison = comparison
        self.tables = tables
        self.settings = settings or ViewSearchSettings()
        self.device = comparison.device

    @torch.inference_mode()
    def candidates(self, picture: Picture, detections: Sequence[Detection]) -> list[Candidates]:
        """Look up which views are like what is in the boxes, and put them there; those that fit nowhere are left out.

        Args:
            picture: the image.
            detections: the boxes.

        Returns:
            The likeliest views of each, best first.
        """
        if self.tables is None:
            nothing = torch.zeros(0, device=self.device), torch.zeros(0, 4, 4, device=self.device)
            return [Candidates(*nothing)] * len(detections)
        seen = look_at_boxes(*picture, np.stack([item.box for item in detections]))
        maps = encoded(self.comparison.network, seen.images, self.comparison.is_real)
        similarities, rotations = [], []
        for row, detection in enumerate(detections):
            table = self.tables[detection.object_index]
            similarity = table.similarity(
                maps[row : row + 1], seen.log_aspect[row : row + 1], self.settings.aspect_weight
            )[0]
            best = similarity.nan_to_num(-1.0).topk(min(self.settings.candidates, len(similarity))).indices
            similarities.append(similarity[best])
            rotations.append(seen.virtual_from_camera[row].T @ table.rotation[best])
        return self._placed(picture, detections, similarities, rotations)

    @torch.inference_mode()
    def shortlist(self, picture: Picture, detection: Detection, candidates: Candidates) -> Shortlist:
        """Compare candidates in small renderings, the likelier ones twice, as boxes that are off need two steps.

        Args:
            picture: the image.
            detection: what is looked for.
            candidates: poses to begin with, at least one.
        """
        comparison, settings = self.comparison, self.settings
        poses, deficit, spent = candidates.poses, candidates.deficit, 0
        side = (comparison.network.coarse_sizes or (comparison.size,))[0]
        for kept in (settings.shortlist, settings.compared):
            trace, known, broken = comparison.run(picture, self._index(detection, poses), poses, [side])
            spent += len(poses)
            cost = self.cost(picture, detection, self.fits(trace), known[-1], broken, deficit)
            order = cost.topk(min(kept, len(cost)), largest=False).indices
            poses, deficit = known[-1][order], deficit[order]
        return Shortlist(poses, deficit, trace[-1].prediction.log_error[order], spent)

    @torch.inference_mode()
    def best(
        self,
        picture: Picture,
        detection: Detection,
        shortlist: Shortlist,
        finished: int,
        stages: int,
        similarity_margin: float,
    ) -> Found | None:
        """Compare the likeliest poses at the full size, the best of them to the end; None where all fail.

        Args:
            picture: the image.
            detection: what is looked for.
            shortlist: poses to begin with.
            finished: how many are compared to the end.
            stages: how often these are.
            similarity_margin: see `chosen_updates`.
        """
        comparison, size, poses = self.comparison, self.comparison.size, shortlist.poses
        first, known, broken = comparison.run(picture, self._index(detection, poses), poses, [size])
        fits = self.fits(first)
        cost = self.cost(picture, detection, fits, known[-1], broken, shortlist.deficit)
        order = cost.topk(min(finished, len(cost)), largest=False).indices
        poses, deficit, fits = known[-1][order], shortlist.deficit[order], fits[:, order]
        index = self._index(detection, poses)
        last, known, broken = comparison.run(picture, index, poses, [size] * stages)
        chosen = chosen_updates(last, None, similarity_margin)
        found = known[chosen, torch.arange(len(poses), device=self.device)]
        fits = torch.cat([fits, self.fits(last)])
        cost = self.cost(picture, detection, fits, found, broken, deficit)
        place = cost.argmin(dim=0, keepdim=True)
        (answers,) = to_host(torch.cat([place, chosen[place], torch.isfinite(cost[place])]))
        best, taken, usable = answers.tolist()
        if not usable:
            return None
        similarity = last[-1].prediction.similarity
        return Found(
            found[best],
            last[max(taken - 1, 0)].prediction.log_error[best],
            cost[best],
            torch.full_like(cost, math.nan)[best] if similarity is None else similarity[best],
            chosen_covariances(last, known, comparison.centre[index], chosen)[best],
            shortlist.comparisons + len(shortlist.poses) + len(poses) * stages,
        )

    def _index(self, detection: Detection, poses: Tensor) -> Tensor:
        return torch.full((len(poses),), detection.object_index, device=self.device)

    def fits(self, stages: Sequence[Stage]) -> Tensor:
        """Return how little poses fit the image by N comparisons, of images of one size (N, B)."""
        return torch.stack([cost_of(stage, self.settings.similarity_weight) for stage in stages])

    def cost(
        self,
        picture: Picture,
        detection: Detection,
        fits: Tensor,
        poses: Tensor,
        broken: Tensor,
        deficit: Tensor | float = _UNTABLED,
    ) -> Tensor:
        """Return how little poses (B, 4, 4) of an object fit the image, (B,); infinity where they broke.

        It is the mean over several comparisons, as one alone is noisy.

        Args:
            picture: the image.
            detection: where the object is seen.
            fits: of the comparisons that led to the poses (N, B), see `fits`.
            poses: camera from object.
            broken: which poses cannot be compared any more (B,).
            deficit: how much less similar the views were, that they began with, than the best in the table.
        """
        settings = self.settings
        pixels = project_points(
            self.comparison.outline[detection.object_index].expand(len(poses), -1, -1),
            poses,
            picture.intrinsics.expand(len(poses), 3, 3),
        )
        seen = to_device(np.asarray(detection.box, dtype=np.float32), self.device).reshape(1, 2, 2)
        inside = [_inside(corners, picture) for corners in (torch.stack([pixels.amin(1), pixels.amax(1)], 1), seen)]
        overlap = box_iou(*(corners.flatten(1) for corners in inside))[:, 0]
        fit = fits.mean(dim=0) + settings.box_weight * (1.0 - overlap) + settings.view_weight * deficit
        return fit.nan_to_num(math.inf, posinf=math.inf).masked_fill(broken, math.inf)

    def _placed(
        self,
        picture: Picture,
        detections: Sequence[Detection],
        similarities: Sequence[Tensor],
        rotations: Sequence[Tensor],
    ) -> list[Candidates]:
        """Put objects with rotations (K, 3, 3) where they fill their boxes; leave out those that fit nowhere."""
        intrinsics, outline, turned = (
            item.astype(np.float64)
            for item in to_host(picture.intrinsics, self.comparison.outline, torch.cat(list(rotations)))
        )
        first = 0
        poses, rows = [], []
        for detection, rotation in zip(detections, rotations, strict=True):
            some = turned[first : first + len(rotation)]
            placed = _placed_in_box(some, outline[detection.object_index], detection.box, intrinsics)
            usable = np.flatnonzero(np.isfinite(placed).all(axis=(1, 2)))
            poses.append(placed[usable])
            rows.append(first + usable)
            first += len(rotation)
        kept = [len(item) for item in rows]
        similarity = torch.cat(list(similarities))[to_device(np.concatenate(rows), self.device)].split(kept)
        every = to_device(np.concatenate(poses).astype(np.float32), self.device).split(kept)
        return [Candidates(*item) for item in zip(similarity, every, strict=True)]


def _placed_in_box(turned: np.ndarray, outline: np.ndarray, box: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Return poses (K, 4, 4) with rotations (K, 3, 3) in which an object with an outline (P, 3) fills a box (4,)."""
    box = np.asarray(box, dtype=np.float64)
    box = np.concatenate([box[:2], np.maximum(box[2:], box[:2] + 1.0)])
    poses = np.tile(np.eye(4), (len(turned), 1, 1))
    poses[:, :3, :3] = turned
    poses[:, :3, 3] = places_in_box(turned, outline, box, intrinsics)
    points = outline @ np.swapaxes(turned, 1, 2)
    poses[:, :3, 3] -= (points.min(axis=1) + points.max(axis=1)) / 2.0
    return poses


def _inside(corners: Tensor, picture: Picture) -> Tensor:
    """Return corners of boxes (B, 2, 2) cut off where the image ends."""
    height, width = picture.image.shape[1:]
    return corners.clamp(min=0.0).minimum(constant((width - 1.0, height - 1.0), corners))
