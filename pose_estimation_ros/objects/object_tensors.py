"""What networks and renderers need to know of all objects of a catalog at once, as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.geometry.symmetry import symmetry_transforms
from pose_estimation_ros.objects.catalog import Catalog

SYMMETRY_STEP_RAD = np.pi / 36.0  # between the rotations that stand for a continuous symmetry


def object_sizes(catalog: Catalog, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Return the boxes' centres (O, 3) and half sizes (O, 3) and the diameters (O,), metres."""
    centre = np.stack([model.centre_m for model in catalog])
    half = np.stack([model.half_size_m for model in catalog])
    diameter = np.array([model.diameter_m for model in catalog])
    first, second, third = (torch.from_numpy(item).float().to(device) for item in (centre, half, diameter))
    return first, second, third


def catalog_symmetries(catalog: Catalog, step_rad: float = SYMMETRY_STEP_RAD) -> Tensor:
    """Return the transforms (O, N, 4, 4), float64, that leave each object as it is, filled up with the identity.

    Args:
        catalog: the objects.
        step_rad: between the rotations that stand for a continuous symmetry.
    """
    tables = []
    for model in catalog:
        continuous = [(item.axis, item.offset_m) for item in model.continuous_symmetries]
        tables.append(symmetry_transforms(model.discrete_symmetries, continuous, step_rad))
    padded = np.tile(np.eye(4), (len(tables), max(len(table) for table in tables), 1, 1))
    for index, table in enumerate(tables):
        padded[index, : len(table)] = table
    return torch.from_numpy(padded)
