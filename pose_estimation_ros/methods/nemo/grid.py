"""Poses to start from: the best of a grid of rotations, and the one that explains the best vertex of every cell."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.geometry.pnp import solve_pnp
from pose_estimation_ros.geometry.transfer import constant, to_device, to_host
from pose_estimation_ros.geometry.virtual_camera import rotation_between
from pose_estimation_ros.methods.nemo.network import NemoNet
from pose_estimation_ros.methods.nemo.similarity import Similarity, centres, read_cells
from pose_estimation_ros.objects.bundle import PosePrior
from pose_estimation_ros.objects.rotation_grid import rotation_grid


class RotationGrid:
    """A grid of rotations, with what of each mesh is seen and how large it appears.

    Args:
        network: has the meshes.
        prior: from where objects are seen.
        directions: about how many viewing directions over the whole sphere.
        roll_step_deg: between rotations about the viewing direction.
        subset: vertices per mesh that scores are made of.
    """

    def __init__(
        self, network: NemoNet, prior: PosePrior, directions: int = 300, roll_step_deg: float = 30.0, subset: int = 192
    ) -> None:
        device = network.bank.device
        self.rotation = rotation_grid(prior, directions, roll_step_deg).to(device)  # (H, 3, 3), camera looks at it
        turned = self.rotation.flatten(1) @ self.rotation.flatten(1).T
        self.similar = turned > 1.0 + 2.0 * math.cos(math.radians(25.0))  # (H, H), the trace of the relative rotation
        known = network.known
        self.subset = spread(known, subset)  # (M, S)
        meshes, count = len(network.owner), len(self.rotation)
        centre = centres(network)[:, None]
        flat = torch.einsum("hij,mvj->mhvi", self.rotation[:, :2], network.outline - centre)
        low, high = flat.amin(dim=2), flat.amax(dim=2)
        self.centre, self.extent = (low + high) / 2.0, high - low  # (M, H, 2) metres
        chosen = (network.vertices - centre).gather(1, self.subset[..., None].expand(-1, -1, 3))
        self.points = torch.einsum("hij,mvj->mhvi", self.rotation, chosen)  # (M, H, S, 3)
        far = torch.zeros(meshes, count, 4, 4, device=device)
        far[..., :3, :3], far[..., 3, 3] = self.rotation, 1.0
        far[..., :3, 3] = -torch.einsum("hij,mj->mhi", self.rotation, centres(network))
        far[..., 2, 3] += 50.0 * network.vertices.abs().amax()
        weights = []
        for mesh in range(meshes):
            number = torch.full((count,), mesh, device=device)
            weights.append(network.view_weights(number, far[mesh]).gather(1, self.subset[mesh].expand(count, -1)))
        self.weights = torch.stack(weights) * known.gather(1, self.subset)[:, None]  # (M, H, S)


def starting_poses(grid: RotationGrid, similarity: Similarity, boxes: Tensor, count: int) -> Tensor:
    """Score the grid and return the best poses that differ from each other.

    Args:
        grid: the rotations.
        similarity: P pairs.
        boxes: of the whole objects, in cells of the maps x0 y0 x1 y1, shape (P, 4).
        count: poses wanted per pair.

    Returns:
        Poses of the meshes' centres (P, count, 4, 4): rotation, and where the centre is. The distance follows from the
        size of the box, for every rotation anew.
    """
    mesh, camera = similarity.mesh, similarity.camera
    focal = camera[:, 0, 0]
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2.0, (boxes[:, 2:] - boxes[:, :2]).clamp(min=0.1)
    ray = torch.cat([(centre - camera[:, :2, 2]) / focal[:, None], torch.ones_like(focal)[:, None]], dim=1)
    turn = rotation_between(constant((0.0, 0.0, 1.0), ray).expand_as(ray), ray)  # (P, 3, 3)
    # A camera turned towards the object sees it a little larger than one that has it in a corner.
    slant = ray.norm(dim=1)
    distance = torch.exp(
        torch.log(focal[:, None, None] * slant[:, None, None] * grid.extent[mesh] / size[:, None]).mean(2)
    )
    aside = torch.cat([-grid.centre[mesh], distance[..., None]], dim=2)
    place = torch.einsum("pij,phj->phi", turn, aside)  # (P, H, 3)
    points = torch.einsum("pij,phsj->phsi", turn, grid.points[mesh]) + place[:, :, None]
    pixels = points[..., :2] / points[..., 2:] * focal[:, None, None, None] + camera[:, None, None, :2, 2]
    subset = grid.subset[mesh]
    chosen = (
        similarity.vertices.flatten(2).gather(1, subset[:, :, None].expand(-1, -1, similarity.vertices[0, 0].numel()))
        - similarity.clutter.flatten(1)[:, None]
    )
    gain = read_cells(chosen.unflatten(2, similarity.clutter.shape[1:]).clamp(min=0.0), pixels.transpose(1, 2))
    weights = grid.weights[mesh].transpose(1, 2)  # (P, S, H)
    score = (gain * weights).sum(dim=1) / place[..., 2] ** 2  # (P, H), as many cells as are explained
    picks = []
    for _ in range(count):
        best = score.argmax(dim=1)
        picks.append(best)
        score = score.masked_fill(grid.similar[best], -1.0)
    pick = torch.stack(picks, dim=1)  # (P, count)
    poses = torch.zeros(*pick.shape, 4, 4, device=pick.device)
    poses[..., :3, :3] = turn[:, None] @ grid.rotation[pick]
    poses[..., :3, 3] = place.gather(1, pick[..., None].expand(-1, -1, 3))
    poses[..., 3, 3] = 1.0
    return poses


def matched_poses(network: NemoNet, similarity: Similarity, otherwise: Tensor, seed: int) -> Tensor:
    """Solve PnP between every cell that shows the object and the vertex most like it.

    Args:
        network: has the meshes.
        similarity: P pairs.
        otherwise: poses for pairs whose matches have no pose, shape (P, 4, 4).
        seed: same seed, same poses.

    Returns:
        Poses of the meshes' centres (P, 4, 4).
    """
    centre, mesh, width = centres(network), similarity.mesh, similarity.clutter.shape[2]
    gains, nearest, vertices, cameras = to_host(
        similarity.gain, similarity.best, network.vertices[mesh] - centre[mesh][:, None], similarity.camera
    )
    found, solved = np.zeros((len(gains), 4, 4), dtype=np.float32), np.zeros(len(gains), dtype=bool)
    for pair, gain in enumerate(gains):
        rows = np.nonzero(gain > 0.0)[0]
        if len(rows) < 6:
            continue
        result = solve_pnp(
            np.column_stack([rows % width, rows // width]).astype(np.float64),
            vertices[pair, nearest[pair, rows]].astype(np.float64),
            cameras[pair].astype(np.float64),
            weights=gain[rows].astype(np.float64),
            threshold_px=1.0,
            seed=seed,
        )
        if result is not None and result.camera_from_object[2, 3] > 0.0:
            found[pair], solved[pair] = result.camera_from_object, True
    device = otherwise.device
    return torch.where(to_device(solved, device)[:, None, None], to_device(found, device), otherwise)


def spread(known: Tensor, count: int) -> Tensor:
    """Return the numbers (M, count) of about evenly chosen entries of rows (M, V) that are set.

    They are repeated where there are too few. Not for every frame: the host waits to know which are set.
    """
    chosen = []
    for row in known:
        rows = row.nonzero()[:, 0]
        if len(rows) == 0:
            rows = torch.zeros(1, dtype=torch.int64, device=known.device)
        chosen.append(rows[torch.linspace(0, len(rows) - 1, count, device=known.device).round().long()])
    return torch.stack(chosen)
