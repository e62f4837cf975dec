"""Virtual cameras that look straight at an object, and pose updates in what they see.

Seen by a camera that is turned towards it, an object looks the same wherever it is in the image, so a network that
compares it with a rendering need not know the direction. An update moves the object in the virtual image, scales its
distance along the ray and turns it about its centre in the virtual camera's axes, as the image-space parametrisation
of DeepIM (Li et al., ECCV 2018) and of Stevsic and Hilliges (3DV 2020) does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.geometry.camera import transform_points
from pose_estimation_ros.geometry.rotations import axis_angle_from_matrix, matrix_from_axis_angle
from pose_estimation_ros.geometry.transfer import constant


@dataclass(frozen=True)
class VirtualCameras:
    """B cameras at the place of the real one, each turned to one object."""

    virtual_from_camera: Tensor  # (B, 3, 3) rotations
    intrinsics: Tensor  # (B, 3, 3), the object's centre in the centre of the image
    size: int  # side of the images, pixels

    def image_from_virtual(self, intrinsics: Tensor) -> Tensor:
        """Return homographies (B, 3, 3) from virtual pixels to those of the image with intrinsics (3, 3)."""
        return intrinsics @ self.virtual_from_camera.transpose(1, 2) @ torch.linalg.inv_ex(self.intrinsics).inverse

    def poses(self, camera_from_object: Tensor) -> Tensor:
        """Return poses (B, 4, 4) as the virtual cameras see them."""
        turned = camera_from_object.clone()
        turned[:, :3] = self.virtual_from_camera @ camera_from_object[:, :3]
        return turned


def look_at(direction: np.ndarray) -> np.ndarray:
    """Return rotations camera_from_object (N, 3, 3) of upright cameras that look at the origin.

    Args:
        direction: unit vectors (N, 3) from the object to the camera, object frame with z up.
    """
    forward = -direction
    up = np.where(np.abs(direction[:, 2:]) > 0.9999, [[0.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]])
    right = np.cross(forward, up)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def virtual_cameras(
    camera_from_object: Tensor, centre: Tensor, outline: Tensor, size: int, padding: float
) -> VirtualCameras:
    """Turn a camera to each object and zoom so that it fills the image.

    Args:
        camera_from_object: poses (B, 4, 4), metres.
        centre: the point of each object that goes into the centre, shape (B, 3).
        outline: surface points of each object, shape (B, P, 3).
        size: side of the images in pixels.
        padding: side of the image over the object's extent about its centre.
    """
    at = transform_points(centre[:, None], camera_from_object)[:, 0]
    turn = rotation_between(at, constant((0.0, 0.0, 1.0), at).expand_as(at))
    seen = transform_points(outline, camera_from_object) @ turn.transpose(1, 2)
    return VirtualCameras(turn, filling_intrinsics(seen, size, padding), size)


def filling_intrinsics(seen: Tensor, size: int, padding: float) -> Tensor:
    """Return intrinsics (B, 3, 3) with which points (B, P, 3) about the optical axis fill an image."""
    reach = (seen[..., :2] / seen[..., 2:].clamp(min=1e-3)).abs().amax(dim=(1, 2))
    intrinsics = torch.zeros(len(seen), 3, 3, dtype=seen.dtype, device=seen.device)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = size / (2.0 * padding * reach)
    intrinsics[:, :2, 2] = (size - 1) / 2.0
    intrinsics[:, 2, 2] = 1.0
    return intrinsics


def rotation_between(source: Tensor, target: Tensor) -> Tensor:
    """Return the smallest rotations (B, 3, 3) that turn directions (B, 3) into others; none may be opposite."""
    a, b = F.normalize(source, dim=1), F.normalize(target, dim=1)
    axis = torch.linalg.cross(a, b)
    sine = axis.norm(dim=1, keepdim=True)
    angle = torch.atan2(sine, (a * b).sum(dim=1, keepdim=True))
    return matrix_from_axis_angle(axis * torch.where(sine > 1e-9, angle / sine.clamp(min=1e-9), torch.ones_like(sine)))


@dataclass(frozen=True)
class PoseUpdate:
    """Changes of B poses in the images of their virtual cameras; zeros change nothing."""

    shift: Tensor  # (B, 2) of the object's centre, as a share of the image's side
    log_distance: Tensor  # (B,) logarithm of the new distance over the old
    axis_angle: Tensor  # (B, 3) radians, in the axes of a camera that looks at the object


def updated_poses(camera_from_object: Tensor, centre: Tensor, cameras: VirtualCameras, update: PoseUpdate) -> Tensor:
    """Apply updates to poses (B, 4, 4) of objects with centres (B, 3).

    The object keeps the side that it shows when it is moved: its rotation is relative to the ray through its centre.
    """
    old = cameras.poses(camera_from_object)
    at = transform_points(centre[:, None], old)[:, 0]
    focal = cameras.intrinsics[:, :1, 0]
    ray = torch.cat([at[:, :2] / at[:, 2:] + update.shift * (cameras.size / focal), torch.ones_like(focal)], dim=1)
    moved = ray * (at[:, 2] * torch.exp(update.log_distance))[:, None]
    rotation = rotation_between(at, moved) @ matrix_from_axis_angle(update.axis_angle) @ old[:, :3, :3]
    back = cameras.virtual_from_camera.transpose(1, 2)
    new = torch.zeros_like(camera_from_object)
    new[:, :3, :3] = back @ rotation
    new[:, :3, 3] = (back @ (moved[:, :, None] - rotation @ centre[:, :, None]))[:, :, 0]
    new[:, 3, 3] = 1.0
    return new


def update_between(start: Tensor, end: Tensor, centre: Tensor, cameras: VirtualCameras) -> PoseUpdate:
    """Return the updates that lead from poses (B, 4, 4) to others; the inverse of `updated_poses`.

    Args:
        start: poses that the cameras look at.
        end: poses to reach.
        centre: of the objects (B, 3).
        cameras: of the starts.
    """
    old, new = cameras.poses(start), cameras.poses(end)
    before, after = (transform_points(centre[:, None], item)[:, 0] for item in (old, new))
    shift = (after[:, :2] / after[:, 2:] - before[:, :2] / before[:, 2:]) * cameras.intrinsics[:, :1, 0] / cameras.size
    turn = rotation_between(after, before) @ new[:, :3, :3] @ old[:, :3, :3].transpose(1, 2)
    return PoseUpdate(shift, torch.log(after[:, 2] / before[:, 2]), axis_angle_from_matrix(turn))


def update_jacobian(camera_from_object: Tensor, centre: Tensor, cameras: VirtualCameras) -> Tensor:
    """Return how poses change by small updates.

    Args:
        camera_from_object: poses (B, 4, 4), metres.
        centre: of the objects in their own frames (B, 3), metres.
        cameras: that look at them.

    Returns:
        Derivatives (B, 6, 6) of x y z rx ry rz, in the real camera's axes about the objects' origins, by the updates'
        shift, logarithm of the distance and axis-angle vector.
    """
    old = cameras.poses(camera_from_object)
    at = transform_points(centre[:, None], old)[:, 0]
    move = torch.zeros(len(old), 3, 6, dtype=old.dtype, device=old.device)  # of the centre
    move[:, 0, 0] = move[:, 1, 1] = at[:, 2] * cameras.size / cameras.intrinsics[:, 0, 0]
    move[:, :, 2] = at
    turn = _skew(at) @ move / at.square().sum(dim=1)[:, None, None]  # the object goes on showing the same side
    turn[:, :, 3:] += torch.eye(3, dtype=old.dtype, device=old.device)
    origin = move + _skew(at - old[:, :3, 3]) @ turn
    back = cameras.virtual_from_camera.transpose(1, 2)
    return torch.cat([back @ origin, back @ turn], dim=1)


def _skew(vectors: Tensor) -> Tensor:
    """Return matrices (B, 3, 3) that vectors (B, 3) multiply others with from the left in a cross product."""
    x, y, z = vectors.unbind(1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).unflatten(1, (3, 3))
