"""NeMo's published procedure: render 144 poses, move the best by 300 Adam steps. Slow; kept for comparison.

The camera's place about the object and its roll are optimised, so that the object stays in the direction in which the
box says it is.
"""

from __future__ import annotations

import math
from dataclasses import fields

import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.geometry.virtual_camera import rotation_between
from pose_estimation_ros.methods.nemo.network import NemoNet
from pose_estimation_ros.methods.nemo.rendering import render_features
from pose_estimation_ros.methods.nemo.similarity import Similarity, centres, from_centre
from pose_estimation_ros.rendering.raycaster import RayCaster

AZIMUTHS, ELEVATIONS, ROLLS = 12, 4, 3
STEPS = 300
DISTANCE = 5.0  # of the first camera, in units that the learning rate is meant for
_CHUNK = 48  # poses rendered at once


class PaperProcedure:
    """Fit one mesh to one crop at a time, as Wang et al. (2021) do.

    Args:
        network: has the meshes.
        caster: renders them, in the same order.
        occlusion: decide for every cell between object and clutter.
    """

    def __init__(self, network: NemoNet, caster: RayCaster, occlusion: bool = True) -> None:
        self.network, self.caster, self.occlusion = network, caster, occlusion
        self.features = network.features

    def fit(self, features: Tensor, similarity: Similarity, boxes: Tensor) -> Tensor:
        """Return poses of the meshes' centres (P, 4, 4).

        Args:
            features: of the crops (B, C, h, w).
            similarity: P pairs of crops and meshes.
            boxes: of the whole objects, in cells, shape (P, 4).
        """
        with torch.inference_mode(False), torch.enable_grad():  # a pipeline runs without gradients
            features, boxes = features.clone(), boxes.clone()
            similarity = Similarity(
                **{item.name: getattr(similarity, item.name).clone() for item in fields(similarity)}
            )
            return torch.stack([self._fit_one(features, similarity, boxes, pair) for pair in range(len(boxes))])

    def _fit_one(self, features: Tensor, similarity: Similarity, boxes: Tensor, pair: int) -> Tensor:
        mesh, camera = similarity.mesh[pair], similarity.camera[pair]
        image, box = features[similarity.crop[pair]], boxes[pair]
        clutter = similarity.clutter[pair]
        centre = (box[:2] + box[2:]) / 2.0
        ray = torch.cat([(centre - camera[:2, 2]) / camera[0, 0], camera.new_ones(1)])
        turn = rotation_between(ray.new_tensor([[0.0, 0.0, 1.0]]), ray[None])[0]
        unit = self._distance(mesh, box, camera[0, 0] * ray.norm()) / DISTANCE

        def losses(place: Tensor, roll: Tensor) -> Tensor:
            poses = look_at_poses(place * unit, roll, turn)
            return torch.cat([self._losses(mesh, part, image, clutter, camera) for part in poses.split(_CHUNK)])

        place, roll = starts(camera.device)
        with torch.no_grad():
            best = int(losses(place, roll).argmin())
        place, roll = place[best : best + 1].clone().requires_grad_(), roll[best : best + 1].clone().requires_grad_()
        optimiser = torch.optim.Adam([place, roll], lr=0.05, betas=(0.4, 0.6))
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, STEPS // 3, 0.2)
        for _ in range(STEPS):
            optimiser.zero_grad()
            losses(place, roll).sum().backward()
            optimiser.step()
            schedule.step()
        return look_at_poses(place.detach() * unit, roll.detach(), turn)[0]

    def _losses(self, mesh: Tensor, poses: Tensor, image: Tensor, clutter: Tensor, camera: Tensor) -> Tensor:
        """Return for poses of the centre (N, 4, 4) how badly they explain features (C, h, w)."""
        network, count = self.network, len(poses)
        which = mesh.expand(count)
        rendered = render_features(
            self.caster,
            which,
            network.vertices[which],
            network.faces[which],
            self.features[which],
            from_centre(poses, centres(network)[which]),
            camera.expand(count, 3, 3),
            *image.shape[1:],
        )
        similarity = (rendered.features * image).sum(dim=1)
        if not self.occlusion:
            return 1.0 - similarity.mean(dim=(1, 2))
        return 1.0 - (torch.maximum(similarity, clutter).mean(dim=(1, 2)) - clutter.mean())

    def _distance(self, mesh: Tensor, box: Tensor, focal: Tensor) -> Tensor:
        """Return the distance at which the mesh is as large as the box, on average over the starts."""
        real = self.network.is_real[mesh] > 0
        vertices = self.network.vertices[mesh][real] - centres(self.network)[mesh]
        place, roll = starts(box.device)
        rotation = look_at_poses(place, roll, torch.eye(3, device=box.device))[:, :2, :3]
        seen = vertices @ rotation.transpose(1, 2)
        extent = (seen.amax(dim=1) - seen.amin(dim=1)).amax(dim=1).mean()
        return focal * extent / (box[2:] - box[:2]).amax().clamp(min=0.1)


def starts(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the paper's 144 camera places (144, 3) about the object, z up, and rolls (144,)."""
    azimuth = torch.arange(AZIMUTHS, device=device) * (2.0 * math.pi / AZIMUTHS)
    elevation = torch.linspace(-math.pi / 6.0, math.pi / 3.0, ELEVATIONS, device=device)
    roll = torch.linspace(-math.pi / 6.0, math.pi / 6.0, ROLLS, device=device)
    a, e, t = (item.flatten() for item in torch.meshgrid(azimuth, elevation, roll, indexing="ij"))
    place = torch.stack([e.cos() * a.sin(), -e.cos() * a.cos(), e.sin()], dim=1)
    return DISTANCE * place, t


def look_at_poses(place: Tensor, roll: Tensor, turn: Tensor) -> Tensor:
    """Return poses (N, 4, 4) of an object seen by cameras at places (N, 3) about it that look at its centre.

    Args:
        place: of the cameras, axes of the object with z up.
        roll: about the viewing direction, radians (N,).
        turn: rotation (3, 3) from the axis of the camera to where the object is.
    """
    forward = F.normalize(-place, dim=1)
    right = F.normalize(torch.linalg.cross(forward, place.new_tensor([0.0, 0.0, 1.0]).expand_as(forward)), dim=1)
    upright = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
    zero = torch.zeros_like(roll)
    rotation = turn @ matrix_from_axis_angle(torch.stack([zero, zero, roll], dim=1)) @ upright
    shift = place.norm(dim=1)[:, None] * turn[:, 2]
    bottom = place.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(place), 1, 4)
    return torch.cat([torch.cat([rotation, shift[..., None]], dim=2), bottom], dim=1)
