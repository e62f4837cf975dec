"""Render objects, compare the renderings with an image, and move the poses: what methods that do so share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.comparison import warped
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.data.pyramid import Pyramid, picture_of
from pose_estimation_ros.geometry.camera import transform_points
from pose_estimation_ros.geometry.transfer import constant
from pose_estimation_ros.geometry.virtual_camera import PoseUpdate, VirtualCameras, updated_poses, virtual_cameras
from pose_estimation_ros.methods.domain import Domain
from pose_estimation_ros.networks.attention_net import RENDERED, AttentionNet, Comparison
from pose_estimation_ros.networks.attention_paper import PaperAttentionNet, make_attention_net
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.mesh import Mesh, sample_surface
from pose_estimation_ros.objects.object_tensors import object_sizes
from pose_estimation_ros.rendering.raycaster import RayCaster
from pose_estimation_ros.rendering.shading import headlight

_OUTLINE_POINTS = 256
_PAIRS_AT_A_TIME = 16  # on a CPU; bounds the memory of what is between the layers


class Picture(NamedTuple):
    """An image as `compare` takes it."""

    image: Tensor | Pyramid  # (3, H, W) in [0, 1]
    intrinsics: Tensor  # (3, 3)


@dataclass(frozen=True)
class Stage:
    """One comparison of all poses of a frame."""

    cameras: VirtualCameras
    observed: Tensor  # (B, 3, S, S)
    rendered: Tensor  # (B, RENDERED, S, S)
    prediction: Comparison


class RenderCompare:
    """Compare all poses of a frame together; every stage is one rendering and one forward pass.

    Args:
        network: trained network in evaluation mode, on its device.
        caster: renders the objects of the catalog, in its order.
        catalog: the objects.
        outline: points on the surface of each object (O, P, 3), metres.
        size: side of the images the network was trained on; its coarse stages have their own.
        domain: what the images are.
    """

    def __init__(
        self,
        network: AttentionNet | PaperAttentionNet,
        caster: RayCaster,
        catalog: Catalog,
        outline: Tensor,
        size: int,
        domain: Domain = "real",
    ) -> None:
        self.network = network
        self.is_real = domain == "real"
        self.caster = caster
        self.size = size
        self.device = next(network.parameters()).device
        self.centre, self.half, self.diameter = object_sizes(catalog, self.device)
        self.outline = outline.to(self.device)
        self.names = [model.name for model in catalog]

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        role: str,
        device: torch.device,
        mesh_dir: Path | None = None,
        domain: Domain = "real",
    ) -> RenderCompare:
        """Load a network and the meshes of a bundle.

        Raises:
            BundleError: if weights or meshes are missing, damaged or do not fit.
        """
        network = bundle.load_network(role, lambda _, **architecture: make_attention_net(**architecture), device)
        meshes = bundle.load_meshes(mesh_dir)
        caster = RayCaster(meshes, device=device)
        size = bundle.network(role).input_size
        return cls(network, caster, bundle.catalog, surface_outlines(meshes), size, domain)

    def picture(self, frame: Frame) -> Picture:
        """Return a frame as `compare` takes it."""
        return Picture(*picture_of(frame, self.device))

    def run(
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
            moved = updated_poses(poses, self.centre[index], stage.cameras, update)
            broken = broken | ~torch.isfinite(moved).flatten(1).all(dim=1) | (moved[:, 2, 3] <= 0.0)
            poses = torch.where(broken[:, None, None], poses, moved)
            trace.append(stage)
            known.append(poses)
        return trace, torch.stack(known), broken

    def compare(
        self, image: Tensor | Pyramid, intrinsics: Tensor, index: Tensor, poses: Tensor, size: int | None = None
    ) -> Stage:
        """Render objects (B,) at poses (B, 4, 4) and compare them with an image (3, H, W) in [0, 1]."""
        cameras, observed, rendered = self.pair(Picture(image, intrinsics), index, poses, size or self.size)
        depth = transform_points(self.centre[index][:, None], cameras.poses(poses))[:, 0, 2]
        distance = depth / self.diameter[index]
        extent = cameras.size / cameras.intrinsics[:, 0, 0] * distance
        with autocast(self.device):
            prediction = Comparison.joined(
                [
                    self.network(*(item[part] for item in (observed, rendered, distance, extent)), self.is_real)
                    for part in self._parts(len(poses))
                ]
            )
        return Stage(cameras, observed, rendered, prediction)

    def _parts(self, count: int) -> list[slice]:
        """Return which of `count` pairs the network sees together."""
        whole = max(count, 1)
        size = _PAIRS_AT_A_TIME if self.device.type == "cpu" else whole
        return [slice(first, first + size) for first in range(0, whole, size)]

    def pair(self, picture: Picture, index: Tensor, poses: Tensor, size: int) -> tuple[VirtualCameras, Tensor, Tensor]:
        """Return virtual cameras, and what they see: the image (B, 3, S, S) and renderings (B, RENDERED, S, S)."""
        cameras = virtual_cameras(poses, self.centre[index], self.outline[index], size, self.network.padding)
        layout = {"memory_format": torch.channels_last}
        observed = warped(picture.image, cameras.image_from_virtual(picture.intrinsics), size).contiguous(**layout)
        return cameras, observed, self.render(cameras, index, poses).float().contiguous(**layout)

    def render(self, cameras: VirtualCameras, index: Tensor, poses: Tensor) -> Tensor:
        """Render objects as the network takes them (B, RENDERED, S, S)."""
        return rendered_in(self.caster, cameras, index, poses, self.centre, self.diameter)

    def similarity_at(self, picture: Picture, index: Tensor, poses: Tensor) -> Tensor | None:
        """Return how like the image poses (B, 4, 4) are at the full size, (B,), where the network can tell."""
        if self.network.similarity is None:
            return None
        _, observed, rendered = self.pair(picture, index, poses, self.size)
        with autocast(self.device):
            parts = self._parts(len(poses))
            return torch.cat([self.network.similarity(observed[i], rendered[i], self.is_real) for i in parts])


def surface_outlines(meshes: Sequence[Mesh]) -> Tensor:
    """Return points on the surfaces of objects (O, P, 3), metres, that virtual cameras are zoomed to."""
    return torch.from_numpy(np.stack([sample_surface(mesh, _OUTLINE_POINTS) for mesh in meshes])).float()


@torch.no_grad()
def rendered_in(
    caster: RayCaster, cameras: VirtualCameras, index: Tensor, poses: Tensor, centre: Tensor, diameter: Tensor
) -> Tensor:
    """Render objects (B,) at poses (B, 4, 4) as virtual cameras see them and networks take them.

    What `rendered_channels` makes of whole images is made of the rays that hit something alone.

    Args:
        caster: renders the objects.
        cameras: that look at the poses.
        index: the objects.
        poses: camera from object.
        centre: of all objects (O, 3), metres, in their frames.
        diameter: of all objects (O,), metres.

    Returns:
        (B, RENDERED, S, S) float16, channels last in memory.
    """
    device = caster.device
    seen = cameras.poses(poses).to(device)
    hits = caster.hits(index, seen, cameras.intrinsics, cameras.size, cameras.size)
    centre, diameter = centre[index].to(device), diameter[index].to(device)
    rotation = seen[:, :3, :3].transpose(1, 2).contiguous()[hits.image]  # (R, 3, 3), columns of the object's axes
    offset = (hits.point - centre[hits.image]) * (2.0 / diameter)[hits.image, None]
    towards = (hits.normal * rotation[:, :, 2]).sum(dim=1, keepdim=True)
    values = torch.empty(len(offset), RENDERED, device=device)
    values[:, :3] = headlight(hits.color, towards)
    torch.mul(offset[:, :1], rotation[:, 0], out=values[:, 3:6]).addcmul_(offset[:, 1:2], rotation[:, 1])
    values[:, 3:6].addcmul_(offset[:, 2:], rotation[:, 2])
    values[:, 6] = 1.0
    return hits.images(values.half()).permute(0, 3, 1, 2).to(poses.device)


def chosen_updates(trace: Sequence[Stage], first: Tensor | None, margin: float) -> Tensor:
    """Return after how many updates each pose (B,) was best, 0 where it was best as it came.

    Only poses that were compared are known to look like the image, and only images of one size tell which is
    more alike: those of the last stages. One stage compares nothing but the start, and networks without similarity
    tell nothing: then the last update counts.

    Args:
        trace: the stages.
        first: similarity (B,) of the start at their size, where the first stages have another.
        margin: of the poses so nearly as similar as the best, the last one counts.
    """
    size, observed = trace[-1].cameras.size, trace[0].observed
    known = {
        number: stage.prediction.similarity
        for number, stage in enumerate(trace)
        if stage.prediction.similarity is not None and stage.cameras.size == size
    }
    if first is not None:
        known[0] = first
    if len(known) < 2:
        return torch.full((len(observed),), len(trace), device=observed.device)
    numbers = sorted(known)
    values = torch.stack([known[number] for number in numbers]).nan_to_num(-1.0)
    near = values >= values.amax(dim=0) - margin
    order = torch.arange(1, len(numbers) + 1, device=observed.device)
    return constant(tuple(numbers), order)[(near * order[:, None]).argmax(dim=0)]


def cost_of(stage: Stage, similarity_weight: float) -> Tensor:
    """Return how little the poses (B,) that a stage began with fit the image; of one object, the lower the better."""
    similarity = stage.prediction.similarity
    return stage.prediction.log_error - similarity_weight * (0.0 if similarity is None else similarity)


def success_probability(log_error: Tensor, accepted_diameters: float, error_scale: float) -> Tensor:
    """Return the chances that poses are right, as if errors were spread exponentially about what is expected.

    Args:
        log_error: logarithm of the error that is expected, diameters.
        accepted_diameters: errors below count as right, diameters.
        error_scale: errors over those that the network expects of itself.
    """
    return 1.0 - torch.exp(-accepted_diameters / (error_scale * log_error.clamp(-8.0, 8.0).exp()))
