"""Poses from regressed corners: PnP, weighted by what the network expects of each (Rad et al., CVPR 2018)."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.geometry.pnp import PnpResult, solve_pnp
from pose_estimation_ros.geometry.transfer import to_host
from pose_estimation_ros.methods.base import LoadContext, PoseHypothesis
from pose_estimation_ros.methods.box_prior import refit_in_box
from pose_estimation_ros.methods.corners.network import CornerPredictions, CornersNet
from pose_estimation_ros.methods.corners.settings import CornersSettings
from pose_estimation_ros.methods.covariance import published_covariance
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.control_points import box_corners

ROLE = "corners"


class Corners:
    """Estimates the poses of all crops of a frame with one forward pass.

    Args:
        network: trained network in evaluation mode, on its device.
        catalog: the objects in the network's order.
        settings: thresholds.
    """

    def __init__(self, network: CornersNet, catalog: Catalog, settings: CornersSettings | None = None) -> None:
        self.network = network
        self.settings = settings or CornersSettings()
        self.crop_size = network.size
        self.crop_padding = self.settings.crop_padding
        self.device = next(network.parameters()).device
        self.points = np.stack([box_corners(model) for model in catalog])
        (outline,) = to_host(network.outline)
        self._outline = outline.astype(np.float64)

    @staticmethod
    def from_bundle(bundle: Bundle, device: torch.device, settings: CornersSettings | None = None) -> Corners:
        """Load the network of a bundle.

        Raises:
            BundleError: if the weights are missing, damaged or do not fit the architecture.
        """
        return Corners(bundle.load_network(ROLE, CornersNet, device), bundle.catalog, settings)

    def estimate(self, frame: Frame, crops: Crops, detections: list[Detection]) -> list[PoseHypothesis]:
        """Estimate as `Backend` says."""
        if len(crops) == 0:
            return []
        pixels, deviations = self.in_image(self.predict(crops), crops)
        (sides,) = to_host(crops.square[:, 2].double())
        hypotheses = []
        for number, detection in enumerate(detections):
            result, covariance = self._solve(pixels[number], deviations[number], sides[number], detection, frame)
            if result is None or result.camera_from_object[2, 3] <= 0.0:
                continue
            pose = result.camera_from_object
            hypotheses.append(
                PoseHypothesis(
                    object_index=detection.object_index,
                    detection_index=number,
                    camera_from_object=pose,
                    score=float(np.clip(detection.score * self._score(deviations[number] / sides[number]), 0.0, 1.0)),
                    inliers=int(result.inliers.sum()),
                    covariance=published_covariance(covariance, pose, self.settings.covariance_scale),
                )
            )
        return hypotheses

    @torch.inference_mode()
    def predict(self, crops: Crops) -> CornerPredictions:
        """Run the network on crops."""
        pixels = crops.pixels.to(memory_format=torch.channels_last)
        with autocast(self.device):
            return self.network(pixels, crops.object_index, self.settings.domain == "real")

    @staticmethod
    def in_image(predictions: CornerPredictions, crops: Crops) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels (N, 8, 2) of the corners in the image and standard deviations (N, 8) of their coordinates."""
        centre, side = crops.square[:, None, :2], crops.square[:, None, 2:]
        pixels = centre + predictions.offsets * side
        deviations = math.sqrt(2.0) * predictions.log_scales.exp() * side[..., 0]
        places, spread = to_host(pixels.double(), deviations.double())
        return places, spread

    def _solve(
        self, pixels: np.ndarray, deviations: np.ndarray, side: float, detection: Detection, frame: Frame
    ) -> tuple[PnpResult | None, np.ndarray | None]:
        """Solve PnP from the corners (8, 2), weighted by their deviations (8,), and from the box; with covariance."""
        settings = self.settings
        solve = partial(
            solve_pnp,
            pixels,
            self.points[detection.object_index],
            frame.camera.intrinsics,
            weights=1.0 / deviations,
            iterations=settings.ransac_iterations,
            seed=settings.seed,
            known_deviations=True,
        )
        alone = solve(threshold_px=max(1.0, settings.ransac_threshold_ratio * float(side)))
        if alone is None:
            return None, None
        redundant = settings.redundancy * alone.covariance
        if not settings.box_prior.enabled:
            return alone, redundant
        # The box may move the corners that were drawn together a long way: what agreed stays in.
        refit = partial(solve, weights=alone.inliers / deviations, threshold_px=math.inf)
        uncertainty = settings.box_prior.uncertainty(settings.redundancy)
        outline = self._outline[detection.object_index]
        placed = refit_in_box(alone, refit, detection, outline, frame.camera, uncertainty)
        return (alone, redundant) if placed is alone else (placed, placed.covariance)

    def _score(self, deviations: np.ndarray) -> float:
        """Return the chance, as the network sees it, that a coordinate of a corner is right, the mean over corners.

        Args:
            deviations: of the corners (8,), in sides of the crop.
        """
        scale = deviations / math.sqrt(2.0)
        return float((1.0 - np.exp(-self.settings.score_error_ratio / scale)).mean())


def load(context: LoadContext) -> Corners:
    """Load the estimator of a bundle.

    Raises:
        BundleError: if weights are missing, damaged or do not fit.
    """
    return Corners.from_bundle(context.bundle, context.device, context.settings)
