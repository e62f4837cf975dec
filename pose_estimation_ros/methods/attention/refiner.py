"""Refinement by spatial attention: render, compare, move, a few times (Stevsic and Hilliges, 3DV 2020)."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.symmetry import symmetric_distance
from pose_estimation_ros.geometry.transfer import to_device, to_host
from pose_estimation_ros.methods.attention.rotation_hypotheses import (
    Outcome,
    half_turns,
    right_angle_rotations,
    rotated_poses,
)
from pose_estimation_ros.methods.attention.selection import has_strayed
from pose_estimation_ros.methods.attention.settings import AttentionSettings
from pose_estimation_ros.methods.base import LoadContext, PoseHypothesis
from pose_estimation_ros.methods.covariance import published_covariance
from pose_estimation_ros.methods.render_compare import (
    Picture,
    RenderCompare,
    Stage,
    chosen_updates,
    success_probability,
)
from pose_estimation_ros.methods.update_covariance import chosen_covariances
from pose_estimation_ros.methods.view_search import Shortlist, ViewSearch
from pose_estimation_ros.methods.view_tables import ViewTables, encoded
from pose_estimation_ros.networks.attention_net import AttentionNet
from pose_estimation_ros.networks.attention_paper import PaperAttentionNet
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.object_tensors import catalog_symmetries
from pose_estimation_ros.rendering.raycaster import RayCaster

ROLE = "attention"
_CONFIRMING_SHARE = 0.05  # of the distance, by which poses that are the same are apart at most
_log = logging.getLogger(__name__)


class Attention(RenderCompare):
    """Refine all poses of a frame together; every stage is one rendering and one forward pass.

    Args:
        network: trained network in evaluation mode, on its device.
        caster: renders the objects of the catalog, in its order.
        catalog: the objects.
        outline: points on the surface of each object (O, P, 3), metres.
        size: side of the images the network was trained on; its coarse stages have their own.
        settings: stages and limits.
        tables: of views that objects in doubt are looked up in; without them only turns by right angles are tried.
    """

    def __init__(
        self,
        network: AttentionNet | PaperAttentionNet,
        caster: RayCaster,
        catalog: Catalog,
        outline: Tensor,
        size: int,
        settings: AttentionSettings | None = None,
        tables: ViewTables | None = None,
    ) -> None:
        self.settings = settings or AttentionSettings()
        super().__init__(network, caster, catalog, outline, size, self.settings.domain)
        self.search = ViewSearch(self, tables, self.settings.search)
        turns = half_turns() if self.settings.search.turns == "half" else right_angle_rotations()
        self._rotations = turns.to(self.device)
        self._symmetries = catalog_symmetries(catalog).numpy()
        self.rejections: Counter[str] = Counter()  # how often which object was rejected

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        device: torch.device,
        mesh_dir: Path | None = None,
        settings: AttentionSettings | None = None,
    ) -> Attention:
        """Load the network and the meshes of a bundle.

        Raises:
            BundleError: if weights or meshes are missing, damaged or do not fit.
            ValueError: if the tables of views would take more memory than the settings allow.
        """
        settings = settings or AttentionSettings()
        shared = RenderCompare.load(bundle, ROLE, device, mesh_dir)
        tables = None
        if settings.rotation_hypotheses and isinstance(shared.network, AttentionNet):
            try:
                encode, search = partial(encoded, shared.network), settings.search
                tables = ViewTables(shared, bundle.catalog, bundle.pose_prior, search, encode, search.channels)
            except ValueError as error:
                raise ValueError(f"attention.search.{error}") from error
        return cls(shared.network, shared.caster, bundle.catalog, shared.outline, shared.size, settings, tables)

    @torch.inference_mode()
    def refine(
        self,
        frame: Frame,
        detections: list[Detection],
        hypotheses: Sequence[PoseHypothesis],
        stages: int | None = None,
        thorough: bool = True,
    ) -> list[PoseHypothesis]:
        """Return the hypotheses with the poses most like the image.

        Those that go astray keep theirs and are marked `rejected`. Objects whose poses are in doubt are
        tried in other rotations, too, but not where `stages` are given: that is
        for following objects, which do not turn over from one frame to the next.

        The score becomes the detection's times the chance that the error is below the setting
        `accepted_error_diameters`; half of that where the pose was rejected. The covariance is that of the refinement,
        and None where the pose that was taken is the last one, which nothing was compared with any more.

        Args:
            frame: the image.
            detections: what the hypotheses' `detection_index` counts in.
            hypotheses: poses to start from.
            stages: comparisons, all at the full size, for poses that are near; those of the settings where absent, the
                coarse ones first.
            thorough: whether objects in doubt are tried in other rotations.

        Raises:
            ValueError: if `stages` is less than 1.
        """
        if not hypotheses:
            return []
        index, start = self._start(hypotheses)
        picture, sizes = self.picture(frame), self._sizes(stages)
        compares_start = self.settings.compare_start and sizes[0] != self.size
        first = self.similarity_at(picture, index, start) if compares_start else None
        boxes = [detections[item.detection_index] for item in hypotheses]
        outcome = self._outcome(picture, boxes, start, self.run(picture, index, start, sizes), first)
        comparisons = torch.full((len(start),), len(sizes), device=self.device)
        if stages is None and thorough:
            outcome, more = self._with_other_rotations(picture, boxes, index, start, outcome)
            comparisons += more
        poses, covariances, *others = to_host(
            outcome.poses.double(),
            outcome.covariance.double(),
            self.success_probability(outcome.log_error).nan_to_num(0.0),
            outcome.rejected,
            comparisons,
            outcome.similarity,
        )
        chance, rejected, spent, similarity = (item.tolist() for item in others)
        refined = []
        for number, item in enumerate(hypotheses):
            item = replace(item, similarity=similarity[number] if math.isfinite(similarity[number]) else None)
            score = float(np.clip(detections[item.detection_index].score * chance[number], 0.0, 1.0))
            if rejected[number]:
                self._count_rejected(self.names[item.object_index])
                refined.append(replace(item, score=0.5 * score, rejected=True, comparisons=spent[number]))
                continue
            covariance = published_covariance(covariances[number], poses[number], self.settings.covariance_scale)
            refined.append(
                replace(
                    item,
                    camera_from_object=poses[number],
                    score=score,
                    covariance=covariance,
                    rejected=False,
                    comparisons=spent[number],
                )
            )
        return refined

    def _with_other_rotations(
        self, picture: Picture, boxes: Sequence[Detection], index: Tensor, start: Tensor, outcome: Outcome
    ) -> tuple[Outcome, Tensor]:
        """Try other rotations of the objects (B,) that are in doubt, and take those that fit clearly better.

        An object that looks alike from two sides is easily taken for its other side, and no small update leads from
        one to the other. Views that look like the box are looked up, and turns by right angles are tried beside.

        Returns:
            What became of them, and how many comparisons each of them took (B,).
        """
        settings = self.settings
        spent = torch.zeros(len(start), dtype=torch.int64, device=self.device)
        if settings.rotation_hypotheses == 0 or len(self._sizes(None)) < 2:
            return outcome, spent
        doubtful = ~(outcome.log_error <= math.log(settings.retry_error_threshold))
        (chosen,) = to_host(doubtful & torch.isfinite(start).flatten(1).all(dim=1))
        rows = np.flatnonzero(chosen).tolist()
        if not rows:
            return outcome, spent
        doubted, found = (
            [boxes[row] for row in rows],
            torch.where(outcome.rejected[:, None, None], start, outcome.poses),
        )
        shortlists = []
        for row, box, views in zip(rows, doubted, self.search.candidates(picture, doubted), strict=True):
            turned = rotated_poses(found[row][None], self.centre[index[row : row + 1]], self._rotations)[0]
            shortlists.append(self.search.shortlist(picture, box, views.joined(turned)))
            spent[row] += shortlists[-1].comparisons
        settled = self._settled(doubted, found[rows], shortlists)
        for row, box, shortlist, is_settled in zip(rows, doubted, shortlists, settled, strict=True):
            if is_settled:
                continue
            tried = self.search.best(
                picture,
                box,
                shortlist,
                settings.rotation_hypotheses,
                max(1, settings.stages - 2),
                settings.similarity_margin,
            )
            if tried is None:
                continue
            spent[row] += tried.comparisons - shortlist.comparisons
            outcome = outcome.improved(tried, row, settings.min_cost_gain)
        return outcome, spent

    def _settled(self, boxes: Sequence[Detection], poses: Tensor, shortlists: Sequence[Shortlist]) -> list[bool]:
        """Tell for which objects small images say enough: no pose is any good, or that found before is confirmed."""
        found, best, log_error = to_host(
            poses.double(),
            torch.stack([item.poses[0] for item in shortlists]).double(),
            torch.stack([item.log_error.nan_to_num(math.inf).amin() for item in shortlists]),
        )
        settled = ~(log_error <= math.log(self.settings.search.hopeless_error))
        if self.settings.confirming_deg == 0.0:
            return settled.tolist()
        limit = math.radians(self.settings.confirming_deg)
        for row, (box, own, other) in enumerate(zip(boxes, found, best, strict=True)):
            angle, way = symmetric_distance(own, other, self._symmetries[box.object_index])
            settled[row] |= angle < limit and way <= _CONFIRMING_SHARE * float(np.linalg.norm(own[:3, 3]))
        return settled.tolist()

    def _outcome(
        self,
        picture: Picture,
        boxes: Sequence[Detection],
        start: Tensor,
        ran: tuple[list[Stage], Tensor, Tensor],
        first: Tensor | None,
    ) -> Outcome:
        """Choose among the poses that the stages went through, see `run`; `first` is what `chosen_updates` wants."""
        trace, poses, broken = ran
        index = to_device(np.array([box.object_index for box in boxes]), self.device)
        chosen = chosen_updates(trace, first, self.settings.similarity_margin)
        rows = torch.arange(len(start), device=self.device)
        found = poses[chosen, rows]
        errors = torch.stack([stage.prediction.log_error for stage in trace])[(chosen - 1).clamp(min=0), rows]
        fits = self.search.fits([stage for stage in trace if stage.cameras.size == trace[-1].cameras.size])
        cost = [
            self.search.cost(picture, box, fits[:, row : row + 1], found[row : row + 1], broken[row : row + 1])
            for row, box in enumerate(boxes)
        ]
        similarity = trace[-1].prediction.similarity
        return Outcome(
            poses=found,
            log_error=errors,
            cost=torch.cat(cost),
            rejected=broken | has_strayed(start, found, self.settings),
            covariance=chosen_covariances(trace, poses, self.centre[index], chosen),
            similarity=torch.full_like(errors, math.nan) if similarity is None else similarity,
        )

    @torch.inference_mode()
    def trace(self, frame: Frame, hypotheses: Sequence[PoseHypothesis], stages: int | None = None) -> list[Stage]:
        """Return what every stage sees of some poses, for drawing."""
        return self.run(self.picture(frame), *self._start(hypotheses), self._sizes(stages))[0]

    def _count_rejected(self, name: str) -> None:
        self.rejections[name] += 1
        level = logging.WARNING if self.rejections[name] == 1 else logging.DEBUG
        _log.log(level, "refinement of %s rejected (%d times); its pose stays as it was", name, self.rejections[name])

    @torch.inference_mode()
    def similarity(self, frame: Frame, hypotheses: Sequence[PoseHypothesis]) -> Tensor | None:
        """Return how similar to the image poses are at the full size (B,), where the network can tell."""
        return self.similarity_at(self.picture(frame), *self._start(hypotheses))

    def success_probability(self, log_error: Tensor) -> Tensor:
        """Return the chances that poses are right, as if errors were spread exponentially about what is expected."""
        return success_probability(log_error, self.settings.accepted_error_diameters, self.settings.error_scale)

    def _start(self, hypotheses: Sequence[PoseHypothesis]) -> tuple[Tensor, Tensor]:
        index = to_device(np.array([item.object_index for item in hypotheses]), self.device)
        poses = np.stack([item.camera_from_object for item in hypotheses]).astype(np.float32)
        return index, to_device(poses, self.device)

    def _sizes(self, stages: int | None) -> list[int]:
        """Return the sides of the images of the stages."""
        if stages is not None and stages < 1:
            raise ValueError(f"stages = {stages}: expected 1 or more")
        if stages is not None:
            return [self.size] * stages
        coarse = list(self.network.coarse_sizes)
        if coarse:
            coarse += coarse[-1:] * (min(self.settings.coarse_stages, self.settings.stages - 1) - len(coarse))
        return coarse + [self.size] * max(1, self.settings.stages - len(coarse))


def load(context: LoadContext) -> Attention:
    """Load the refiner of a bundle.

    Raises:
        BundleError: if weights or meshes are missing, damaged or do not fit.
    """
    return Attention.from_bundle(context.bundle, context.device, context.mesh_dir, context.settings)
