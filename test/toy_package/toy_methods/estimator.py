"""The backend `toy`: poses at run time."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.methods.base import Detection, Frame, LoadContext, PoseHypothesis
from pose_estimation_ros.networks.placement import depth_of
from pose_estimation_ros.networks.precision import autocast
from pose_estimation_ros.objects.object_tensors import object_sizes

from .network import ToyNet
from .settings import ToySettings


class Toy:
    """Put every object where the network sees it."""

    def __init__(self, context: LoadContext) -> None:
        settings: ToySettings = context.settings
        self.network = context.bundle.load_network("toy", ToyNet, context.device)
        self.device = context.device
        self.crop_size, self.crop_padding = context.bundle.network("toy").input_size, settings.crop_padding
        self.rotation = Rotation.from_euler("z", settings.rotation_deg, degrees=True).as_matrix()
        self.centre_m = [model.centre_m for model in context.bundle.catalog]
        self.diameter_m = object_sizes(context.bundle.catalog, context.device)[2]

    @torch.inference_mode()
    def predict(self, crops: Crops) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels (N, 2) and depths (N,) in metres of the objects' centres."""
        with autocast(self.device):
            placement = self.network(crops.pixels, crops.object_index)
        depth = depth_of(placement[:, 2], crops.camera, self.diameter_m[crops.object_index], self.crop_size)
        pixels = crops.square[:, :2] + placement[:, :2] * crops.square[:, 2:]
        return pixels.cpu().double().numpy(), depth.cpu().double().numpy()

    def estimate(self, frame: Frame, crops: Crops, detections: list[Detection]) -> list[PoseHypothesis]:
        """Estimate as `Backend` says."""
        pixels, depths = self.predict(crops)
        rays = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(frame.camera.intrinsics).T
        hypotheses = []
        for number, (item, ray, depth) in enumerate(zip(detections, rays, depths, strict=True)):
            pose = np.eye(4)
            pose[:3, :3] = self.rotation
            pose[:3, 3] = depth * ray - self.rotation @ self.centre_m[item.object_index]
            hypotheses.append(PoseHypothesis(item.object_index, number, pose, 0.5 * item.score))
        return hypotheses


def load(context: LoadContext) -> Toy:
    """Load the estimator of a bundle."""
    return Toy(context)
