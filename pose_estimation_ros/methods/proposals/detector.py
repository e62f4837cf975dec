"""Detection of objects that no network was trained on: proposals of one class, named by their rendered views."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.data.pyramid import picture_of
from pose_estimation_ros.geometry.transfer import to_host
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.proposals.matching import DESCRIPTORS, Matcher, name_probabilities
from pose_estimation_ros.methods.proposals.settings import ProposalsSettings
from pose_estimation_ros.methods.segmentation import Segmenter, load_segmenter
from pose_estimation_ros.methods.view_table import FeatureSpace
from pose_estimation_ros.methods.view_tables import ViewTables
from pose_estimation_ros.networks.descriptor_net import DescriptorNet
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.mesh import sample_surface
from pose_estimation_ros.objects.object_tensors import object_sizes
from pose_estimation_ros.rendering.raycaster import RayCaster

ROLE = "proposals"  # of the network in the bundle
_OUTLINE_POINTS = 256


@dataclass(frozen=True)
class MeshShapes:
    """The O objects of a bundle, as tables are rendered of them."""

    caster: RayCaster
    centre: Tensor  # (O, 3) metres
    outline: Tensor  # (O, P, 3) points on the surfaces, metres
    device: torch.device

    @classmethod
    def load(cls, bundle: Bundle, mesh_dir: Path | None, device: torch.device) -> MeshShapes:
        """Load the meshes.

        Raises:
            BundleError: if one is missing.
        """
        meshes = bundle.load_meshes(mesh_dir)
        outline = torch.from_numpy(np.stack([sample_surface(mesh, _OUTLINE_POINTS) for mesh in meshes])).float()
        centre, _, _ = object_sizes(bundle.catalog, device)
        return cls(RayCaster(meshes, device=device), centre, outline.to(device), device)


class Proposals:
    """Propose whatever lies there, and name what looks like an object of the bundle.

    Args:
        segmenter: finds things, of one class.
        matcher: compares them with the objects.
        settings: what a name takes.
    """

    def __init__(self, segmenter: Segmenter, matcher: Matcher, settings: ProposalsSettings) -> None:
        self.segmenter = segmenter
        self.matcher = matcher
        self.settings = settings

    @torch.inference_mode()
    def detect(self, frame: Frame, score_threshold: float, objects: Collection[int] | None = None) -> list[Detection]:
        """Return the names scored at least `score_threshold`, best first; see `Detector`.

        A proposal that may be several objects is a detection of each of them; their scores sum to at most one. It is
        compared with those that are looked for and no others, so that a look-alike among the others takes nothing
        from them.
        """
        found = self.segmenter.segment(frame.rgb, self.settings.min_objectness)
        if not found:
            return []
        device = self.segmenter.device
        image, intrinsics = picture_of(frame, device)
        wanted = range(len(self.matcher.views)) if objects is None else sorted(objects)
        (similarity,) = to_host(self.matcher.similarity(image, intrinsics, found, wanted).double())
        chances = name_probabilities(similarity, np.array([item.score for item in found]), self.settings)
        named = []
        for item, row in zip(found, chances, strict=True):
            for column in np.argsort(-row, kind="stable")[: self.settings.max_names].tolist():
                if row[column] >= score_threshold:
                    named.append(Detection(wanted[column], float(row[column]), item.box, item.mask))
        return sorted(named, key=lambda item: -item.score)


def load(context: LoadContext) -> Proposals:
    """Load the network of a bundle and table the views of its objects.

    Raises:
        BundleError: if weights or meshes are missing, damaged or do not fit.
        ValueError: if the tables would take more memory than the settings allow.
    """
    bundle, settings, device = context.bundle, context.settings, context.device
    segmenter = load_segmenter(bundle, ROLE, 1, device, settings.max_mask_overlap)
    network = bundle.load_network(DESCRIPTORS, _build, device)
    encode = partial(_encoded, network)
    shapes = MeshShapes.load(bundle, context.mesh_dir, device)
    space = FeatureSpace.whole(network.out.out_channels, device)
    try:
        tables = ViewTables(shapes, bundle.catalog, bundle.pose_prior, settings, encode, space)
    except ValueError as error:
        raise ValueError(f"proposals.{error}") from error
    return Proposals(segmenter, Matcher(encode, [tables[index] for index in range(len(tables))], settings), settings)


def _build(_: int, **architecture: Any) -> DescriptorNet:
    return DescriptorNet(**architecture)


def _encoded(network: DescriptorNet, images: Tensor) -> Tensor:
    """Return the descriptors (B, K, h, w) of images that are compared."""
    with autocast(images.device):
        return network(images.contiguous(memory_format=torch.channels_last))
