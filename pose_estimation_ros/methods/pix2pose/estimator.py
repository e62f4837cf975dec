"""Pix2Pose: dense object coordinates with their expected error, two stages, robust PnP (Park et al., ICCV 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.crops import Crops, cut_squares
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.data.pyramid import picture_of
from pose_estimation_ros.geometry.pnp import PnpResult, TranslationPrior, solve_pnp
from pose_estimation_ros.geometry.transfer import constant, to_device, to_host
from pose_estimation_ros.methods.base import LoadContext, PoseHypothesis
from pose_estimation_ros.methods.covariance import published_covariance
from pose_estimation_ros.methods.pix2pose.network import ERROR_FLOOR, STRIDE, CoordinateMaps, Pix2PoseNet
from pose_estimation_ros.methods.pix2pose.settings import Pix2PoseSettings
from pose_estimation_ros.networks.placement import depth_of
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.catalog import Catalog

ROLE = "pix2pose"
MIN_CELLS = 8


@dataclass(frozen=True)
class _Candidate:
    """One refined view of one crop, and the pose read from it."""

    crop: int
    pose: PnpResult
    support: float  # share of the object's visible cells that agree


class Pix2Pose:
    """Estimates the poses of all crops of a frame with one forward pass per stage.

    Args:
        network: trained network in evaluation mode, on its device.
        catalog: the objects in the network's order.
        crop_size: side of the crops the network was trained on last.
        settings: thresholds.
    """

    def __init__(
        self, network: Pix2PoseNet, catalog: Catalog, crop_size: int, settings: Pix2PoseSettings | None = None
    ) -> None:
        self.network = network
        self.settings = settings or Pix2PoseSettings()
        self.crop_size = crop_size
        self.crop_padding = self.settings.crop_padding
        self.device = next(network.parameters()).device
        self._diameter = torch.tensor([model.diameter_m for model in catalog]).float().to(self.device)
        self._centre = np.stack([model.centre_m for model in catalog])
        self._half = np.stack([model.half_size_m for model in catalog])

    @staticmethod
    def from_bundle(bundle: Bundle, device: torch.device, settings: Pix2PoseSettings | None = None) -> Pix2Pose:
        """Load the network of a bundle.

        Raises:
            BundleError: if the weights are missing, damaged or do not fit the architecture.
        """
        network = bundle.load_network(ROLE, Pix2PoseNet, device)
        return Pix2Pose(network, bundle.catalog, bundle.network(ROLE).input_size, settings)

    def estimate(self, frame: Frame, crops: Crops, detections: list[Detection]) -> list[PoseHypothesis]:
        """Estimate as `Backend` says."""
        if len(crops) == 0:
            return []
        framed = self.framed(frame, crops)
        maps = self.predict(framed)
        views = [list(range(number, len(framed), len(crops))) for number in range(len(crops))]
        translation_prior = self._translation_priors(framed, maps, views)
        refined, origin = self._refined_crops(frame, crops, _head(maps, len(crops)))
        candidates = self._solve(framed, maps, views, list(range(len(crops))), frame, translation_prior)
        if origin:
            singles = [[row] for row in range(len(origin))]
            candidates += self._solve(refined, self.predict(refined), singles, origin, frame, translation_prior)
        hypotheses = []
        for number, detection in enumerate(detections):
            mine = [item for item in candidates if item.crop == number]
            if mine:
                best = max(mine, key=lambda item: item.support)
                hypotheses.append(self._hypothesis(best, detection))
        return hypotheses

    def framed(self, frame: Frame, crops: Crops) -> Crops:
        """Return the N crops, then the same N once more for every other framing."""
        if not self.settings.framings:
            return crops
        squares = [crops.square]
        for scale, right, down in self.settings.framings:
            shift = crops.square[:, 2:] * constant((right, down), crops.square)
            squares.append(torch.cat([crops.square[:, :2] + shift, crops.square[:, 2:] * scale], dim=1))
        count = len(self.settings.framings)
        index = crops.object_index.repeat(count)
        more = cut_squares(*picture_of(frame, self.device), torch.cat(squares[1:]), index, self.crop_size)
        return Crops(
            torch.cat([crops.pixels, more.pixels]),
            torch.cat([crops.camera, more.camera]),
            torch.cat([crops.object_index, more.object_index]),
            torch.cat([crops.square, more.square]),
        )

    @torch.inference_mode()
    def predict(self, crops: Crops) -> CoordinateMaps:
        """Run the network on crops."""
        pixels = crops.pixels.to(memory_format=torch.channels_last)
        with autocast(self.device):
            return self.network(pixels, crops.object_index, self.settings.domain == "real")

    def _refined_crops(self, frame: Frame, crops: Crops, maps: CoordinateMaps) -> tuple[Crops, list[int]]:
        """Cut the second-stage crops: centred on the kept cells, everything else grey.

        Returns:
            The crops, and for each the number of the first-stage crop it came from.
        """
        if not self.settings.outlier_errors:
            return crops, []
        visible = torch.sigmoid(maps.mask_logits[:, 0].float()) > self.settings.mask_threshold
        keep = torch.cat([visible & (maps.error < limit) for limit in self.settings.outlier_errors])
        (cells,) = to_host(keep.sum(dim=(1, 2)))
        rows = np.flatnonzero(cells >= MIN_CELLS)
        if not len(rows):
            return crops, []
        origin = rows % len(crops)
        kept = keep[to_device(rows, self.device)]
        crop = to_device(origin, self.device)
        square = _squares_of(kept, crops.square[crop], self.settings.crop_padding)
        refined = cut_squares(*picture_of(frame, self.device), square, crops.object_index[crop], self.crop_size)
        mask = _transfer(kept, crops.square[crop], square, self.crop_size)
        pixels = refined.pixels * mask + 0.5 * (1.0 - mask)
        return Crops(pixels, refined.camera, refined.object_index, refined.square), origin.tolist()

    def _translation_priors(
        self, crops: Crops, maps: CoordinateMaps, views: list[list[int]]
    ) -> list[TranslationPrior | None]:
        """Return where the network sees the centres of objects, the mean over the crops that show each.

        Nothing where the network was not trained to.
        """
        if maps.placement is None:
            return [None] * len(views)
        medians, scales = maps.placement[:, :3].float(), math.sqrt(2.0) * torch.exp(maps.placement[:, 3:].float())
        depth = depth_of(medians[:, 2], crops.camera, self._diameter[crops.object_index], self.crop_size)
        pixel = crops.square[:, :2] + medians[:, :2] * crops.square[:, 2:]
        deviation = torch.cat([scales[:, :2] * crops.square[:, 2:], scales[:, 2:]], dim=1)
        places = torch.cat([pixel, torch.log(depth)[:, None], deviation], dim=1)
        table, index = to_host(places, crops.object_index)
        table = table.astype(np.float64)
        translation_prior: list[TranslationPrior | None] = []
        for rows in views:
            mean = table[rows].mean(axis=0)  # views of one image err together: their mean is hardly surer than one
            centre, far = self._centre[index[rows[0]]], float(np.exp(mean[2]))
            translation_prior.append(
                TranslationPrior(centre, mean[:2], far, mean[3:5], float(mean[5]), self.settings.redundancy)
            )
        return translation_prior

    def _solve(
        self,
        crops: Crops,
        maps: CoordinateMaps,
        views: list[list[int]],
        origin: list[int],
        frame: Frame,
        translation_prior: list[TranslationPrior | None],
    ) -> list[_Candidate]:
        """Solve PnP from the reliable cells of each group of crops, which show the same object."""
        settings = self.settings
        visible, error, coordinates, squares, index = to_host(
            torch.sigmoid(maps.mask_logits[:, 0].float()) > settings.mask_threshold,
            maps.error.float(),
            maps.coordinates.float().permute(0, 2, 3, 1),
            crops.square,
            crops.object_index,
        )
        candidates = []
        for rows, crop in zip(views, origin, strict=True):
            chosen = visible[rows] & (error[rows] < settings.inlier_error)
            if chosen.sum() < MIN_CELLS:
                chosen = visible[rows] & (error[rows] < 2.0 * settings.inlier_error)
            if chosen.sum() < MIN_CELLS:
                continue
            pixels = [
                _cell_pixels(cells, squares[row], self.crop_size) for cells, row in zip(chosen, rows, strict=True)
            ]
            result = solve_pnp(
                np.concatenate(pixels),
                coordinates[rows][chosen] * self._half[index[rows[0]]] + self._centre[index[rows[0]]],
                frame.camera.intrinsics,
                weights=1.0 / (error[rows][chosen] + ERROR_FLOOR),
                threshold_px=max(1.0, settings.ransac_threshold_ratio * float(squares[rows[0], 2])),
                iterations=settings.ransac_iterations,
                seed=settings.seed,
                translation_prior=_less_sure(translation_prior[crop], len(rows)),
            )
            if result is not None and result.camera_from_object[2, 3] > 0.0:
                support = float(result.inliers.sum()) / max(float(visible[rows].sum()), 1.0)
                candidates.append(_Candidate(crop, result, support))
        return candidates

    def _hypothesis(self, candidate: _Candidate, detection: Detection) -> PoseHypothesis:
        detection_index = candidate.crop
        return PoseHypothesis(
            object_index=detection.object_index,
            detection_index=detection_index,
            camera_from_object=candidate.pose.camera_from_object,
            score=float(np.clip(detection.score * candidate.support, 0.0, 1.0)),
            inliers=int(candidate.pose.inliers.sum()),
            covariance=published_covariance(
                candidate.pose.covariance, candidate.pose.camera_from_object, self.settings.covariance_scale
            ),
        )


def load(context: LoadContext) -> Pix2Pose:
    """Load the estimator of a bundle.

    Raises:
        BundleError: if weights are missing, damaged or do not fit.
    """
    return Pix2Pose.from_bundle(context.bundle, context.device, context.settings)


def _head(maps: CoordinateMaps, count: int) -> CoordinateMaps:
    """Return the maps of the first crops."""
    placement = None if maps.placement is None else maps.placement[:count]
    return CoordinateMaps(
        maps.coordinates[:count], maps.error[:count], maps.mask_logits[:count], maps.bin_logits[:count], placement
    )


def _less_sure(translation_prior: TranslationPrior | None, views: int) -> TranslationPrior | None:
    """Return a placed point for correspondences from so many views of the same pixels: none is worth a new one."""
    return (
        None
        if translation_prior is None
        else replace(translation_prior, redundancy=translation_prior.redundancy * views)
    )


def _cell_pixels(chosen: np.ndarray, square: np.ndarray, crop_size: int) -> np.ndarray:
    """Return image pixels (N, 2) of the chosen cells (S, S) of a square (3,)."""
    rows, columns = np.nonzero(chosen)
    cells = (np.column_stack([columns, rows]) + 0.5) * STRIDE - 0.5
    return square[:2] + (cells - (crop_size - 1) / 2.0) * (square[2] / crop_size)


def _squares_of(keep: Tensor, square: Tensor, padding: float) -> Tensor:
    """Return squares (N, 3) around the kept cells (N, S, S) of crops (N, 3), not larger than the crops were."""
    side = keep.shape[1]
    number = torch.arange(side, device=keep.device)
    used = torch.stack([keep.any(dim=1), keep.any(dim=2)], dim=1)  # (N, 2, S) columns and rows
    low = torch.where(used, number, side).amin(dim=2).float()
    high = torch.where(used, number, -1).amax(dim=2).float()
    cell = square[:, 2:] / side
    centre = square[:, :2] + ((low + high) / 2.0 + 0.5 - side / 2.0) * cell
    length = torch.minimum(padding * (high - low + 1.0).amax(dim=1, keepdim=True) * cell, square[:, 2:])
    return torch.cat([centre, length], dim=1)


def _transfer(keep: Tensor, source: Tensor, target: Tensor, size: int) -> Tensor:
    """Show masks (N, S, S) of source squares (N, 3) in target squares (N, 3), as (N, 1, size, size), a little wider."""
    wide = F.max_pool2d(keep[:, None].float(), 3, 1, 1)
    steps = (torch.arange(size, device=keep.device) - (size - 1) / 2.0) / size
    x = target[:, 0:1] + target[:, 2:3] * steps
    y = target[:, 1:2] + target[:, 2:3] * steps
    grid_x = 2.0 * (x - source[:, 0:1]) / source[:, 2:3]
    grid_y = 2.0 * (y - source[:, 1:2]) / source[:, 2:3]
    grid = torch.stack([grid_x[:, None, :].expand(-1, size, -1), grid_y[:, :, None].expand(-1, -1, size)], dim=-1)
    return (F.grid_sample(wide, grid, align_corners=False) > 0.5).float()
