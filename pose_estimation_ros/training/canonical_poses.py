"""One target for every picture of a symmetric object."""

from __future__ import annotations

import torch
from torch import Tensor

from pose_estimation_ros.geometry.camera import transform_points
from pose_estimation_ros.geometry.virtual_camera import rotation_between
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.object_tensors import catalog_symmetries, object_sizes


class CanonicalPoses:
    """Replaces the poses of symmetric objects by those that look the same and lie nearest to the camera's axes.

    BB8 (Rad and Lepetit, ICCV 2017) and the methods that follow it train on one fundamental domain of rotations, so
    that the same picture never has two targets.

    Args:
        catalog: the objects.
        device: of the poses.
        towards_object: take the axes of a camera that is turned to the object. A crop shows the object as that one does
            wherever it was cut, so that the border of the domain is a border between pictures, too.
    """

    def __init__(self, catalog: Catalog, device: torch.device | str = "cpu", towards_object: bool = False) -> None:
        self.transforms = catalog_symmetries(catalog).float().to(device)
        self.centre = object_sizes(catalog, device)[0] if towards_object else None

    def __call__(self, poses: Tensor, object_index: Tensor) -> Tensor:
        """Return one of the equivalents of each pose (B, 4, 4) of objects (B,)."""
        equivalent = poses[:, None] @ self.transforms[object_index]
        rotation = equivalent[:, :, :3, :3]
        if self.centre is not None:
            at = transform_points(self.centre[object_index][:, None], poses)[:, 0]
            rotation = rotation_between(at, at.new_tensor([0.0, 0.0, 1.0]).expand_as(at))[:, None] @ rotation
        nearest = rotation.diagonal(dim1=2, dim2=3).sum(dim=2).argmax(dim=1)
        return equivalent[torch.arange(len(poses), device=poses.device), nearest]
