"""Poses of objects that no network was trained on: views that look like the box, then render and compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.box_prior import places_in_box
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
from pose_estimation_ros.methods.unseen.view_table import (
    PADDING,
    SIZE,
    Encode,
    ViewTable,
    build_table,
    look_at_boxes,
)
from pose_estimation_ros.methods.update_covariance import chosen_covariances
from pose_estimation_ros.networks.attention_net import AttentionNet
from pose_estimation_ros.networks.attention_paper import PaperAttentionNet
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, BundleError
from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.rotation_grid import rotation_grid

ROLES = ("unseen", "attention")  # networks of a bundle that compare, the first one that is there
_LEVEL = 1  # of the encoder's maps: stride 8
_DISTANCES = (2.5, 15.0)  # at which views are rendered, diameters, least and most
_MEGABYTE = 1e6


class Candidates(NamedTuple):
    """Views that look like what is in a box, the likeliest first."""

    similarity: Tensor  # (K,)
    poses: Tensor  # (K, 4, 4)


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
        comparison: renders and compares.
        tables: of every object.
        settings: how many views are looked at.
    """

    crop_size = SIZE
    crop_padding = PADDING

    def __init__(
        self, comparison: RenderCompare, tables: Sequence[ViewTable], settings: UnseenSettings | None = None
    ) -> None:
        self.comparison = comparison
        self.tables = list(tables)
        self.settings = settings or UnseenSettings()
        self.device = comparison.device

    @torch.inference_mode()
    def estimate(self, frame: Frame, crops: Crops, detections: list[Detection]) -> list[PoseHypothesis]:
        """Estimate as `Backend` says; the crops are cut anew, by cameras that are turned to the boxes."""
        if not detections:
            return []
        picture, hypotheses = self.comparison.picture(frame), []
        for number, (detection, likely) in enumerate(
            zip(detections, self.candidates(picture, detections), strict=True)
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

    @torch.inference_mode()
    def candidates(self, picture: Picture, detections: Sequence[Detection]) -> list[Candidates]:
        """Look up which views are like what is in the boxes, and put them there; those that fit nowhere are left out.

        Args:
            picture: the image.
            detections: the boxes.
        """
        seen = look_at_boxes(*picture, np.stack([item.box for item in detections]))
        maps = encoded(self.comparison.network, seen.images)
        found = []
        for row, detection in enumerate(detections):
            table = self.tables[detection.object_index]
            similarity = table.similarity(
                maps[row : row + 1], seen.log_aspect[row : row + 1], self.settings.aspect_weight
            )[0]
            best = similarity.nan_to_num(-1.0).topk(min(self.settings.candidates, len(similarity))).indices
            rotation = seen.virtual_from_camera[row].T @ table.rotation[best]
            poses = self._placed(picture, detection, rotation)
            usable = torch.isfinite(poses).flatten(1).all(dim=1)
            found.append(Candidates(similarity[best][usable], poses[usable]))
        return found

    def _placed(self, picture: Picture, detection: Detection, rotation: Tensor) -> Tensor:
        """Return poses (K, 4, 4) with these rotations (K, 3, 3) in which the object fills the box."""
        outline = self.comparison.outline[detection.object_index].double().cpu().numpy()
        turned, box = rotation.double().cpu().numpy(), np.asarray(detection.box, dtype=np.float64)
        box = np.concatenate([box[:2], np.maximum(box[2:], box[:2] + 1.0)])
        poses = np.tile(np.eye(4), (len(turned), 1, 1))
        poses[:, :3, :3] = turned
        poses[:, :3, 3] = places_in_box(turned, outline, box, picture.intrinsics.double().cpu().numpy())
        points = outline @ np.swapaxes(turned, 1, 2)
        poses[:, :3, 3] -= (points.min(axis=1) + points.max(axis=1)) / 2.0
        return torch.from_numpy(poses).float().to(self.device)

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


def encoded(network: AttentionNet | PaperAttentionNet, images: Tensor) -> Tensor:
    """Return the features (B, C, h, w) of images that are looked up."""
    assert isinstance(network, AttentionNet), "load refuses others"
    with autocast(images.device):
        return network.features(images.contiguous(memory_format=torch.channels_last))[_LEVEL].float()


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
    return Unseen(comparison, make_tables(comparison, bundle, settings), settings)


def make_tables(
    comparison: RenderCompare, bundle: Bundle, settings: UnseenSettings, encode: Encode | None = None
) -> list[ViewTable]:
    """Table the views of all objects.

    Args:
        comparison: renders them.
        bundle: the objects, and from where they are seen.
        settings: how many views.
        encode: the features; those of the network where absent.

    Raises:
        ValueError: if a table would take more memory than the settings allow.
    """
    prior = PosePrior(distance_m=bundle.pose_prior.distance_m) if settings.every_rotation else bundle.pose_prior
    rotation = rotation_grid(prior, settings.directions, settings.roll_step_deg).to(comparison.device)
    usual, tables = math.sqrt(math.prod(prior.distance_m)), []
    for index, model in enumerate(bundle.catalog):
        try:
            with torch.inference_mode():
                table = build_table(
                    comparison.caster,
                    index,
                    comparison.centre[index],
                    comparison.outline[index],
                    rotation,
                    float(np.clip(usual / model.diameter_m, *_DISTANCES)) * model.diameter_m,
                    encode or partial(encoded, comparison.network),
                    settings.channels,
                    settings.max_table_mb * _MEGABYTE,
                )
        except MemoryError as error:
            raise ValueError(
                f"unseen.max_table_mb = {settings.max_table_mb:g}: {error} for an object; expected fewer "
                "unseen.directions or a larger unseen.roll_step_deg"
            ) from error
        tables.append(table)
    return tables
