"""Fit neural meshes to feature maps without rasterising: score many poses at once, then move the best ones.

How well a vertex fits each cell of a crop is computed once, as one matrix product; every pose after that only reads the
entries at its projected vertices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.geometry.looking_camera import look_at, rotation_between
from pose_estimation_ros.geometry.pnp import solve_pnp
from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.networks.nemo_net import NemoNet
from pose_estimation_ros.objects.bundle import PosePrior
from pose_estimation_ros.rendering.neural_mesh_table import even_directions

_NEAREST = 0.05  # depth of the nearest allowed object centre, in diameters


@dataclass(frozen=True)
class Likeness:
    """How well the vertices of meshes fit the cells of crops, for P pairs of a crop and a mesh."""

    crop: Tensor  # (P,) number of the crop
    mesh: Tensor  # (P,) number of the mesh
    vertices: Tensor  # (P, V, h, w) cosine of the vertex' feature and the cell's
    clutter: Tensor  # (P, h, w) cosine of the clutter's feature and the cell's
    camera: Tensor  # (P, 3, 3) intrinsics of the maps: one unit is one cell


def likeness_of(network: NemoNet, features: Tensor, camera: Tensor, crop: Tensor, mesh: Tensor) -> Likeness:
    """Compare crops with meshes.

    Args:
        network: has the vertices' features.
        features: of the crops (B, C, h, w), unit.
        camera: intrinsics of the crops (B, 3, 3), pixels.
        crop: which crop, shape (P,).
        mesh: which mesh, shape (P,).
    """
    height, width = features.shape[2:]
    bank = F.normalize(network.bank[mesh].float(), dim=2)
    flat = features.flatten(2)
    vertices = torch.bmm(bank, flat[crop]).unflatten(2, (height, width))
    clutter = torch.einsum("c,bcn->bn", network.background, flat).unflatten(1, (height, width))[crop]
    return Likeness(crop, mesh, vertices, clutter, cell_intrinsics(camera[crop], network.stride))


def cell_intrinsics(camera: Tensor, stride: int) -> Tensor:
    """Return the intrinsics of maps with one cell for so many pixels; centres of cells at integers."""
    scaled = camera.clone()
    scaled[:, :2, 2] = (camera[:, :2, 2] + 0.5) / stride - 0.5
    scaled[:, 0, 0], scaled[:, 1, 1] = camera[:, 0, 0] / stride, camera[:, 1, 1] / stride
    scaled[:, 0, 1] = camera[:, 0, 1] / stride
    return scaled


class Orientations:
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
        known = (network.is_real > 0) & (network.seen > 0)
        self.subset = torch.stack([_spread(row, subset) for row in known])  # (M, S)
        meshes, count = len(network.owner), len(self.rotation)
        vertices = network.vertices - middles(network)[:, None]
        seen = torch.einsum("hij,mvj->mhvi", self.rotation, vertices)
        real = (network.is_real > 0)[:, None, :, None]
        flat = seen[..., :2]
        low = flat.masked_fill(~real, 1e9).amin(dim=2)
        high = flat.masked_fill(~real, -1e9).amax(dim=2)
        self.middle, self.extent = (low + high) / 2.0, high - low  # (M, H, 2) metres
        chosen = self.subset[:, None, :, None].expand(-1, count, -1, 3)
        self.points = seen.gather(2, chosen)  # (M, H, S, 3)
        far = torch.zeros(meshes, count, 4, 4, device=device)
        far[..., :3, :3], far[..., 3, 3] = self.rotation, 1.0
        far[..., :3, 3] = -torch.einsum("hij,mj->mhi", self.rotation, middles(network))
        far[..., 2, 3] += 50.0 * network.vertices.abs().amax()
        weights = []
        for mesh in range(meshes):
            number = torch.full((count,), mesh, device=device)
            weights.append(network.view_weights(number, far[mesh]).gather(1, self.subset[mesh].expand(count, -1)))
        self.weights = torch.stack(weights) * known.gather(1, self.subset)[:, None]  # (M, H, S)


def rotation_grid(prior: PosePrior, directions: int, roll_step_deg: float) -> Tensor:
    """Return rotations camera_from_object (H, 3, 3) of cameras that look at the object, spread over the prior."""
    toward = even_directions(directions)
    slack = math.degrees(math.sqrt(4.0 * math.pi / directions)) / 2.0
    elevation = torch.rad2deg(torch.asin(toward[:, 2].clamp(-1.0, 1.0)))
    inside = (elevation >= prior.elevation_deg[0] - slack) & (elevation <= prior.elevation_deg[1] + slack)
    upright = torch.from_numpy(look_at(np.asarray(toward[inside], dtype=np.float64))).float()
    low, high = prior.roll_deg
    if high - low >= 360.0 - roll_step_deg:
        rolls = torch.arange(max(1, round(360.0 / roll_step_deg))) * roll_step_deg
    else:
        rolls = torch.linspace(low, high, max(2, round((high - low) / roll_step_deg) + 1))
    axis = torch.zeros(len(rolls), 3)
    axis[:, 2] = torch.deg2rad(rolls)
    return (matrix_from_axis_angle(axis)[:, None] @ upright[None]).flatten(0, 1)


def middles(network: NemoNet) -> Tensor:
    """Return the middles (M, 3) of the meshes' boxes: poses turn about them."""
    return (network.vertices.amin(dim=1) + network.vertices.amax(dim=1)) / 2.0


def starting_poses(grid: Orientations, likeness: Likeness, boxes: Tensor, count: int) -> Tensor:
    """Score the grid and return the best poses that differ from each other.

    Args:
        grid: the rotations.
        likeness: P pairs.
        boxes: of the whole objects, in cells of the maps x0 y0 x1 y1, shape (P, 4).
        count: poses wanted per pair.

    Returns:
        Poses of the meshes' middles (P, count, 4, 4): rotation, and where the middle is. The distance follows from the
        size of the box, for every rotation anew.
    """
    mesh, camera = likeness.mesh, likeness.camera
    focal = camera[:, 0, 0]
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2.0, (boxes[:, 2:] - boxes[:, :2]).clamp(min=0.1)
    ray = torch.cat([(centre - camera[:, :2, 2]) / focal[:, None], torch.ones_like(focal)[:, None]], dim=1)
    turn = rotation_between(ray.new_tensor([0.0, 0.0, 1.0]).expand_as(ray), ray)  # (P, 3, 3)
    # A camera turned towards the object sees it a little larger than one that has it in a corner.
    slant = ray.norm(dim=1)
    distance = torch.exp(torch.log(focal[:, None, None] * slant[:, None, None] * grid.extent[mesh] / size[:, None]).mean(2))
    aside = torch.cat([-grid.middle[mesh], distance[..., None]], dim=2)
    place = torch.einsum("pij,phj->phi", turn, aside)  # (P, H, 3)
    points = torch.einsum("pij,phsj->phsi", turn, grid.points[mesh]) + place[:, :, None]
    pixels = points[..., :2] / points[..., 2:] * focal[:, None, None, None] + camera[:, None, None, :2, 2]
    subset = grid.subset[mesh]
    chosen = likeness.vertices.flatten(2).gather(
        1, subset[:, :, None].expand(-1, -1, likeness.vertices[0, 0].numel())
    ) - likeness.clutter.flatten(1)[:, None]
    gain = read_cells(chosen.unflatten(2, likeness.clutter.shape[1:]).clamp(min=0.0), pixels.transpose(1, 2))
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


def matched_poses(network: NemoNet, likeness: Likeness, otherwise: Tensor, seed: int) -> Tensor:
    """Solve PnP between every cell that shows the object and the vertex most like it.

    Args:
        network: has the meshes.
        likeness: P pairs.
        otherwise: poses for pairs whose matches have no pose, shape (P, 4, 4).
        seed: same seed, same poses.

    Returns:
        Poses of the meshes' middles (P, 4, 4).
    """
    known = (network.is_real > 0) & (network.seen > 0)
    masked = likeness.vertices.flatten(2).masked_fill(~known[likeness.mesh][:, :, None], -1.0)
    best, vertex = masked.max(dim=1)  # (P, cells)
    gain = (best - likeness.clutter.flatten(1)).cpu().numpy()
    middle = middles(network)
    poses = otherwise.clone()
    width = likeness.clutter.shape[2]
    for pair in range(len(poses)):
        rows = np.nonzero(gain[pair] > 0.0)[0]
        mesh = likeness.mesh[pair]
        points = (network.vertices[mesh] - middle[mesh])[vertex[pair, torch.from_numpy(rows).to(vertex.device)]]
        if len(rows) < 6:
            continue
        result = solve_pnp(
            np.column_stack([rows % width, rows // width]).astype(np.float64),
            points.double().cpu().numpy(),
            likeness.camera[pair].double().cpu().numpy(),
            weights=gain[pair, rows].astype(np.float64),
            threshold_px=1.0,
            seed=seed,
        )
        if result is not None and result.camera_from_object[2, 3] > 0.0:
            poses[pair] = torch.from_numpy(result.camera_from_object).to(poses)
    return poses


def read_cells(maps: Tensor, places: Tensor) -> Tensor:
    """Read one map per vertex at many places, bilinearly; zeros outside.

    Args:
        maps: (P, S, h, w).
        places: cells x y, shape (P, S, N, 2).

    Returns:
        (P, S, N).
    """
    height, width = maps.shape[2:]
    grid = (2.0 * places + 1.0) / places.new_tensor([width, height]) - 1.0
    flat = F.grid_sample(
        maps.flatten(0, 1)[:, None], grid.flatten(0, 1)[:, None], padding_mode="zeros", align_corners=False
    )
    return flat[:, 0, 0].unflatten(0, maps.shape[:2])


@dataclass(frozen=True)
class FitSettings:
    """How poses are moved."""

    steps: int = 10
    reach: int = 2  # cells around a projected vertex in which its match is looked for
    temperature: float = 0.07  # of the odds between cells
    deviation: tuple[float, float] = (2.0, 0.8)  # cells that the match may be off, first and last step
    damping: float = 1e-3


def fit_poses(
    network: NemoNet, likeness: Likeness, which: Tensor, poses: Tensor, settings: FitSettings
) -> tuple[Tensor, Tensor]:
    """Move poses so that vertices come to lie on cells that look like them.

    Each step asks every visible vertex where near its projection it would rather be, the mean over the cells around weighted by
    likeness, and how sure it is that it is seen at all rather than clutter; then one Gauss-Newton step moves the pose
    towards that. The steps are those of expectation-maximisation with the clutter as the outlier class.

    Args:
        network: has the meshes.
        likeness: P pairs.
        which: the pair of every pose, shape (Q,).
        poses: rotations, and where the middles of the meshes are, shape (Q, 4, 4).
        settings: steps and widths.

    Returns:
        The moved poses (Q, 4, 4) and the normal matrices (Q, 6, 6) of the last step, in cells: for translation in
        diameters and rotation in radians about the middle.
    """
    mesh = likeness.mesh[which]
    middle = middles(network)[mesh]
    vertices = network.vertices[mesh] - middle[:, None]
    length = (vertices.amax(dim=1) - vertices.amin(dim=1)).norm(dim=1)
    camera = likeness.camera[which]
    known = ((network.is_real > 0) & (network.seen > 0))[mesh]
    hessian = torch.zeros(len(poses), 6, 6, device=poses.device)
    for step in range(settings.steps):
        done = step / max(1, settings.steps - 1)
        deviation = settings.deviation[0] ** (1.0 - done) * settings.deviation[1] ** done
        weights = network.view_weights(mesh, from_middle(poses, middle)) * known
        rotated = vertices @ poses[:, :3, :3].transpose(1, 2)
        at = rotated + poses[:, None, :3, 3]
        depth = at[..., 2].clamp(min=1e-4)
        pixels = at[..., :2] / depth[..., None] * camera[:, None, [0, 1], [0, 1]] + camera[:, None, :2, 2]
        offset, sure = preferred_offsets(likeness, which, pixels, deviation, settings)
        jacobian = projection_jacobian(rotated, at, depth, camera, length)
        weighted = (weights * sure)[..., None, None] * jacobian
        hessian = torch.einsum("qvai,qvaj->qij", weighted, jacobian)
        gradient = torch.einsum("qvai,qva->qi", weighted, offset)
        trace = hessian.diagonal(dim1=1, dim2=2)
        damped = hessian + torch.diag_embed(settings.damping * trace + 1e-6)
        update = torch.linalg.solve(damped.double(), gradient.double()).float()
        poses = moved_poses(poses, update.clamp(-0.5, 0.5), length)
    return poses, hessian


def preferred_offsets(
    likeness: Likeness, which: Tensor, pixels: Tensor, deviation: float, settings: FitSettings
) -> tuple[Tensor, Tensor]:
    """Return how far from where they are projected to (Q, V, 2), in cells, vertices fit best, and how sure that is.

    Returns:
        Offsets (Q, V, 2), and the odds (Q, V) that the vertex is seen in the cells around rather than clutter.
    """
    height, width = likeness.clutter.shape[1:]
    pixels = pixels.nan_to_num(-1e4).clamp(-1e4, 1e4)
    line = torch.arange(-settings.reach, settings.reach + 1, device=pixels.device)
    window = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(-1, 2)  # (W, 2)
    cells = pixels.round()[:, :, None] + window  # (Q, V, W, 2)
    inside = ((cells >= 0) & (cells < cells.new_tensor([width, height]))).all(dim=-1)
    index = (cells[..., 1].clamp(0, height - 1) * width + cells[..., 0].clamp(0, width - 1)).long()
    vertex = torch.arange(pixels.shape[1], device=pixels.device)
    flat = likeness.vertices.flatten(2)
    likely = flat[which[:, None, None], vertex[None, :, None], index]
    clutter = likeness.clutter.flatten(1)[which[:, None, None], index]
    away = cells - pixels[:, :, None]
    near = -0.5 * (away / deviation).square().sum(dim=-1)
    odds = (likely / settings.temperature + near).masked_fill(~inside, -1e4)
    against = (clutter / settings.temperature + near).masked_fill(~inside, -1e4)
    share = torch.softmax(odds, dim=2)
    offset = (share[..., None] * away).sum(dim=2)
    sure = torch.sigmoid(torch.logsumexp(odds, dim=2) - torch.logsumexp(against, dim=2))
    return offset, sure * inside.any(dim=2)


def projection_jacobian(rotated: Tensor, at: Tensor, depth: Tensor, camera: Tensor, length: Tensor) -> Tensor:
    """Return derivatives (Q, V, 2, 6) of projections by translation, in lengths of the meshes, and by rotation.

    The rotation is about the middle of the mesh, in camera axes; `rotated` and `at` (Q, V, 3) are vertices about the
    middle and in the camera.
    """
    focal = camera[:, None, [0, 1], [0, 1]]
    across = focal / depth[..., None]  # (Q, V, 2)
    along = -across * at[..., :2] / depth[..., None]
    zero = torch.zeros_like(depth)
    by_point = torch.stack(
        [
            torch.stack([across[..., 0], zero, along[..., 0]], dim=-1),
            torch.stack([zero, across[..., 1], along[..., 1]], dim=-1),
        ],
        dim=-2,
    )  # (Q, V, 2, 3)
    # d(exp(w) q)/dw = -[q]x: the rows by rotation are q x (rows by translation).
    by_turn = torch.linalg.cross(rotated[:, :, None].expand_as(by_point), by_point)
    return torch.cat([by_point * length[:, None, None, None], by_turn], dim=-1)


def moved_poses(poses: Tensor, update: Tensor, length: Tensor) -> Tensor:
    """Apply updates (Q, 6): translations in lengths (Q,) of the meshes and axis-angle vectors in camera axes."""
    moved = poses.clone()
    moved[:, :3, :3] = matrix_from_axis_angle(update[:, 3:]) @ poses[:, :3, :3]
    moved[:, :3, 3] = poses[:, :3, 3] + update[:, :3] * length[:, None]
    moved[:, 2, 3] = torch.maximum(moved[:, 2, 3], _NEAREST * length)
    return moved


def from_middle(poses: Tensor, middle: Tensor) -> Tensor:
    """Turn poses of meshes' middles (Q, 4, 4) into poses of their origins."""
    whole = poses.clone()
    whole[:, :3, 3] = poses[:, :3, 3] - torch.einsum("qij,qj->qi", poses[:, :3, :3], middle)
    return whole


def to_middle(poses: Tensor, middle: Tensor) -> Tensor:
    """Turn poses of meshes' origins (Q, 4, 4) into poses of their middles."""
    return from_middle(poses, -middle)


@dataclass(frozen=True)
class FitScores:
    """What poses explain."""

    gain: Tensor  # (Q,) cells by which the object explains the picture better than clutter does
    share: Tensor  # (Q,) of the visible surface that is explained by the object


def score_poses(network: NemoNet, likeness: Likeness, which: Tensor, poses: Tensor, occlusion: bool = True) -> FitScores:
    """Score poses of meshes' middles (Q, 4, 4) of pairs (Q,), reading likeness at the projected vertices.

    Args:
        network: has the meshes.
        likeness: P pairs.
        which: shape (Q,).
        poses: shape (Q, 4, 4).
        occlusion: decide for every vertex between object and clutter; otherwise all count as they are.
    """
    mesh = likeness.mesh[which]
    middle, camera = middles(network)[mesh], likeness.camera[which]
    known = ((network.is_real > 0) & (network.seen > 0))[mesh]
    weights = network.view_weights(mesh, from_middle(poses, middle)) * known
    at = (network.vertices[mesh] - middle[:, None]) @ poses[:, :3, :3].transpose(1, 2) + poses[:, None, :3, 3]
    depth = at[..., 2].clamp(min=1e-4)
    pixels = at[..., :2] / depth[..., None] * camera[:, None, [0, 1], [0, 1]] + camera[:, None, :2, 2]
    gains, shares = [], []
    for row in range(len(which)):  # reads maps of another pair in every row
        pair = int(which[row])
        difference = likeness.vertices[pair] - likeness.clutter[pair] if occlusion else likeness.vertices[pair]
        value = read_cells(difference[None], pixels[row][None, :, None])[0, :, 0]
        gains.append((value.clamp(min=0.0) if occlusion else value).mul(weights[row]).sum())
        shares.append(((value > 0.0) * weights[row]).sum() / weights[row].sum().clamp(min=1e-6))
    return FitScores(torch.stack(gains) / poses[:, 2, 3] ** 2, torch.stack(shares))


def _spread(known: Tensor, count: int) -> Tensor:
    """Return the numbers of about evenly chosen entries that are set, repeated where there are too few."""
    rows = known.nonzero()[:, 0]
    if len(rows) == 0:
        rows = torch.zeros(1, dtype=torch.int64, device=known.device)
    places = torch.linspace(0, len(rows) - 1, count, device=known.device).round().long()
    return rows[places]
