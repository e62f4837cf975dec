"""Refinement by spatial attention: render, compare, move, a few times (Stevsic and Hilliges, 3DV 2020)."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.methods.attention.rotation_hypotheses import Outcome, right_angle_rotations, rotated_poses
from pose_estimation_ros.methods.attention.selection import has_strayed
from pose_estimation_ros.methods.attention.settings import AttentionSettings
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
from pose_estimation_ros.methods.update_covariance import chosen_covariances
from pose_estimation_ros.networks.attention_net import AttentionNet
from pose_estimation_ros.networks.attention_paper import PaperAttentionNet
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.rendering.raycaster import RayCaster

ROLE = "attention"
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
    """

    def __init__(
        self,
        network: AttentionNet | PaperAttentionNet,
        caster: RayCaster,
        catalog: Catalog,
        outline: Tensor,
        size: int,
        settings: AttentionSettings | None = None,
    ) -> None:
        super().__init__(network, caster, catalog, outline, size)
        self.settings = settings or AttentionSettings()
        self._rotations = right_angle_rotations().to(self.device)
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
        """
        shared = RenderCompare.load(bundle, ROLE, device, mesh_dir)
        return cls(shared.network, shared.caster, bundle.catalog, shared.outline, shared.size, settings)

    @torch.inference_mode()
    def refine(
        self,
        frame: Frame,
        detections: list[Detection],
        hypotheses: Sequence[PoseHypothesis],
        stages: int | None = None,
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

        Raises:
            ValueError: if `stages` is less than 1.
        """
        if not hypotheses:
            return []
        index, start = self._start(hypotheses)
        picture, sizes = self.picture(frame), self._sizes(stages)
        first = None if sizes[0] == self.size else self.similarity_at(picture, index, start)
        outcome = self._outcome(index, start, *self.run(picture, index, start, sizes), first)
        comparisons = torch.full((len(start),), len(sizes), device=self.device)
        if stages is None:
            outcome, more = self._with_other_rotations(picture, index, start, outcome)
            comparisons += more
        chance = self.success_probability(outcome.log_error).nan_to_num(0.0).tolist()
        poses = outcome.poses.double().cpu().numpy()
        covariances = outcome.covariance.double().cpu().numpy()
        rejected, spent, similarity = outcome.rejected.tolist(), comparisons.tolist(), outcome.similarity.tolist()
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
        self, picture: Picture, index: Tensor, start: Tensor, outcome: Outcome
    ) -> tuple[Outcome, Tensor]:
        """Try other rotations of the objects (B,) that are in doubt, and take those that fit clearly better.

        An object that looks alike from two sides is easily taken for its other side, and no small update leads from
        one to the other. One comparison tells which rotations are the likeliest; they are refined like the first pose.

        Returns:
            What became of them, and how many comparisons each of them took (B,).
        """
        settings, sizes = self.settings, self._sizes(None)
        spent = torch.zeros(len(start), dtype=torch.int64, device=self.device)
        if settings.rotation_hypotheses == 0 or len(sizes) < 2:
            return outcome, spent
        rows = torch.nonzero(~(outcome.log_error <= math.log(settings.retry_error_threshold)))[:, 0]
        if not len(rows):
            return outcome, spent
        found = torch.where(outcome.rejected[:, None, None], start, outcome.poses)[rows]
        turned = rotated_poses(found, self.centre[index[rows]], self._rotations)
        many = index[rows].repeat_interleave(len(self._rotations))
        trace, moved, _ = self.run(picture, many, turned.flatten(0, 1), sizes[:1])
        cost = cost_of(trace[-1], self.settings.similarity_weight).nan_to_num(math.inf).reshape(turned.shape[:2])
        likely = cost.argsort(dim=1)[:, : settings.rotation_hypotheses]
        begun = moved[-1].reshape(turned.shape)[torch.arange(len(rows), device=self.device)[:, None], likely]
        begun = begun.transpose(0, 1).flatten(0, 1)
        again = index[rows].repeat(likely.shape[1])
        tried = self._outcome(again, begun, *self.run(picture, again, begun, sizes[1:]), None)
        for part in torch.arange(len(begun), device=self.device).reshape(-1, len(rows)):
            outcome = outcome.improved(tried.part(part), rows, settings.min_cost_gain)
        spent[rows] = len(self._rotations) + likely.shape[1] * (len(sizes) - 1)
        return outcome, spent

    def _outcome(
        self, index: Tensor, start: Tensor, trace: Sequence[Stage], poses: Tensor, broken: Tensor, first: Tensor | None
    ) -> Outcome:
        """Choose among the poses (N + 1, B, 4, 4) that N stages went through; `first` is what `_choose` wants."""
        chosen = chosen_updates(trace, first, self.settings.similarity_margin)
        rows = torch.arange(len(start), device=self.device)
        found = poses[chosen, rows]
        errors = torch.stack([stage.prediction.log_error for stage in trace])[(chosen - 1).clamp(min=0), rows]
        covariance = chosen_covariances(trace, poses, self.centre[index], chosen)
        rejected = broken | has_strayed(start, found, self.settings)
        similarity = trace[-1].prediction.similarity
        similarity = torch.full_like(errors, math.nan) if similarity is None else similarity
        return Outcome(
            found, errors, cost_of(trace[-1], self.settings.similarity_weight), rejected, covariance, similarity
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
        index = torch.tensor([item.object_index for item in hypotheses], device=self.device)
        poses = torch.from_numpy(np.stack([item.camera_from_object for item in hypotheses]))
        return index, poses.float().to(self.device)

    def _sizes(self, stages: int | None) -> list[int]:
        """Return the sides of the images of the stages."""
        if stages is not None and stages < 1:
            raise ValueError(f"stages = {stages}: expected 1 or more")
        if stages is not None:
            return [self.size] * stages
        coarse = self.network.coarse_sizes
        return [*coarse, *[self.size] * max(1, self.settings.stages - len(coarse))]


def load(context: LoadContext) -> Attention:
    """Load the refiner of a bundle.

    Raises:
        BundleError: if weights or meshes are missing, damaged or do not fit.
    """
    return Attention.from_bundle(context.bundle, context.device, context.mesh_dir, context.settings)
