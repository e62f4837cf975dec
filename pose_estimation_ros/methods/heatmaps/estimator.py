"""Deep Heatmaps: patches vote for the control points of an object (Oberweger, Rad and Lepetit, ECCV 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.pnp import PnpResult, solve_pnp
from pose_estimation_ros.geometry.transfer import to_device, to_host
from pose_estimation_ros.methods.base import LoadContext, PoseHypothesis
from pose_estimation_ros.methods.box_prior import refit_in_box
from pose_estimation_ros.methods.covariance import published_covariance
from pose_estimation_ros.methods.heatmaps.settings import HeatmapsSettings
from pose_estimation_ros.networks.heatmap_net import (
    STRIDE,
    HeatmapNet,
    accumulate,
    first_cell,
    patch_grid,
    spread_patches,
)
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.control_points import CORNERS

ROLE = "heatmaps"
_NEAR_CELLS = 3.5  # 28 pixels: two deviations of an accumulated Gaussian


@dataclass(frozen=True)
class Peaks:
    """The highest peaks of accumulated heatmaps."""

    pixels: Tensor  # (B, K, M, 2) in the crop
    heights: Tensor  # (B, K, M), 0 where there are fewer


class Heatmaps:
    """Estimates the poses of all crops of a frame with one pass over all their patches.

    Args:
        network: trained network in evaluation mode, on its device.
        crop_size: side of the crops the network was trained on.
        settings: thresholds.
    """

    def __init__(self, network: HeatmapNet, crop_size: int, settings: HeatmapsSettings | None = None) -> None:
        self.network = network
        self.settings = settings or HeatmapsSettings()
        self.crop_size = crop_size
        self.crop_padding = network.padding
        self.device = next(network.parameters()).device
        self.grid = patch_grid(crop_size, network.window)
        self.first_cell = first_cell(network.window)
        self._outline, self._control_points = (
            item.astype(np.float64) for item in to_host(network.outline, network.control_points)
        )
        self._patches = spread_patches(self.grid, self.settings.patches, self.device)
        first = {"corners": 0, "surface": CORNERS, "all": 0}[self.settings.points]
        last = CORNERS if self.settings.points == "corners" else network.points
        if first >= last:
            raise ValueError(f"points = {self.settings.points!r}: the network has {network.points}, corners only")
        self.points = slice(first, last)

    @staticmethod
    def from_bundle(bundle: Bundle, device: torch.device, settings: HeatmapsSettings | None = None) -> Heatmaps:
        """Load the network of a bundle.

        Raises:
            BundleError: if the weights are missing, damaged or do not fit the architecture.
        """
        network = bundle.load_network(ROLE, HeatmapNet, device)
        return Heatmaps(network, bundle.network(ROLE).input_size, settings)

    def estimate(self, frame: Frame, crops: Crops, detections: list[Detection]) -> list[PoseHypothesis]:
        """Estimate as `Backend` says."""
        if len(crops) == 0:
            return []
        maps = self.predict(crops)
        peaks = find_peaks(maps[:, self.points], self.settings.peaks_per_point, self.first_cell)
        fetched = to_host(crops.square, peaks.pixels, peaks.heights)
        squares, pixels, heights = (item.astype(np.float64) for item in fetched)
        results: dict[int, PnpResult] = {}
        in_crops = []
        for number, detection in enumerate(detections):
            result = self._solve(pixels[number], heights[number], squares[number], detection, frame)
            if result is not None and result.camera_from_object[2, 3] > 0.0:
                results[number] = result
                points = self._control_points[detection.object_index, self.points]
                in_crops.append(self._projected(result, points, squares[number], frame))
        if not results:
            return []
        shares = self._agreement(maps[:, self.points], list(results), np.stack(in_crops))
        hypotheses = []
        for (number, result), score in zip(results.items(), shares.tolist(), strict=True):
            detection = detections[number]
            hypotheses.append(
                PoseHypothesis(
                    object_index=detection.object_index,
                    detection_index=number,
                    camera_from_object=result.camera_from_object,
                    score=float(np.clip(detection.score * score, 0.0, 1.0)),
                    inliers=int(result.inliers.sum()),
                    covariance=published_covariance(
                        result.covariance, result.camera_from_object, self.settings.covariance_scale
                    ),
                )
            )
        return hypotheses

    @torch.inference_mode()
    def predict(self, crops: Crops) -> Tensor:
        """Return the accumulated heatmaps (N, K, H, H) of crops; a patch that is certain adds a peak of about 1."""
        pixels = crops.pixels.to(memory_format=torch.channels_last)
        chosen = self._patches[None].expand(len(crops), -1)
        with autocast(self.device):
            patches = self.network(pixels, crops.object_index, chosen, self.settings.domain == "real")
        return accumulate(patches**self.settings.vote_exponent, chosen, self.grid)

    def _solve(
        self,
        pixels: np.ndarray,
        heights: np.ndarray,
        square: np.ndarray,
        detection: Detection,
        frame: Frame,
    ) -> PnpResult | None:
        """Solve PnP from the peaks (K, M, 2) of control points, the higher the surer, and from the box."""
        settings = self.settings
        points = self._control_points[detection.object_index, self.points]
        kept = (heights > settings.min_peak_ratio * heights[:, :1]) & (heights > 0.0)
        if kept.any(axis=1).sum() < 4:
            return None
        number, _ = np.nonzero(kept)
        in_image = square[:2] + (pixels[kept] - (self.crop_size - 1) / 2.0) * (square[2] / self.crop_size)
        solve = partial(
            solve_pnp,
            in_image,
            points[number],
            frame.camera.intrinsics,
            weights=np.sqrt(heights[kept] / heights.max()),
            threshold_px=max(1.0, settings.ransac_threshold_ratio / self.crop_padding * float(square[2])),
            iterations=settings.ransac_iterations,
            seed=settings.seed,
        )
        outline = self._outline[detection.object_index]
        result = solve()
        if result is None or not settings.box_prior.enabled:
            return result
        uncertainty = settings.box_prior.uncertainty(settings.box_prior.redundancy)
        return refit_in_box(result, solve, detection, outline, frame.camera, uncertainty)

    def _projected(self, result: PnpResult, points: np.ndarray, square: np.ndarray, frame: Frame) -> np.ndarray:
        """Return where control points (K, 3) are seen in a crop, pixels (K, 2)."""
        pose = result.camera_from_object
        in_image = frame.camera.project(points @ pose[:3, :3].T + pose[:3, 3])
        return (in_image - square[:2]) * (self.crop_size / square[2]) + (self.crop_size - 1) / 2.0

    def _agreement(self, maps: Tensor, numbers: Sequence[int], in_crops: np.ndarray) -> np.ndarray:
        """Return the shares (M,) of the votes of all patches that lie about the projected control points.

        Args:
            maps: of all crops (N, K, H, H).
            numbers: of the M crops whose poses are known.
            in_crops: pixels of the projected points (M, K, 2).
        """
        if len(numbers) < len(maps):
            maps = maps[to_device(np.array(numbers), maps.device)]
        cells = to_device(((in_crops - self.first_cell) / STRIDE).astype(np.float32), maps.device)
        line = torch.arange(maps.shape[-1], device=maps.device)
        away = (line[:, None] - cells[..., 1, None, None]) ** 2 + (line - cells[..., 0, None, None]) ** 2
        votes = maps.sum(dim=(2, 3)).clamp(min=1e-6)
        (shares,) = to_host(((maps * (away < _NEAR_CELLS**2)).sum(dim=(2, 3)) / votes).mean(dim=1))
        return shares


def load(context: LoadContext) -> Heatmaps:
    """Load the estimator of a bundle.

    Raises:
        BundleError: if weights are missing, damaged or do not fit.
    """
    return Heatmaps.from_bundle(context.bundle, context.device, context.settings)


def find_peaks(maps: Tensor, modes: int, first: float) -> Peaks:
    """Find the highest local maxima of heatmaps, to a fraction of a cell.

    Args:
        maps: accumulated heatmaps, shape (B, K, H, W), not negative.
        modes: maxima wanted per heatmap.
        first: pixel column, or row, of the first cell.

    The place is the top of a parabola through the logarithms, exact for a Gaussian.
    """
    batch, points, height, width = maps.shape
    highest = F.max_pool2d(maps, 3, 1, 1)
    alone = torch.where(maps == highest, maps, torch.zeros_like(maps)).flatten(2)
    heights, place = alone.topk(modes, dim=2)
    padded = F.pad(maps, (1, 1, 1, 1))
    windows = F.unfold(padded.reshape(batch * points, 1, height + 2, width + 2), 3).reshape(batch, points, 9, -1)
    around = windows.gather(3, place[:, :, None].expand(-1, -1, 9, -1)).unflatten(2, (3, 3))
    x = place % width + _top(around.sum(dim=2))
    y = place // width + _top(around.sum(dim=3))
    return Peaks(torch.stack([x, y], dim=-1) * STRIDE + first, heights)


def _top(values: Tensor) -> Tensor:
    """Return where in -1..1 the top of a Gaussian through values (B, K, 3, M) at -1, 0 and 1 lies, (B, K, M)."""
    left, centre, right = values.clamp(min=0.02 * values.amax(dim=2, keepdim=True) + 1e-9).log().unbind(2)
    bend = (left - 2.0 * centre + right).clamp(max=-1e-6)
    return (0.5 * (left - right) / bend).clamp(-0.6, 0.6)
