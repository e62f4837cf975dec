"""Detection without a detector: the patches of the heatmaps network vote for where each object is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.transfer import to_device, to_host
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.patches.settings import PatchesSettings
from pose_estimation_ros.networks.heatmap_net import (
    CELL,
    PATCH,
    STRIDE,
    VOTE_MASS,
    HeatmapNet,
    accumulate,
    cells_along,
    first_cell,
    patch_grid,
    votes_to_heatmaps,
)
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle, BundleError
from pose_estimation_ros.objects.control_points import CORNERS

ROLE = "heatmaps"
_EVERY = 2  # patches are taken every second place in both directions: 16 pixels
_MAX_PIXELS = 4_000_000  # of an image at any scale


class PatchLocaliser:
    """Slide the patches over whole images and find one instance of every object.

    As Oberweger et al. (ECCV 2018) localise: one convolutional pass per scale, the votes of all patches added up at
    their places, and the window that holds most of them. Where an object covers about as many pixels as in training,
    its votes agree; the best of several scales decides.

    Args:
        network: trained network in evaluation mode, on its device.
        diameters_m: of the objects.
        crop_size: side of the crops the network was trained on.
        distance_m: nearest and farthest distance to look for, of the pose prior.
        settings: how many scales are tried.
    """

    def __init__(
        self,
        network: HeatmapNet,
        diameters_m: Sequence[float],
        crop_size: int,
        distance_m: tuple[float, float],
        settings: PatchesSettings | None = None,
    ) -> None:
        self.network = network
        self.device = next(network.parameters()).device
        self._window_px = crop_size / network.padding
        self._diameters_m = np.asarray(diameters_m, dtype=np.float64)
        self._distance_m = distance_m
        self.settings = settings or PatchesSettings()
        # Points on the surface stay within the object's outline; four of them are enough to find it.
        first = CORNERS if network.points > CORNERS else 0
        self._points = range(first, min(first + 4, network.points))

    @classmethod
    def from_bundle(
        cls, bundle: Bundle, device: torch.device, settings: PatchesSettings | None = None
    ) -> PatchLocaliser:
        """Load the heatmaps network of a bundle.

        Raises:
            BundleError: if the weights are missing, damaged or do not fit the architecture, or if the network has wide
                patches, which see too much beside the object to find it.
        """
        network = bundle.load_network(ROLE, HeatmapNet, device)
        if network.trunk != "patches":
            raise BundleError(
                f"{bundle.path / bundle.network(ROLE).file}: trunk {network.trunk!r}; detection by patches needs a "
                "network of trunk 'patches' (or use the detector mask_rcnn)"
            )
        diameters = [model.diameter_m for model in bundle.catalog]
        return cls(network, diameters, bundle.network(ROLE).input_size, bundle.pose_prior.distance_m, settings)

    @torch.inference_mode()
    def detect(self, frame: Frame, score_threshold: float, objects: Collection[int] | None = None) -> list[Detection]:
        """Return at most one square about every object, best first; see `Detector`. There are no masks."""
        wanted = range(self.network.objects) if objects is None else sorted(objects)
        if not wanted:
            return []
        sizes, windows = zip(*(self._at_scale(frame, scale, wanted) for scale in self.scales_of(frame)), strict=True)
        values, places = to_host(torch.stack([item[0] for item in windows]), torch.stack([item[1] for item in windows]))
        best: dict[int, Detection] = {}
        for size, value, place in zip(sizes, values, places, strict=True):
            for column, index in enumerate(wanted):
                found = self._window(index, float(value[column]), int(place[column]), frame, *size)
                known = best.get(found.object_index)
                if known is None or found.score > known.score:
                    best[found.object_index] = found
        return sorted((item for item in best.values() if item.score >= score_threshold), key=lambda item: -item.score)

    def scales_of(self, frame: Frame) -> list[float]:
        """Return how much smaller or larger the image has to be for objects to look as large as in training.

        No scale gives more than four million pixels.
        """
        focal = float(frame.camera.intrinsics[0, 0])
        near, far = self._distance_m
        wanted = [
            self._window_px * distance / (focal * size)
            for distance in (near, far)
            for size in (self._diameters_m.min(), self._diameters_m.max())
        ]
        largest = (_MAX_PIXELS / (frame.rgb.shape[0] * frame.rgb.shape[1])) ** 0.5
        low, high = min(max(min(wanted), 0.25), largest), min(max(wanted), 2.0, largest)
        return [float(value) for value in np.geomspace(min(low, high), max(low, high), self.settings.scales)]

    def _at_scale(
        self, frame: Frame, scale: float, objects: Sequence[int]
    ) -> tuple[tuple[int, int], tuple[Tensor, Tensor]]:
        """Return the image's size, and the window that holds most votes for each object: how many, and where."""
        height, width = (max(2 * PATCH, round(side * scale)) for side in frame.rgb.shape[:2])
        method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
        small = cv2.resize(frame.rgb, (width, height), interpolation=method)
        image = to_device(small, self.device).permute(2, 0, 1)[None].float() / 255.0
        rows, columns = patch_grid(height), patch_grid(width)
        number = torch.arange(rows * columns, device=self.device).reshape(rows, columns)[::_EVERY, ::_EVERY].flatten()
        with autocast(self.device):
            features = self.network.patch_features(
                image.contiguous(memory_format=torch.channels_last), is_real=self.settings.domain == "real"
            )[:, number]
        found, every = [], torch.arange(self.network.objects, device=self.device)
        for index in objects:
            with autocast(self.device):
                log_votes = self.network.read(features, every[index : index + 1], self._points)
            votes = votes_to_heatmaps(log_votes).sum(dim=2, keepdim=True)
            total = accumulate(votes, number[None], rows, columns)[0, 0]
            found.append(total)
        cells = max(1, round(self._window_px / STRIDE)) | 1
        inside = F.avg_pool2d(torch.stack(found)[:, None], cells, 1, cells // 2, count_include_pad=True) * cells**2
        value, place = inside.flatten(1).max(dim=1)
        return (width, height), (value, place)

    def _window(self, index: int, votes: float, place: int, frame: Frame, width: int, height: int) -> Detection:
        """Return the square of an object's size about a cell, as many votes as it holds."""
        row, column = divmod(place, cells_along(patch_grid(width)))
        # A window full of patches, all certain, holds a vote of a Gaussian's mass for every point from every patch.
        patches = (self._window_px / STRIDE / _EVERY) ** 2
        score = votes / (patches * len(self._points) * VOTE_MASS * (CELL / STRIDE) ** 2)
        centre = np.array([column, row]) * STRIDE + first_cell()
        zoom = np.array([frame.rgb.shape[1] / width, frame.rgb.shape[0] / height])
        half = self._window_px / 2.0 * zoom
        middle = (centre + 0.5) * zoom - 0.5
        limits = np.array([frame.rgb.shape[1], frame.rgb.shape[0]] * 2) - 0.5
        box = np.clip(np.concatenate([middle - half, middle + half]), -0.5, limits)
        return Detection(index, float(np.clip(score, 0.0, 1.0)), box, is_tight=False)


def load(context: LoadContext) -> PatchLocaliser:
    """Load the heatmaps network of a bundle.

    Raises:
        BundleError: if weights are missing, damaged or do not fit.
    """
    return PatchLocaliser.from_bundle(context.bundle, context.device, context.settings)
