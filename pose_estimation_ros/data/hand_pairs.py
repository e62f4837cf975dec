"""Pairs of crops of hands: depth images with known joints, and renderings of hands with these joints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pose_estimation_ros.data.hand_fit import fit_hands
from pose_estimation_ros.data.hand_scenes import (
    WINDOW_M,
    WINDOW_PX,
    HandCropConfig,
    HandCrops,
    HandScenes,
    cut_crops,
    draw_hands,
)
from pose_estimation_ros.data.nyu_hand import PALM
from pose_estimation_ros.data.photo_pairs import PhotoPairs
from pose_estimation_ros.geometry.camera import Camera

_MOST_RESIDUAL_M = 0.008  # by which the joints of a fitted hand may be off in the mean
_WRIST = [11, 12]
_PAST_WRIST, _LEAST = 1.15, 0.25  # of the way from the palm to the wrist; at least so many halves of the cube's side
_PART = 16  # windows that are drawn at once


@dataclass(frozen=True)
class HandPairCrops(HandCrops):
    """Crops, with what two images of a pair both show."""

    mask_visible: Tensor  # (B, S, S) false where the forearm may be, which joints say nothing about


def hand_windows(images: Iterable[Tensor], camera: Camera, joints: Tensor) -> HandScenes:
    """Cut what is about hands out of depth images, by the nearest pixel, in windows like those that trainings draw.

    Args:
        images: undistorted, metres, shape (H, W) each; zero, NaN and infinity are no measurements.
        camera: that took them.
        joints: in them, metres, shape (N, 14, 3).

    Returns:
        N windows; joints stay in the camera's axes.

    Raises:
        ValueError: if there are more or fewer images than hands, or a palm is behind the camera.
    """
    if not bool((joints[:, PALM, 2] > 0.0).all()):
        raise ValueError("hand_windows: a palm behind the camera")
    matrix = torch.from_numpy(camera.undistorted().intrinsics).float()
    windows, matrices = [], []
    for image, hand in zip(images, joints.float(), strict=True):
        window, own = _window(image.float(), matrix, hand[PALM])
        windows.append(window)
        matrices.append(own)
    return HandScenes(torch.stack(windows), torch.stack(matrices), joints.float())


def _window(image: Tensor, matrix: Tensor, palm: Tensor) -> tuple[Tensor, Tensor]:
    """Return the window about a palm (P, P) and its camera matrix (3, 3)."""
    focal, middle = matrix[[0, 1], [0, 1]], matrix[:2, 2]
    pixel = focal * palm[:2] / palm[2] + middle
    step = focal * WINDOW_M / (WINDOW_PX * palm[2])  # pixels of the image to one of the window
    offset = torch.arange(WINDOW_PX) - (WINDOW_PX - 1) / 2.0
    columns, rows = ((pixel[axis] + step[axis] * offset).round().long() for axis in range(2))
    height, width = image.shape
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    found = image[rows.clamp(0, height - 1)[:, None], columns.clamp(0, width - 1)]
    measured = inside & torch.isfinite(found) & (found > 0.0)
    own = torch.eye(3)
    own[[0, 1], [0, 1]] = focal / step
    own[:2, 2] = (middle - pixel) / step + (WINDOW_PX - 1) / 2.0
    return torch.where(measured, found, torch.inf), own


class HandPairSource:
    """Makes pairs of crops.

    Args:
        scenes: windows of depth images.
        config: how crops are cut.

    Raises:
        ValueError: if most joints are those of no right hand.
    """

    def __init__(self, scenes: HandScenes, config: HandCropConfig) -> None:
        fitted = fit_hands(scenes.joints)
        fits = fitted.residual <= _MOST_RESIDUAL_M
        if 2 * int(fits.sum()) < len(scenes):
            raise ValueError(
                f"{int((~fits).sum())} of {len(scenes)} hands have joints that no right hand can have: they are "
                f"{1e3 * float(fitted.residual.median()):.0f} mm off in the median; are they left ones, is y up?"
            )
        self.left_out = int((~fits).sum())
        self.config = config
        self.real = scenes.chosen(fits.nonzero()[:, 0])
        drawn = [
            draw_hands(fitted.shapes.chosen(part), fitted.skeletons.chosen(part), scenes.intrinsics[part])
            for part in fits.nonzero()[:, 0].split(_PART)
        ]
        self.rendered = HandScenes(torch.cat(drawn), self.real.intrinsics, self.real.joints)

    def pairs(self, count: int, seed: int) -> PhotoPairs[HandPairCrops]:
        """Make pairs; same seed, same pairs.

        Args:
            count: how many.
            seed: of what is drawn.
        """
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randint(len(self.real), (count,), generator=generator)
        crop_seed = int(torch.randint(2**62, (1,), generator=generator))
        both = []
        for scenes in (self.real, self.rendered):
            crops = cut_crops(scenes.chosen(chosen), self.config, torch.Generator().manual_seed(crop_seed))
            both.append(HandPairCrops(**vars(crops), mask_visible=before_wrist(crops.joints, self.config.size)))
        return PhotoPairs(*both)


def before_wrist(joints: Tensor, size: int) -> Tensor:
    """Return which pixels (B, size, size) of crops are on the hand's side of the wrist; joints (B, 14, 3) in cubes."""
    palm, wrist = joints[:, PALM, :2], joints[:, _WRIST, :2].mean(dim=1)
    along = wrist - palm
    length = along.norm(dim=1, keepdim=True)
    direction = along / length.clamp(min=1e-6)
    place = (torch.arange(size) + 0.5) * (2.0 / size) - 1.0
    y, x = torch.meshgrid(place, place, indexing="ij")
    ahead = ((torch.stack([x, y], dim=2) - palm[:, None, None]) * direction[:, None, None]).sum(dim=3)
    return ahead < torch.clamp(_PAST_WRIST * length, min=_LEAST)[:, None]
