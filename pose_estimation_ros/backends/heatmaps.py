"""Deep Heatmaps: patches vote for the control points of an object (Oberweger, Rad and Lepetit, ECCV 2018)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.backends.base import PoseHypothesis
from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.box_placement import BoxTrust, placed_by_box
from pose_estimation_ros.geometry.pnp import PnpResult, solve_pnp
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
_BOX_ROUNDS = 2  # the box places the object as the first pose turned it, then as the second did
Points = Literal["corners", "surface", "all"]


@dataclass(frozen=True)
class HeatmapsSettings:
    """How poses are read out of the heatmaps.

    A patch that is not sure answers with a low and wide heatmap about the mean of what it could be, which lies too far
    inside; a plain sum of many of these draws the object together, and so away from the camera.
    """

    patches: int = 64  # per crop, spread evenly
    points: Points = "all"  # control points that take part
    sharpness: float = 4.0  # power that votes are raised to before they are added: sure patches count more (paper: 1)
    modes: int = 2  # highest peaks per control point, each a correspondence
    least_peak: float = 0.25  # lower peaks than this share of the point's highest are none
    inlier_share: float = 0.12  # PnP inlier threshold as a share of the box's longer side
    box: BoxTrust | None = field(default_factory=BoxTrust)  # trust in boxes to place the object; None: none at all
    iterations: int = 500  # of RANSAC
    seed: int = 0


@dataclass(frozen=True)
class Peaks:
    """The highest peaks of accumulated heatmaps."""

    pixels: Tensor  # (B, K, M, 2) in the crop
    heights: Tensor  # (B, K, M), 0 where there are fewer


class Heatmaps:
    """Estimates the poses of all crops of a frame with one pass over all their patches.

    `explain` draws the accumulated heatmaps and their highest peaks over the image.

    Args:
        network: trained network in evaluation mode, on its device.
        crop_size: side of the crops the network was trained on.
        settings: thresholds.
    """

    debug_name = "heatmaps"

    def __init__(self, network: HeatmapNet, crop_size: int, settings: HeatmapsSettings | None = None) -> None:
        self.network = network
        self.settings = settings or HeatmapsSettings()
        self.crop_size = crop_size
        self.crop_padding = network.padding
        self.device = next(network.parameters()).device
        self.grid = patch_grid(crop_size, network.window)
        self._first_cell = first_cell(network.window)
        self._patches = spread_patches(self.grid, self.settings.patches, self.device)
        first = {"corners": 0, "surface": CORNERS, "all": 0}[self.settings.points]
        last = CORNERS if self.settings.points == "corners" else network.points
        if first >= last:
            raise ValueError(f"points = {self.settings.points!r}: the network has {network.points}, corners only")
        self._points = slice(first, last)

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
        peaks = find_peaks(maps[:, self._points], self.settings.modes, self._first_cell)
        squares = crops.square.cpu().double().numpy()
        pixels, heights = peaks.pixels.cpu().double().numpy(), peaks.heights.cpu().double().numpy()
        points = self.network.control_points[crops.object_index][:, self._points].cpu().double().numpy()
        hypotheses = []
        for number, detection in enumerate(detections):
            outline = self.network.outline[detection.object_index].cpu().double().numpy()
            matches = (pixels[number], heights[number], points[number])
            box = detection.box if detection.fits else None
            result = self._solve(*matches, squares[number], outline, box, frame)
            if result is None or result.camera_from_object[2, 3] <= 0.0:
                continue
            score = self._agreement(maps[number, self._points], result, points[number], squares[number], frame)
            hypotheses.append(
                PoseHypothesis(
                    object_index=detection.object_index,
                    detection_index=number,
                    camera_from_object=result.camera_from_object,
                    score=float(np.clip(detection.score * score, 0.0, 1.0)),
                    inliers=int(result.inliers.sum()),
                    covariance=result.covariance,
                )
            )
        return hypotheses

    def explain(self, frame: Frame, crops: Crops, detections: list[Detection]) -> np.ndarray:
        """Draw the accumulated heatmaps of all crops over a copy of the image (H, W, 3), warm where they are high."""
        if len(crops) == 0:
            return frame.rgb.copy()
        maps = self.predict(crops)[:, self._points]
        peaks = find_peaks(maps, 1, self._first_cell).pixels[:, :, 0].cpu().double().numpy()
        strongest = maps / maps.amax(dim=(2, 3), keepdim=True).clamp(min=1e-6)
        squares = crops.square.cpu().double().numpy()
        highest = strongest.amax(dim=1).cpu().numpy()
        return draw_heatmaps(frame.rgb, highest, peaks, squares, self.crop_size, self._first_cell)

    @torch.inference_mode()
    def predict(self, crops: Crops) -> Tensor:
        """Return the accumulated heatmaps (N, K, H, H) of crops; a patch that is certain adds a peak of about 1."""
        pixels = crops.pixels.to(memory_format=torch.channels_last)
        chosen = self._patches[None].expand(len(crops), -1)
        with autocast(self.device):
            patches = self.network(pixels, crops.object_index, chosen)
        return accumulate(patches**self.settings.sharpness, chosen, self.grid)

    def _solve(
        self,
        pixels: np.ndarray,
        heights: np.ndarray,
        points: np.ndarray,
        square: np.ndarray,
        outline: np.ndarray,
        box: np.ndarray | None,
        frame: Frame,
    ) -> PnpResult | None:
        """Solve PnP from the peaks (K, M, 2) of control points (K, 3), the higher the surer, and the box if it fits."""
        settings = self.settings
        kept = (heights > settings.least_peak * heights[:, :1]) & (heights > 0.0)
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
            threshold_px=max(1.0, settings.inlier_share / self.crop_padding * float(square[2])),
            iterations=settings.iterations,
            seed=settings.seed,
        )
        result = solve()
        if settings.box is None or box is None or len(outline) == 0:
            return result
        for _ in range(_BOX_ROUNDS):
            if result is None:
                break
            size = (frame.camera.width, frame.camera.height)
            pose = result.camera_from_object
            placed = placed_by_box(pose, outline, box, frame.camera.intrinsics, size, settings.box)
            if placed is None:
                break
            result = solve(initial=pose, placed=placed, iterations=0) or result
        return result

    def _agreement(
        self, maps: Tensor, result: PnpResult, points: np.ndarray, square: np.ndarray, frame: Frame
    ) -> float:
        """Return the share of the votes of all patches (K, H, H) that lies about the projected control points."""
        pose = result.camera_from_object
        in_image = frame.camera.project(points @ pose[:3, :3].T + pose[:3, 3])
        in_crop = (in_image - square[:2]) * (self.crop_size / square[2]) + (self.crop_size - 1) / 2.0
        cells = torch.from_numpy((in_crop - self._first_cell) / STRIDE).to(maps.device).float()
        side = maps.shape[-1]
        line = torch.arange(side, device=maps.device)
        near = (line[None, :, None] - cells[:, 1, None, None]) ** 2 + (
            line[None, None, :] - cells[:, 0, None, None]
        ) ** 2
        votes = maps.sum(dim=(1, 2)).clamp(min=1e-6)
        return float(((maps * (near < _NEAR_CELLS**2)).sum(dim=(1, 2)) / votes).mean())


def draw_heatmaps(
    rgb: np.ndarray, maps: np.ndarray, peaks: np.ndarray, squares: np.ndarray, crop_size: int, first: float
) -> np.ndarray:
    """Lay heatmaps over an image.

    Args:
        rgb: image (H, W, 3) uint8.
        maps: accumulated heatmaps (N, h, w) in [0, 1].
        peaks: pixels in the crops, shape (N, K, 2).
        squares: centre and side of the crops in the image, shape (N, 3).
        crop_size: side of the crops.
        first: pixel column, or row, of the first cell in the crops.
    """
    height, width = rgb.shape[:2]
    heat = np.zeros((height, width), np.float32)
    for values, square in zip(maps, squares, strict=True):
        scale = square[2] / crop_size
        start = square[:2] + (first - (crop_size - 1) / 2.0) * scale
        image_from_cell = np.array([[STRIDE * scale, 0.0, start[0]], [0.0, STRIDE * scale, start[1]]])
        heat = np.maximum(
            heat, cv2.warpAffine(np.ascontiguousarray(values, np.float32), image_from_cell, (width, height))
        )
    warm = cv2.cvtColor(
        cv2.applyColorMap((255.0 * heat.clip(0.0, 1.0)).astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB
    )
    cover = np.minimum(1.5 * heat, 0.85)[..., None]
    drawing = (rgb * (1.0 - cover) + warm * cover).astype(np.uint8)
    for dots, square in zip(peaks, squares, strict=True):
        for x, y in square[:2] + (dots - (crop_size - 1) / 2.0) * (square[2] / crop_size):
            cv2.circle(drawing, (round(x), round(y)), 2, (255, 255, 255), -1, cv2.LINE_AA)
    return drawing


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
    left, middle, right = values.clamp(min=0.02 * values.amax(dim=2, keepdim=True) + 1e-9).log().unbind(2)
    bend = (left - 2.0 * middle + right).clamp(max=-1e-6)
    return (0.5 * (left - right) / bend).clamp(-0.6, 0.6)
