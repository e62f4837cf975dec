"""From a depth image to the joints of the hands in it: search, refinement of the centre, joints, and a look back."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pose_estimation_ros.data.hand_crops import crop_cubes, points_from_cube
from pose_estimation_ros.data.nyu_hand import PALM
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.hands.localisation import find_centres
from pose_estimation_ros.methods.hands.network import HandNet
from pose_estimation_ros.methods.hands.settings import HandSettings
from pose_estimation_ros.networks.precision import autocast

ROLE = "hands"
_CENTRE_PASSES = 2  # how often the centre is refined before joints are regressed about it
_BEFORE_SURFACE = 0.1  # halves of the cube's side that a joint may lie before what was measured


@dataclass(frozen=True)
class Hand:
    """One hand."""

    joints: np.ndarray  # (14, 3) float64, metres, camera axes, as `nyu_hand.JOINTS` has them
    score: float  # share of the joints that what was measured allows
    inside: float  # share of the joints inside the image


@dataclass(frozen=True)
class HandResult:
    """What was found in one image."""

    hands: list[Hand]
    reason: str | None = None  # why there are none
    timings_s: dict[str, float] = field(default_factory=dict)


class HandFinder:
    """Find hands and their joints in depth images.

    Args:
        network: its weights loaded, on its device.
        settings: where to look, and what to keep.
    """

    def __init__(self, network: HandNet, settings: HandSettings) -> None:
        self.network, self.settings = network, settings
        self.device = next(network.parameters()).device

    def find(self, depth: np.ndarray, camera: Camera) -> HandResult:
        """Find the hands in one image.

        Args:
            depth: along z in metres, shape (H, W); zero, NaN and infinity are no measurements.
            camera: that took it.

        Raises:
            ValueError: if the image has another size than the camera's.
        """
        if depth.shape != (camera.height, camera.width):
            raise ValueError(
                f"HandFinder.find: depth of shape {depth.shape}, expected {(camera.height, camera.width)} as the "
                "camera's height and width"
            )
        started = time.perf_counter()
        settings = self.settings
        image = torch.from_numpy(camera.undistort_depth(np.asarray(depth, dtype=np.float32)))
        in_range = (image > settings.near_m) & (image < settings.far_m)
        image = torch.where(in_range, image, torch.inf)
        if not bool(in_range.any()):
            return HandResult([], f"no depth measured between {settings.near_m:g} and {settings.far_m:g} m")
        intrinsics = torch.from_numpy(camera.intrinsics).float()
        areas = settings.min_area_m2, settings.max_area_m2
        centres = find_centres(image, intrinsics, settings.cube_side_m, areas, settings.max_hands)
        searched = time.perf_counter()
        if len(centres) == 0:
            return HandResult([], "nothing of a hand's size in range", {"search": searched - started})
        joints, scores = self.joints_at(image, intrinsics, centres)
        timings = {"search": searched - started, "joints": time.perf_counter() - searched}
        inside = _share_inside(joints, camera)
        hands = [
            Hand(points, float(score), float(share))
            for points, score, share in zip(joints, scores, inside, strict=True)
        ]
        return self._kept(hands, timings)

    def warm_up(self) -> None:
        """Run the network once, so that the first image does not take longer than others."""
        nothing = torch.full((2, 2), torch.inf)
        self.joints_at(nothing, torch.eye(3), torch.tensor([[0.0, 0.0, 0.5]]))

    def _kept(self, hands: list[Hand], timings: dict[str, float]) -> HandResult:
        whole = [hand for hand in hands if hand.inside >= self.settings.min_inside]
        kept = [hand for hand in whole if hand.score >= self.settings.min_score]
        reason = None
        if not kept:
            reason = "what is in range does not look like a hand" if whole else "the image's rim cuts the hand"
        return HandResult(kept, reason, timings)

    @torch.inference_mode()
    def joints_at(self, depth: Tensor, intrinsics: Tensor, centres: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Regress the joints of hands about rough centres.

        Args:
            depth: one image (H, W), or one for each of N hands (N, H, W); metres, infinity where nothing was measured.
            intrinsics: camera matrix (3, 3), or one for each hand (N, 3, 3).
            centres: camera axes, metres, shape (N, 3).

        Returns:
            Joints (N, 14, 3), metres, and the share of them that what was measured allows (N,).
        """
        count = len(centres)
        depth = depth.expand(count, *depth.shape[-2:])
        intrinsics = intrinsics.expand(count, 3, 3)
        side = torch.full((count,), self.settings.cube_side_m)
        centre, larger = centres, self.network.search_scale * side
        for _ in range(_CENTRE_PASSES):
            crops = self._crops(depth, intrinsics, centre, larger)
            with autocast(self.device):
                palm = self.network.centre(crops.to(self.device)).float().cpu()
            centre = points_from_cube(self._mirrored(palm)[:, None], intrinsics, centre, larger)[:, 0]
        for _ in range(self.settings.passes):
            crops = self._crops(depth, intrinsics, centre, side)
            with autocast(self.device):
                found = self.network(crops.to(self.device), self.settings.domain == "real").float().cpu()
            joints = points_from_cube(self._mirrored(found), intrinsics, centre, side)
            centre = joints[:, PALM]
        return joints.double().numpy(), _share_allowed(found, crops).numpy()

    def _crops(self, depth: Tensor, intrinsics: Tensor, centre: Tensor, side: Tensor) -> Tensor:
        crops = crop_cubes(depth, intrinsics, centre, side, self.network.size)
        return crops.flip(3) if self.settings.side == "left" else crops

    def _mirrored(self, values: Tensor) -> Tensor:
        return values * torch.tensor([-1.0, 1.0, 1.0]) if self.settings.side == "left" else values


def _share_inside(joints: np.ndarray, camera: Camera) -> np.ndarray:
    """Return the share of the joints (N, J, 3) that lie inside the image (N,)."""
    pixels = camera.undistorted().project(joints.reshape(-1, 3)).reshape(*joints.shape[:2], 2)
    limits = np.array([camera.width, camera.height]) - 0.5
    return ((pixels >= -0.5) & (pixels < limits)).all(axis=2).mean(axis=1)


def _share_allowed(joints: Tensor, crops: Tensor) -> Tensor:
    """Return the share (N,) of joints (N, J, 3) in cubes that lie within the outline, on the surface or behind it."""
    size = crops.shape[-1]
    nearest = -F.max_pool2d(-crops, 3, 1, 1)[:, 0]
    pixel = ((joints[..., :2] + 1.0) * (size / 2.0) - 0.5).round().long()
    inside = ((pixel >= 0) & (pixel < size)).all(dim=2)
    pixel = pixel.clamp(0, size - 1)
    surface = nearest.flatten(1).gather(1, pixel[..., 1] * size + pixel[..., 0])
    return (inside & (surface < 1.0) & (joints[..., 2] > surface - _BEFORE_SURFACE)).float().mean(dim=1)


def load(context: LoadContext) -> HandFinder:
    """Load the network of a bundle.

    Raises:
        BundleError: if the bundle has none.
    """
    network = context.bundle.load_network(ROLE, HandNet, context.device)
    return HandFinder(network, context.settings)
