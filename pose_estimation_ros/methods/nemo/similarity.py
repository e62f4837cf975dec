"""How well neural meshes fit the feature maps of crops, without rasterising.

How well a vertex fits each cell of a crop is computed once, as one matrix product; every pose after that only reads the
entries at its projected vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.geometry.camera import resize_intrinsics
from pose_estimation_ros.geometry.transfer import constant
from pose_estimation_ros.methods.nemo.network import NemoNet


@dataclass(frozen=True)
class Similarity:
    """How well the vertices of meshes fit the cells of crops, for P pairs of a crop and a mesh."""

    crop: Tensor  # (P,) number of the crop
    mesh: Tensor  # (P,) number of the mesh
    vertices: Tensor  # (P, V, h, w) cosine of the vertex' feature and the cell's
    clutter: Tensor  # (P, h, w) cosine of the clutter's feature and the cell's
    camera: Tensor  # (P, 3, 3) intrinsics of the maps: one unit is one cell
    best: Tensor  # (P, h * w) the vertex most like each cell
    gain: Tensor  # (P, h * w) by how much it is more like the cell than clutter is, at least 0


def similarity_of(
    network: NemoNet, features: Tensor, camera: Tensor, crop: Tensor, mesh: Tensor, occlusion: bool = True
) -> Similarity:
    """Compare crops with meshes.

    Args:
        network: has the vertices' features.
        features: of the crops (B, C, h, w), unit.
        camera: intrinsics of the crops (B, 3, 3), pixels.
        crop: which crop, shape (P,).
        mesh: which mesh, shape (P,).
        occlusion: whether cells may show clutter instead; otherwise nothing is less likely than clutter.
    """
    height, width = features.shape[2:]
    flat = features.flatten(2)
    vertices = torch.bmm(network.features[mesh], flat[crop]).unflatten(2, (height, width))
    clutter = torch.einsum("c,bcn->bn", network.background, flat).unflatten(1, (height, width))[crop]
    if not occlusion:
        clutter = torch.full_like(clutter, -1.0)
    known = network.known[mesh]
    most, best = vertices.flatten(2).masked_fill(~known[:, :, None], -1.0).max(dim=1)
    gain = (most - clutter.flatten(1)).clamp(min=0.0)
    return Similarity(crop, mesh, vertices, clutter, cell_intrinsics(camera[crop], network.stride), best, gain)


def cell_intrinsics(camera: Tensor, stride: int) -> Tensor:
    """Return the intrinsics of maps with one cell for so many pixels; centres of cells at integers."""
    resized = resize_intrinsics(np.eye(3), 1.0 / stride, 1.0 / stride)
    return constant(tuple(resized.ravel().tolist()), camera).view(3, 3) @ camera


class Projected(NamedTuple):
    """Points of meshes in the images of cameras."""

    rotated: Tensor  # (Q, V, 3) about the centre, camera axes
    at: Tensor  # (Q, V, 3) in the camera
    depth: Tensor  # (Q, V) kept positive
    pixels: Tensor  # (Q, V, 2)


def project(points: Tensor, poses: Tensor, camera: Tensor) -> Projected:
    """Project points (Q, V, 3) about the centres of meshes, whose poses are (Q, 4, 4), with intrinsics (Q, 3, 3)."""
    rotated = points @ poses[:, :3, :3].transpose(1, 2)
    at = rotated + poses[:, None, :3, 3]
    depth = at[..., 2].clamp(min=1e-4)
    pixels = at[..., :2] / depth[..., None] * camera.diagonal(dim1=1, dim2=2)[:, None, :2] + camera[:, None, :2, 2]
    return Projected(rotated, at, depth, pixels)


def read_cells(maps: Tensor, places: Tensor) -> Tensor:
    """Read one map per vertex at many places, bilinearly; zeros outside.

    Args:
        maps: (P, S, h, w).
        places: cells x y, shape (P, S, N, 2).

    Returns:
        (P, S, N).
    """
    height, width = maps.shape[2:]
    grid = (2.0 * places + 1.0) / constant((width, height), places) - 1.0
    flat = F.grid_sample(
        maps.flatten(0, 1)[:, None], grid.flatten(0, 1)[:, None], padding_mode="zeros", align_corners=False
    )
    return flat[:, 0, 0].unflatten(0, maps.shape[:2])


@dataclass(frozen=True)
class FitScores:
    """What poses explain."""

    gain: Tensor  # (P, K) cells by which the object explains the picture better than clutter does
    share: Tensor  # (P, K) of the visible surface that is explained by the object


def score_poses(network: NemoNet, similarity: Similarity, poses: Tensor, occlusion: bool = True) -> FitScores:
    """Score K poses of meshes' centres for each of P pairs, reading similarity at the projected vertices.

    Args:
        network: has the meshes.
        similarity: P pairs.
        poses: shape (P, K, 4, 4).
        occlusion: decide for every vertex between object and clutter; otherwise all count as they are.
    """
    count, flat = poses.shape[1], poses.flatten(0, 1)
    which = torch.arange(len(flat), device=poses.device) // count
    mesh = similarity.mesh[which]
    centre, camera = centres(network)[mesh], similarity.camera[which]
    weights = network.view_weights(mesh, from_centre(flat, centre)) * network.known[mesh]
    pixels = project(network.vertices[mesh] - centre[:, None], flat, camera).pixels
    gains, shares = [], []
    for pair, (places, seen) in enumerate(zip(pixels.split(count), weights.split(count), strict=True)):
        difference = similarity.vertices[pair] - similarity.clutter[pair] if occlusion else similarity.vertices[pair]
        value = read_cells(difference[None], places.transpose(0, 1)[None])[0].T  # (K, V)
        gains.append(((value.clamp(min=0.0) if occlusion else value) * seen).sum(dim=1))
        shares.append(((value > 0.0) * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1e-6))
    return FitScores(torch.stack(gains) / poses[..., 2, 3] ** 2, torch.stack(shares))


def centres(network: NemoNet) -> Tensor:
    """Return the centres (M, 3) of the meshes' boxes: poses turn about them."""
    return (network.vertices.amin(dim=1) + network.vertices.amax(dim=1)) / 2.0


def from_centre(poses: Tensor, centre: Tensor) -> Tensor:
    """Turn poses of meshes' centres (Q, 4, 4) into poses of their origins."""
    whole = poses.clone()
    whole[:, :3, 3] = poses[:, :3, 3] - torch.einsum("qij,qj->qi", poses[:, :3, :3], centre)
    return whole
