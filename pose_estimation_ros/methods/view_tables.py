"""Tables of rendered views of all objects of a catalog, in which what is in a box is looked up."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.methods.view_search_settings import ViewTableSettings
from pose_estimation_ros.methods.view_table import Encode, FeatureSpace, ViewTable, build_table, table_bytes
from pose_estimation_ros.networks.attention_net import AttentionNet
from pose_estimation_ros.networks.attention_paper import PaperAttentionNet
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.rotation_grid import rotation_grid
from pose_estimation_ros.rendering.raycaster import RayCaster

_LEVEL = 1  # of the encoder's maps: stride 8
_DISTANCES = (2.5, 15.0)  # at which views are rendered, diameters, least and most
_MEGABYTE = 1e6


class Shapes(Protocol):
    """The O objects of a catalog, as tables are rendered of them."""

    @property
    def caster(self) -> RayCaster:
        """Renders them."""

    @property
    def centre(self) -> Tensor:
        """Their centres (O, 3), metres."""

    @property
    def outline(self) -> Tensor:
        """Points on their surfaces (O, P, 3), metres."""

    @property
    def device(self) -> torch.device:
        """Where they are rendered."""


def encoded(network: AttentionNet | PaperAttentionNet, images: Tensor, is_real: bool = False) -> Tensor:
    """Return the features (B, C, h, w) of images that are looked up; mapped where these are real."""
    assert isinstance(network, AttentionNet), "load refuses others"
    with autocast(images.device):
        return network.features(images.contiguous(memory_format=torch.channels_last), is_real)[_LEVEL].float()


class ViewTables:
    """The tables of all objects, each one made when it is first asked for.

    Args:
        shapes: of the objects.
        catalog: the objects.
        pose_prior: from where they are seen.
        settings: how many views.
        encode: the features.
        space: of all tables; or how many principal components of its own each one keeps.

    Raises:
        ValueError: if a table would take more memory than the settings allow.
    """

    def __init__(
        self,
        shapes: Shapes,
        catalog: Catalog,
        pose_prior: PosePrior,
        settings: ViewTableSettings,
        encode: Encode,
        space: FeatureSpace | int,
    ) -> None:
        prior = PosePrior(distance_m=pose_prior.distance_m) if settings.every_rotation else pose_prior
        self._shapes, self._encode, self._space = shapes, encode, space
        self._rotation = rotation_grid(prior, settings.directions, settings.roll_step_deg).to(shapes.device)
        usual = math.sqrt(math.prod(prior.distance_m))
        self._distance_m = [float(np.clip(usual / item.diameter_m, *_DISTANCES)) * item.diameter_m for item in catalog]
        self._tables: dict[int, ViewTable] = {}
        with torch.inference_mode():
            needed = table_bytes(self._encode, len(self._rotation), space, shapes.device)
        if needed > settings.max_table_mb * _MEGABYTE:
            raise ValueError(
                f"max_table_mb = {settings.max_table_mb:g}: {len(self._rotation)} views "
                f"take {needed / _MEGABYTE:.1f} MB for an object; expected fewer directions or a larger roll_step_deg"
            )

    def __len__(self) -> int:
        return len(self._distance_m)

    def __getitem__(self, index: int) -> ViewTable:
        if index not in self._tables:
            shapes = self._shapes
            with torch.inference_mode():
                self._tables[index] = build_table(
                    shapes.caster,
                    index,
                    shapes.centre[index],
                    shapes.outline[index],
                    self._rotation,
                    self._distance_m[index],
                    self._encode,
                    self._space,
                )
        return self._tables[index]

    def make(self) -> None:
        """Make all of them now."""
        for index in range(len(self)):
            self[index]
