"""Pictures of single objects for people: from where, and in what light."""

from __future__ import annotations

import numpy as np
import torch

from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.raycaster import Renders
from pose_estimation_ros.rendering.shading import Lighting, shade

_BACKGROUND = 0.25


def view_pose(mesh: Mesh, azimuth_deg: float, elevation_deg: float, roll_deg: float, distance_m: float) -> np.ndarray:
    """Return camera_from_object (4, 4) of a camera that looks at the centre of a mesh's box.

    Args:
        mesh: the mesh; z is up.
        azimuth_deg: where the camera stands, about z from x.
        elevation_deg: how high it stands above the xy plane, -90 to 90.
        roll_deg: turn of the camera about its optical axis; positive turns the image counter-clockwise.
        distance_m: from the centre of the box.
    """
    azimuth, elevation, roll = np.deg2rad([azimuth_deg, elevation_deg, roll_deg])
    # The limit of all cameras that rise towards the pole, so that right above it azimuth keeps its meaning.
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    towards = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    upright = np.stack([right, np.cross(-towards, right), -towards])
    turn = np.array([[np.cos(roll), np.sin(roll), 0.0], [-np.sin(roll), np.cos(roll), 0.0], [0.0, 0.0, 1.0]])
    pose = np.eye(4)
    pose[:3, :3] = turn @ upright
    pose[:3, 3] = [0.0, 0.0, distance_m]
    pose[:3, 3] -= pose[:3, :3] @ np.mean(mesh.bounds, axis=0)
    return pose


def shaded(images: Renders, lamp: tuple[float, float, float] = (-0.4, -0.7, -0.8)) -> torch.Tensor:
    """Light rendered surfaces with one lamp, shape (B, 3, H, W), and lay them on grey."""
    count, device = len(images.depth), images.depth.device
    light = Lighting(
        ambient=torch.full((count, 3), 0.45, device=device),
        direction=torch.nn.functional.normalize(torch.tensor([[lamp]], device=device), dim=-1).expand(count, 1, 3),
        color=torch.full((count, 1, 3), 0.65, device=device),
        specular=torch.full((count,), 0.15, device=device),
        shininess=torch.full((count,), 30.0, device=device),
    )
    mask = images.mask[:, None]
    return torch.where(mask, shade(images.colors, mask.float(), images.normals, light), _BACKGROUND).clamp(0.0, 1.0)
