"""Refinement by spatial attention: render, compare, move, a few times (Stevsic and Hilliges, 3DV 2020)."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.comparison import rendered_channels, warped
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.camera import transform_points
from pose_estimation_ros.geometry.virtual_camera import PoseUpdate, VirtualCameras, updated_poses, virtual_cameras
from pose_estimation_ros.methods.attention.network import AttentionNet
from pose_estimation_ros.methods.attention.paper import PaperAttentionNet, make_attention_net
from pose_estimation_ros.methods.attention.rotation_hypotheses import Outcome, right_angle_rotations, rotated_poses
from pose_estimation_ros.methods.attention.selection import Stage, chosen_updates, has_strayed
from pose_estimation_ros.methods.attention.settings import AttentionSettings
from pose_estimation_ros.methods.attention.uncertainty import chosen_covariances
from pose_estimation_ros.methods.base import LoadContext, PoseHypothesis
from pose_estimation_ros.methods.covariance import published_covariance
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.mesh import sample_surface
from pose_estimation_ros.objects.object_tensors import object_sizes
from pose_estimation_ros.rendering.raycaster import RayCaster
from pose_estimation_ros.rendering.shading import headlight

ROLE = "attention"
_OUTLINE_POINTS = 256
_log = logging.getLogger(__name__)


class Picture(NamedTuple):
    """An image as `compare` takes it."""

    image: Tensor  # (3, H, W) in [0, 1]
    intrinsics: Tensor  # (3, 3)


class Attention:
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
        self.network = network
        self.caster = caster
        self.size = size
        self.settings = settings or AttentionSettings()
        self.device = next(network.parameters()).device
        self._centre, self._half, self._diameter = object_sizes(catalog, self.device)
        self.outline = outline.to(self.device)
        self._rotations = right_angle_rotations().to(self.device)
        self.names = [model.name for model in catalog]
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
        network = bundle.load_network(ROLE, lambda _, **architecture: make_attention_net(**architecture), device)
        meshes = bundle.load_meshes(mesh_dir)
        outline = torch.from_numpy(np.stack([sample_surface(mesh, _OUTLINE_POINTS) for mesh in meshes])).float()
        caster = RayCaster(meshes, device=device)
        return cls(network, caster, bundle.catalog, outline, bundle.network(ROLE).input_size, settings)

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
        picture, sizes = self._picture(frame), self._sizes(stages)
        first = None if sizes[0] == self.size else self._similarity(picture, index, start)
        outcome = self._outcome(index, start, *self._run(picture, index, start, sizes), first)
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
        turned = rotated_poses(found, self._centre[index[rows]], self._rotations)
        many = index[rows].repeat_interleave(len(self._rotations))
        trace, moved, _ = self._run(picture, many, turned.flatten(0, 1), sizes[:1])
        cost = self._cost(trace[-1]).nan_to_num(math.inf).reshape(turned.shape[:2])
        likely = cost.argsort(dim=1)[:, : settings.rotation_hypotheses]
        begun = moved[-1].reshape(turned.shape)[torch.arange(len(rows), device=self.device)[:, None], likely]
        begun = begun.transpose(0, 1).flatten(0, 1)
        again = index[rows].repeat(likely.shape[1])
        tried = self._outcome(again, begun, *self._run(picture, again, begun, sizes[1:]), None)
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
        covariance = chosen_covariances(trace, poses, self._centre[index], chosen)
        rejected = broken | has_strayed(start, found, self.settings)
        similarity = trace[-1].prediction.similarity
        similarity = torch.full_like(errors, math.nan) if similarity is None else similarity
        return Outcome(found, errors, self._cost(trace[-1]), rejected, covariance, similarity)

    def _cost(self, stage: Stage) -> Tensor:
        """Return how little the poses (B,) that a stage began with fit the image."""
        similarity = stage.prediction.similarity
        return stage.prediction.log_error - self.settings.similarity_weight * (
            0.0 if similarity is None else similarity
        )

    @torch.inference_mode()
    def trace(self, frame: Frame, hypotheses: Sequence[PoseHypothesis], stages: int | None = None) -> list[Stage]:
        """Return what every stage sees of some poses, for drawing."""
        return self._run(self._picture(frame), *self._start(hypotheses), self._sizes(stages))[0]

    def _count_rejected(self, name: str) -> None:
        self.rejections[name] += 1
        level = logging.WARNING if self.rejections[name] == 1 else logging.DEBUG
        _log.log(level, "refinement of %s rejected (%d times); its pose stays as it was", name, self.rejections[name])

    @torch.inference_mode()
    def similarity(self, frame: Frame, hypotheses: Sequence[PoseHypothesis]) -> Tensor | None:
        """Return how similar to the image poses are at the full size (B,), where the network can tell."""
        return self._similarity(self._picture(frame), *self._start(hypotheses))

    def success_probability(self, log_error: Tensor) -> Tensor:
        """Return the chances that poses are right, as if errors were spread exponentially about what is expected."""
        expected = self.settings.error_scale * log_error.clamp(-8.0, 8.0).exp()
        return 1.0 - torch.exp(-self.settings.accepted_error_diameters / expected)

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

    def _picture(self, frame: Frame) -> Picture:
        image = torch.from_numpy(frame.rgb).to(self.device).permute(2, 0, 1).float() / 255.0
        return Picture(image, torch.as_tensor(frame.camera.intrinsics, dtype=torch.float32, device=self.device))

    def _run(
        self, picture: Picture, index: Tensor, poses: Tensor, sizes: Sequence[int]
    ) -> tuple[list[Stage], Tensor, Tensor]:
        """Compare and move, stage by stage, with images of these sizes.

        Returns:
            The N stages, the poses before and after them (N + 1, B, 4, 4), and which broke and did not move on (B,).
        """
        trace, known = [], [poses]
        broken = torch.zeros(len(poses), dtype=torch.bool, device=self.device)
        for size in sizes:
            stage = self.compare(*picture, index, poses, size)
            update = PoseUpdate(stage.prediction.shift, stage.prediction.log_distance, stage.prediction.axis_angle)
            moved = updated_poses(poses, self._centre[index], stage.cameras, update)
            broken = broken | ~torch.isfinite(moved).flatten(1).all(dim=1) | (moved[:, 2, 3] <= 0.0)
            poses = torch.where(broken[:, None, None], poses, moved)
            trace.append(stage)
            known.append(poses)
        return trace, torch.stack(known), broken

    def compare(
        self, image: Tensor, intrinsics: Tensor, index: Tensor, poses: Tensor, size: int | None = None
    ) -> Stage:
        """Render objects (B,) at poses (B, 4, 4) and compare them with an image (3, H, W) in [0, 1]."""
        cameras, observed, rendered = self._pair(Picture(image, intrinsics), index, poses, size or self.size)
        depth = transform_points(self._centre[index][:, None], cameras.poses(poses))[:, 0, 2]
        distance = depth / self._diameter[index]
        with autocast(self.device):
            prediction = self.network(
                observed, rendered, distance, cameras.size / cameras.intrinsics[:, 0, 0] * distance
            )
        return Stage(cameras, observed, rendered, prediction)

    def _similarity(self, picture: Picture, index: Tensor, poses: Tensor) -> Tensor | None:
        """Return how like the image poses (B, 4, 4) are at the full size, (B,), where the network can tell."""
        if self.network.similarity is None:
            return None
        _, observed, rendered = self._pair(picture, index, poses, self.size)
        with autocast(self.device):
            return self.network.similarity(observed, rendered)

    def _pair(self, picture: Picture, index: Tensor, poses: Tensor, size: int) -> tuple[VirtualCameras, Tensor, Tensor]:
        """Return virtual cameras, and what they see: the image (B, 3, S, S) and renderings (B, RENDERED, S, S)."""
        cameras = virtual_cameras(poses, self._centre[index], self.outline[index], size, self.network.padding)
        layout = {"memory_format": torch.channels_last}
        observed = warped(picture.image, cameras.image_from_virtual(picture.intrinsics), size).contiguous(**layout)
        return cameras, observed, self.render(cameras, index, poses).float().contiguous(**layout)

    def render(self, cameras: VirtualCameras, index: Tensor, poses: Tensor) -> Tensor:
        """Render objects as the network takes them (B, RENDERED, S, S)."""
        seen = cameras.poses(poses)
        renders = self.caster.render(index, seen, cameras.intrinsics, cameras.size, cameras.size)
        mask = renders.mask[:, None].float().to(self.device)
        centre, half = self._centre[index][:, :, None, None], self._half[index][:, :, None, None]
        coordinates = (renders.coordinates.to(self.device) - centre) / half * mask
        color = headlight(renders.colors.to(self.device), renders.normals.to(self.device)[:, 2:]) * mask
        return rendered_channels(color, coordinates, mask, seen[:, :3, :3], self._half[index], self._diameter[index])


def load(context: LoadContext) -> Attention:
    """Load the refiner of a bundle.

    Raises:
        BundleError: if weights or meshes are missing, damaged or do not fit.
    """
    return Attention.from_bundle(context.bundle, context.device, context.mesh_dir, context.settings)
