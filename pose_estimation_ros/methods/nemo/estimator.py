"""NeMo: neural mesh models, fitted to the features of the image (Wang, Kortylewski and Yuille, ICLR 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.pose_covariance import about_point
from pose_estimation_ros.geometry.transfer import to_device, to_host
from pose_estimation_ros.methods.base import LoadContext, PoseHypothesis
from pose_estimation_ros.methods.covariance import published_covariance
from pose_estimation_ros.methods.nemo.fit import Targets, fit_poses, pose_covariances
from pose_estimation_ros.methods.nemo.grid import RotationGrid, matched_poses, spread, starting_poses
from pose_estimation_ros.methods.nemo.network import NemoNet
from pose_estimation_ros.methods.nemo.paper import PaperProcedure
from pose_estimation_ros.methods.nemo.rendering import render_features
from pose_estimation_ros.methods.nemo.settings import NemoSettings
from pose_estimation_ros.methods.nemo.similarity import (
    Similarity,
    cell_intrinsics,
    centres,
    from_centre,
    score_poses,
    similarity_of,
)
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle, PosePrior
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.raycaster import RayCaster

ROLE = "nemo"
_RIM_PX = 2.0  # edges of boxes so near to the rim of the image are cut off by it


@dataclass(frozen=True)
class Fits:
    """The best pose of every crop."""

    mesh: Tensor  # (N,) which mesh was fitted
    pose: Tensor  # (N, 4, 4) camera_from_object
    share: Tensor  # (N,) of the visible surface that the object explains better than clutter
    covariance: Tensor | None  # (N, 6, 6) of x y z rx ry rz in camera axes, about the centres of the meshes


class Nemo:
    """Estimate the poses of all crops of a frame together.

    Args:
        network: trained network in evaluation mode, on its device.
        crop_size: side of the crops the network was trained on.
        prior: from where objects are seen.
        settings: how poses are found.
    """

    def __init__(
        self, network: NemoNet, crop_size: int, prior: PosePrior, settings: NemoSettings | None = None
    ) -> None:
        self.network = network
        self.settings = settings or NemoSettings()
        self.crop_size = crop_size
        self.crop_padding = self.settings.crop_padding
        self.device = network.bank.device
        self._fit_vertices = spread(network.known, self.settings.fit.vertices)
        self._grid = RotationGrid(network, prior, self.settings.grid_directions, self.settings.grid_roll_step_deg)
        self._meshes_of = [
            (network.owner == index).nonzero()[:, 0].tolist() for index in range(network.embedding.num_embeddings)
        ]

    @cached_property
    def caster(self) -> RayCaster:
        """Renders the meshes; made when somebody looks, the fit does without."""
        meshes = [_as_mesh(self.network, number) for number in range(len(self.network.owner))]
        return RayCaster(meshes, device=self.device)

    @staticmethod
    def from_bundle(bundle: Bundle, device: torch.device, settings: NemoSettings | None = None) -> Nemo:
        """Load the network of a bundle, which holds its meshes as well.

        Raises:
            BundleError: if the weights are missing, damaged or do not fit the architecture.
        """
        network = bundle.load_network(ROLE, NemoNet, device)
        return Nemo(network, bundle.network(ROLE).input_size, bundle.pose_prior, settings)

    def estimate(self, frame: Frame, crops: Crops, detections: list[Detection]) -> list[PoseHypothesis]:
        """Estimate as `Backend` says."""
        if len(crops) == 0:
            return []
        features = self.predict(crops)
        fits = self.fit(features, crops, np.stack([item.box for item in detections]), image_size(frame))
        centre = centres(self.network)[fits.mesh]
        known = [] if fits.covariance is None else [fits.covariance]
        poses, shares, origins, *covariances = to_host(fits.pose.double(), fits.share, centre.double(), *known)
        return [
            PoseHypothesis(
                object_index=detection.object_index,
                detection_index=number,
                camera_from_object=poses[number],
                score=float(np.clip(detection.score * shares[number], 0.0, 1.0)),
                covariance=self._covariance(poses[number], origins[number], *(item[number] for item in covariances)),
            )
            for number, detection in enumerate(detections)
            if np.isfinite(poses[number]).all() and poses[number][2, 3] > 0.0
        ]

    @torch.inference_mode()
    def predict(self, crops: Crops) -> Tensor:
        """Return the unit features (N, C, h, w) of crops."""
        pixels = crops.pixels.to(memory_format=torch.channels_last)
        with autocast(self.device):
            return self.network(pixels, crops.object_index, self.settings.domain == "real").contiguous()

    def fit(self, features: Tensor, crops: Crops, boxes: np.ndarray, image_size: tuple[int, int]) -> Fits:
        """Fit every mesh of every crop's object and keep the best.

        Args:
            features: of the crops, from `predict`.
            crops: N crops.
            boxes: of the whole objects in the image, x0 y0 x1 y1, shape (N, 4).
            image_size: width and height; edges of boxes at the image's rim say nothing of the object.
        """
        sure = to_device(_inner_edges(boxes, image_size), self.device)
        (index,) = to_host(crops.object_index)
        meshes = [self._meshes_of[number] for number in index.tolist()]
        pairs = [(row, mesh) for row, some in enumerate(meshes) for mesh in some]
        crop, mesh = to_device(np.array(pairs), self.device).unbind(1)
        cells = self._in_cells(crops, to_device(np.asarray(boxes, dtype=np.float32), self.device))[crop]
        with torch.inference_mode():
            similarity = similarity_of(self.network, features, crops.camera, crop, mesh, self.settings.occluder_model)
            if self.settings.procedure == "paper":
                procedure = PaperProcedure(self.network, self.caster, self.settings.occluder_model)
                poses = procedure.fit(features, similarity, cells)[:, None]
            else:
                poses = self._fast(similarity, cells, sure[crop])
            scores = score_poses(self.network, similarity, poses, self.settings.occluder_model)
            pair, start = _best(scores.gain.nan_to_num(-1e9), [len(some) for some in meshes])
            best = poses[pair, start]
            covariance = None
            if self.settings.procedure == "fast":  # the other is no least squares
                targets = self._targets(similarity, pair, cells[pair], sure[crop[pair]])
                covariance = pose_covariances(targets, best, self.settings.fit)
        share, mesh = scores.share[pair, start].clone(), mesh[pair]
        return Fits(mesh, from_centre(best, centres(self.network)[mesh]), share, covariance)

    def _fast(self, similarity: Similarity, boxes: Tensor, sure: Tensor) -> Tensor:
        """Return fitted poses of the meshes' centres (P, K, 4, 4)."""
        settings = self.settings
        starts = starting_poses(self._grid, similarity, boxes, settings.grid_starts)
        if settings.match_start:
            matched = matched_poses(self.network, similarity, starts[:, 0], settings.seed)
            starts = torch.cat([starts, matched[:, None]], dim=1)
        count = starts.shape[1]
        which = torch.arange(len(starts) * count, device=self.device) // count
        targets = self._targets(similarity, which, boxes[which], sure[which])
        return fit_poses(targets, starts.flatten(0, 1), settings.fit).unflatten(0, (-1, count))

    def _targets(self, similarity: Similarity, which: Tensor, boxes: Tensor, sure: Tensor) -> Targets:
        return Targets(self.network, similarity, which, boxes, sure, self._fit_vertices, self.settings.fit)

    def _covariance(
        self, pose: np.ndarray, centre: np.ndarray, covariance: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Return the covariance (6, 6) of a pose (4, 4) from that about the mesh's centre (3,), None where unknown."""
        if covariance is None:
            return None
        about_origin = about_point(covariance, -pose[:3, :3] @ centre)
        return published_covariance(about_origin, pose, self.settings.covariance_scale)

    def _in_cells(self, crops: Crops, boxes: Tensor) -> Tensor:
        """Return boxes (N, 4) of the image in cells of the crops' maps."""
        scale = self.crop_size / crops.square[:, 2:3]
        corner = crops.square[:, :2].repeat(1, 2)
        pixels = (boxes - corner) * scale + (self.crop_size - 1) / 2.0
        return (pixels + 0.5) / self.network.stride - 0.5

    @torch.no_grad()
    def explained(self, features: Tensor, crops: Crops, fits: Fits) -> tuple[Tensor, Tensor]:
        """Return in which cells (N, h, w) the fitted objects are, and in which they explain the image."""
        network, mesh = self.network, fits.mesh
        height, width = features.shape[2:]
        rendered = render_features(
            self.caster,
            mesh,
            network.vertices[mesh],
            network.faces[mesh],
            network.features[mesh],
            fits.pose,
            cell_intrinsics(crops.camera, network.stride),
            height,
            width,
        )
        clutter = torch.einsum("c,bchw->bhw", network.background, features)
        return rendered.mask, (rendered.features * features).sum(dim=1) > clutter


def load(context: LoadContext) -> Nemo:
    """Load the estimator of a bundle.

    Raises:
        BundleError: if weights are missing, damaged or do not fit.
    """
    return Nemo.from_bundle(context.bundle, context.device, context.settings)


def image_size(frame: Frame) -> tuple[int, int]:
    """Return width and height in pixels."""
    return frame.rgb.shape[1], frame.rgb.shape[0]


def _inner_edges(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Tell which edges of boxes (N, 4) lie inside the image, (N, 4) float32."""
    limit = np.array(image_size, dtype=np.float64) - 1.0
    low, high = boxes[:, :2] > _RIM_PX, boxes[:, 2:] < limit - _RIM_PX
    return np.concatenate([low, high], axis=1).astype(np.float32)


def _as_mesh(network: NemoNet, number: int) -> Mesh:
    vertices, normals = (item[number].float().cpu().numpy() for item in (network.vertices, network.normals))
    return Mesh(vertices, network.faces[number].cpu().numpy(), normals, np.zeros_like(vertices))


def _best(gain: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the pair (N,) and the start (N,) with the largest gain (P, K) of every crop, over all its meshes.

    The pairs of a crop lie together, so many of each.
    """
    first, picks = 0, []
    for count in counts:
        picks.append(gain[first : first + count].flatten().argmax() + first * gain.shape[1])
        first += count
    best = torch.stack(picks)
    return best // gain.shape[1], best % gain.shape[1]
