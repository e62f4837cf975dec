"""Look up what is in boxes in tables of rendered views: rotations to begin with, without rendering anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.frame import Detection
from pose_estimation_ros.geometry.box_prior import places_in_box
from pose_estimation_ros.methods.render_compare import Picture, RenderCompare
from pose_estimation_ros.methods.view_search_settings import ViewSearchSettings
from pose_estimation_ros.methods.view_table import Encode, ViewTable, build_table, look_at_boxes
from pose_estimation_ros.networks.attention_net import AttentionNet
from pose_estimation_ros.networks.attention_paper import PaperAttentionNet
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.rotation_grid import rotation_grid

_LEVEL = 1  # of the encoder's maps: stride 8
_DISTANCES = (2.5, 15.0)  # at which views are rendered, diameters, least and most
_MEGABYTE = 1e6


class Candidates(NamedTuple):
    """Views that look like what is in a box, the likeliest first."""

    similarity: Tensor  # (K,)
    poses: Tensor  # (K, 4, 4)


class ViewSearch:
    """Find views that look like what is in boxes.

    Args:
        comparison: its network encodes what is seen.
        tables: of every object.
        settings: how many views are looked at.
    """

    def __init__(
        self, comparison: RenderCompare, tables: Sequence[ViewTable], settings: ViewSearchSettings | None = None
    ) -> None:
        self.comparison = comparison
        self.tables = list(tables)
        self.settings = settings or ViewSearchSettings()
        self.device = comparison.device

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


def encoded(network: AttentionNet | PaperAttentionNet, images: Tensor) -> Tensor:
    """Return the features (B, C, h, w) of images that are looked up."""
    assert isinstance(network, AttentionNet), "load refuses others"
    with autocast(images.device):
        return network.features(images.contiguous(memory_format=torch.channels_last))[_LEVEL].float()


def make_tables(
    comparison: RenderCompare,
    catalog: Catalog,
    pose_prior: PosePrior,
    settings: ViewSearchSettings,
    encode: Encode | None = None,
) -> list[ViewTable]:
    """Table the views of all objects.

    Args:
        comparison: renders them.
        catalog: the objects.
        pose_prior: from where they are seen.
        settings: how many views.
        encode: the features; those of the network where absent.

    Raises:
        ValueError: if a table would take more memory than the settings allow.
    """
    prior = PosePrior(distance_m=pose_prior.distance_m) if settings.every_rotation else pose_prior
    rotation = rotation_grid(prior, settings.directions, settings.roll_step_deg).to(comparison.device)
    usual, tables = math.sqrt(math.prod(prior.distance_m)), []
    for index, model in enumerate(catalog):
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
                f"max_table_mb = {settings.max_table_mb:g}: {error} for an object; expected fewer directions or a "
                "larger roll_step_deg"
            ) from error
        tables.append(table)
    return tables
