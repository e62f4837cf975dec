"""Move poses until neural meshes lie on what looks like them: many poses at once, a few Gauss-Newton steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pose_estimation_ros.geometry.rotations import matrix_from_axis_angle
from pose_estimation_ros.geometry.transfer import constant
from pose_estimation_ros.methods.nemo.network import NemoNet
from pose_estimation_ros.methods.nemo.settings import FitSettings
from pose_estimation_ros.methods.nemo.similarity import Projected, Similarity, centres, from_centre, project

_NEAREST = 0.05  # depth of the nearest allowed object centre, in diameters


class Term(NamedTuple):
    """Residuals of one kind in the image, linearised, for Q poses."""

    jacobian: Tensor  # (Q, N, K, 6) derivatives of N projections, or of K of their coordinates, by the poses
    miss: Tensor  # (Q, N, K) how far they are from where they should be, cells
    weight: Tensor  # (Q, N)


class Targets:
    """What Q poses of meshes are compared with.

    Args:
        network: has the meshes.
        similarity: P pairs.
        which: the pair of every pose, shape (Q,).
        boxes: of the whole objects, in cells x0 y0 x1 y1, shape (Q, 4); they say more of the distance than features do.
        inner_edges: which edges of the boxes are the object's, not the image's, shape (Q, 4).
        chosen: vertices of each mesh that are looked for, shape (M, S), see `spread`.
        settings: steps and widths.
    """

    def __init__(
        self,
        network: NemoNet,
        similarity: Similarity,
        which: Tensor,
        boxes: Tensor,
        inner_edges: Tensor,
        chosen: Tensor,
        settings: FitSettings,
    ) -> None:
        self._network, self._similarity, self._which, self._settings = network, similarity, which, settings
        self._boxes, self._inner_edges = boxes, inner_edges
        self._mesh = mesh = similarity.mesh[which]
        self._centre = centres(network)[mesh]
        self._every = network.vertices[mesh] - self._centre[:, None]
        self.length = (self._every.amax(dim=1) - self._every.amin(dim=1)).norm(dim=1)  # of the meshes (Q,)
        self._chosen = chosen[mesh]  # (Q, S)
        self._vertices = self._every.gather(1, self._chosen[..., None].expand(-1, -1, 3))
        self._camera = similarity.camera[which]
        self._outline = network.outline[mesh] - self._centre[:, None]
        self._known = network.known[mesh]
        self._each = self._known.sum(dim=1, keepdim=True) / chosen.shape[1]  # vertices one of the chosen stands for

    def terms(self, poses: Tensor, deviation: float) -> list[Term]:
        """Return what vertices, cells and the box's edges have against poses of the centres (Q, 4, 4).

        Args:
            poses: rotations, and where the centres of the meshes are.
            deviation: cells that matches may be off.
        """
        settings, which, camera, length = self._settings, self._which, self._camera, self.length
        weights = self._network.view_weights(self._mesh, from_centre(poses, self._centre)) * self._known
        weights = weights.gather(1, self._chosen)
        weights = weights**2 * self._each  # squared: the slanted ones sit at the rim, where all matches lie inside
        projected = project(self._vertices, poses, camera)
        offset, sure = preferred_offsets(self._similarity, which, self._chosen, projected.pixels, deviation, settings)
        vertices = Term(projection_jacobian(projected, camera, length), offset, weights * sure)
        rows, miss, share = matched_cells(self._similarity, which, self._every, poses, length, 2.0 * deviation)
        cells = Term(rows, miss, settings.cell_weight * share)
        total = vertices.weight.sum(dim=1) + cells.weight.sum(dim=1)
        rows, miss = box_edges(self._outline, poses, camera, length, self._boxes)
        share = settings.box_weight * total[:, None] * self._inner_edges
        return [vertices, cells, Term(rows[:, :, None], miss[:, :, None], share)]


def fit_poses(targets: Targets, poses: Tensor, settings: FitSettings) -> Tensor:
    """Move poses so that vertices come to lie on cells that look like them.

    Each step asks visible vertices where near their projections they would rather be, the mean over the cells around
    weighted by similarity, and how sure it is that they are seen at all rather than clutter; it asks the cells of which
    vertices they look most, and compares the projection with the box; then one Gauss-Newton step moves the pose
    towards all that. The steps are those of expectation-maximisation with the clutter as the outlier class.

    Args:
        targets: of Q poses.
        poses: rotations, and where the centres of the meshes are, shape (Q, 4, 4).
        settings: steps and widths.

    Returns:
        The moved poses (Q, 4, 4).
    """
    for step in range(settings.steps):
        done = step / max(1, settings.steps - 1)
        terms = targets.terms(poses, settings.first_sigma_cells ** (1.0 - done) * settings.last_sigma_cells**done)
        hessian = _hessian(terms)
        gradient = torch.stack([_pulls(item).sum(dim=1) for item in terms]).sum(dim=0)
        trace = hessian.diagonal(dim1=1, dim2=2)
        damped = hessian + torch.diag_embed(settings.damping * trace + 1e-6)
        update = torch.linalg.solve_ex(damped.double(), gradient.double()).result.float()
        poses = moved_poses(poses, update.clamp(-0.5, 0.5), targets.length)
    return poses


def pose_covariances(targets: Targets, poses: Tensor, settings: FitSettings) -> Tensor:
    """Return how exact fitted poses are, if the matches of vertices, those of cells and the edges err independently.

    Errors and weights of matches have little to do with each other, so that the inverse of the Hessian says nothing;
    how matches disagree with the pose that they lead to does (White, A heteroskedasticity-consistent covariance matrix
    estimator, Econometrica 1980).

    Args:
        targets: of Q poses.
        poses: fitted, of the centres of the meshes (Q, 4, 4).
        settings: those of the fit.

    Returns:
        Covariances (Q, 6, 6) of x y z rx ry rz in camera axes about the centres, metres and radians; zeros where
        nothing speaks for the pose.
    """
    terms = targets.terms(poses, settings.last_sigma_cells)
    hessian = _hessian(terms).double()
    trace = hessian.diagonal(dim1=1, dim2=2).sum(dim=1)
    ridge = (1e-9 * trace + 1e-12)[:, None, None] * torch.eye(6, dtype=hessian.dtype, device=hessian.device)
    pulls = torch.cat([_pulls(item) for item in terms], dim=1).double()
    spread_of_pulls = pulls.transpose(1, 2) @ pulls
    inverse = torch.linalg.inv_ex(hessian + ridge).inverse
    covariance = inverse @ spread_of_pulls @ inverse
    units = torch.cat([targets.length[:, None].expand(-1, 3), torch.ones_like(poses[:, :3, 3])], dim=1).double()
    return covariance * units[:, :, None] * units[:, None]


def _weighted(term: Term) -> Tensor:
    return term.weight[..., None, None] * term.jacobian


def _pulls(term: Term) -> Tensor:
    """Return where each residual would have the poses go (Q, N, 6)."""
    return torch.einsum("qnai,qna->qni", _weighted(term), term.miss)


def _hessian(terms: Sequence[Term]) -> Tensor:
    """Return the matrices (Q, 6, 6) of Gauss and Newton."""
    return torch.stack([torch.einsum("qnai,qnaj->qij", _weighted(item), item.jacobian) for item in terms]).sum(dim=0)


def preferred_offsets(
    similarity: Similarity, which: Tensor, chosen: Tensor, pixels: Tensor, deviation: float, settings: FitSettings
) -> tuple[Tensor, Tensor]:
    """Return how far from their projections (Q, V, 2), in cells, vertices (Q, V) fit best, and how sure that is.

    Returns:
        Offsets (Q, V, 2), and the odds (Q, V) that the vertex is seen in the cells around rather than clutter.
    """
    height, width = similarity.clutter.shape[1:]
    pixels = pixels.nan_to_num(-1e4).clamp(-1e4, 1e4)
    line = torch.arange(-settings.search_radius_cells, settings.search_radius_cells + 1, device=pixels.device)
    window = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(-1, 2)  # (W, 2)
    cells = pixels.round()[:, :, None] + window  # (Q, V, W, 2)
    inside = ((cells >= 0) & (cells < constant((width, height), cells))).all(dim=-1)
    index = (cells[..., 1].clamp(0, height - 1) * width + cells[..., 0].clamp(0, width - 1)).long()
    flat = similarity.vertices.flatten(2)
    likely = flat[which[:, None, None], chosen[..., None], index]
    clutter = similarity.clutter.flatten(1)[which[:, None, None], index]
    away = cells - pixels[:, :, None]
    near = -0.5 * (away / deviation).square().sum(dim=-1)
    odds = (likely / settings.temperature + near).masked_fill(~inside, -1e4)
    against = (clutter / settings.temperature + near).masked_fill(~inside, -1e4)
    share = torch.softmax(odds, dim=2)
    offset = (share[..., None] * away).sum(dim=2)
    sure = torch.sigmoid(torch.logsumexp(odds, dim=2) - torch.logsumexp(against, dim=2))
    return offset, sure * inside.any(dim=2)


def matched_cells(
    similarity: Similarity, which: Tensor, vertices: Tensor, poses: Tensor, length: Tensor, deviation: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compare every cell with the projection of the vertex that is most like it in the whole mesh.

    What vertices prefer among the cells near them pulls the object's rim inwards, where all that looks like it lies;
    what cells prefer in the whole mesh does not.

    Args:
        similarity: P pairs.
        which: the pair of every pose, shape (Q,).
        vertices: about the centres (Q, V, 3).
        poses: of the centres (Q, 4, 4).
        length: of the meshes (Q,).
        deviation: cells; matches farther off count for less, those much farther off for nothing.

    Returns:
        Derivatives (Q, C, 2, 6) of the projections, what they miss (Q, C, 2), and how much each counts (Q, C).
    """
    camera = similarity.camera[which]
    points = vertices.gather(1, similarity.best[which][..., None].expand(-1, -1, 3))
    projected = project(points, poses, camera)
    height, width = similarity.clutter.shape[1:]
    number = torch.arange(height * width, device=poses.device)
    miss = torch.stack([number % width, number // width], dim=1) - projected.pixels
    robust = (1.0 + (miss / deviation).square().sum(dim=2)).square().reciprocal()
    return projection_jacobian(projected, camera, length), miss, robust * similarity.gain[which]


def box_edges(outline: Tensor, poses: Tensor, camera: Tensor, length: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Compare the edges of the objects' boxes with those of their projections.

    Args:
        outline: points (Q, E, 3) about the centres.
        poses: of the centres (Q, 4, 4).
        camera: intrinsics (Q, 3, 3).
        length: of the meshes (Q,).
        boxes: wanted x0 y0 x1 y1, shape (Q, 4).

    Returns:
        Derivatives (Q, 4, 6) of the edges as in `projection_jacobian`, and how much is missing (Q, 4).
    """
    projected = project(outline, poses, camera)
    pixels = projected.pixels
    extreme = torch.cat([pixels.argmin(dim=1), pixels.argmax(dim=1)], dim=1)  # (Q, 4)
    jacobian = projection_jacobian(projected, camera, length)
    row = torch.arange(len(poses), device=poses.device)[:, None]
    axis = torch.arange(4, device=poses.device) % 2
    return jacobian[row, extreme, axis], boxes - pixels[row, extreme, axis]


def projection_jacobian(projected: Projected, camera: Tensor, length: Tensor) -> Tensor:
    """Return derivatives (Q, V, 2, 6) of projections by translation, in lengths of the meshes, and by rotation.

    The rotation is about the centre of the mesh, in camera axes.
    """
    rotated, at, depth, _ = projected
    focal = camera.diagonal(dim1=1, dim2=2)[:, None, :2]
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
    rotation = matrix_from_axis_angle(update[:, 3:]) @ poses[:, :3, :3]
    place = poses[:, :3, 3] + update[:, :3] * length[:, None]
    depth = torch.maximum(place[:, 2], _NEAREST * length)
    place = torch.cat([place[:, :2], depth[:, None]], dim=1)
    return torch.cat([torch.cat([rotation, place[:, :, None]], dim=2), poses[:, 3:].expand(len(update), 1, 4)], dim=1)
