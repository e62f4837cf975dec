"""Depth images of hands that nobody has: random proportions, articulations, views and cameras, with the true joints."""

from __future__ import annotations

from dataclasses import dataclass
from math import tau

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from pose_estimation_ros.data.depth_noise import DepthNoise, add_depth_noise
from pose_estimation_ros.data.hand_crops import (
    NEAREST_PART_M,
    crop_cubes,
    depth_points,
    nearest_part,
    points_to_cube,
    settle_centre,
)
from pose_estimation_ros.data.hand_skeleton import (
    HandShapes,
    Skeletons,
    place_bones,
    sample_articulations,
    sample_shapes,
    view_rotations,
)
from pose_estimation_ros.data.hand_skin import cover
from pose_estimation_ros.data.nyu_hand import PALM
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.rendering.spheres import sphere_depth

WINDOW_PX, WINDOW_M = 152, 0.6  # side of the images that are drawn, and what it is at the palm: hand and forearm
_REACH_M = 0.16  # of a hand from the palm, about
_COARSE = 3  # one pixel of so many, along each axis, is enough for a rough centre


class HandSceneConfig(BaseModel):
    """What hands there are and how they are seen."""

    model_config = ConfigDict(extra="forbid")

    scale: tuple[float, float] = (0.78, 1.08)  # of hands; 1 is a large man's, 0.2 m from the wrist to the longest tip
    variation: float = Field(default=0.05, ge=0.0)  # standard deviation of every length and width, relative
    distance_m: tuple[float, float] = (0.35, 1.1)
    # Mean and standard deviation in degrees, see `view_rotations`.
    roll_deg: tuple[float, float] = (0.0, 35.0)
    pitch_deg: tuple[float, float] = (15.0, 25.0)
    yaw_deg: tuple[float, float] = (-20.0, 45.0)
    around_share: float = Field(default=0.1, ge=0.0, le=1.0)  # hands turned about their length to any side
    noisy_share: float = Field(default=0.5, ge=0.0, le=1.0)  # images of a camera with noise
    noise: DepthNoise = DepthNoise()


class HandCropConfig(BaseModel):
    """How crops for the training are cut."""

    model_config = ConfigDict(extra="forbid")

    size: int = Field(default=64, ge=32)  # pixels, a multiple of 32
    cube_side_m: float = Field(default=0.3, gt=0.0)
    centre_std_m: float = Field(default=0.007, ge=0.0)  # error of the centre of a crop along every axis
    # Crops for the refinement of centres are larger: the search may begin at the other end of a forearm.
    search_scale: float = Field(default=1.8, ge=1.0)  # how many times
    rough_std_m: float = Field(default=0.008, ge=0.0)  # error of their centres, along every axis, about what was found
    near_share: float = Field(default=0.5, ge=0.0, le=1.0)  # of them that are about the palm, as when refined before
    near_std_m: float = Field(default=0.025, ge=0.0)  # error of their centres
    rotated_share: float = Field(default=0.25, ge=0.0, le=1.0)  # crops turned by any angle
    per_scene: int = Field(default=2, ge=1)  # crops cut out of one drawn image; drawing takes longer than cutting


@dataclass(frozen=True)
class HandScenes:
    """Depth images of B hands."""

    depth: Tensor  # (B, H, W) metres, infinity where nothing is
    intrinsics: Tensor  # (B, 3, 3)
    joints: Tensor  # (B, 14, 3) in camera axes, metres

    def __len__(self) -> int:
        return len(self.depth)

    def chosen(self, numbers: Tensor) -> HandScenes:
        """Return some of them, by their numbers (N,)."""
        return HandScenes(self.depth[numbers], self.intrinsics[numbers], self.joints[numbers])


@dataclass(frozen=True)
class HandCrops:
    """Crops of B hands with what networks shall say of them."""

    crops: Tensor  # (B, 1, S, S) about the palm, nearly
    joints: Tensor  # (B, 14, 3) in these cubes
    rough_crops: Tensor  # (B, 1, S, S) of larger cubes, about where the search found something, or near the palm
    palm: Tensor  # (B, 3) in those cubes

    def __len__(self) -> int:
        return len(self.crops)


def sample_hands(
    count: int, config: HandSceneConfig, generator: torch.Generator
) -> tuple[HandShapes, Skeletons, Tensor]:
    """Draw hands, the palm on the camera's axis; return shapes, skeletons and intrinsics (B, 3, 3) of their images."""
    shapes = sample_shapes(count, generator, config.scale, config.variation)
    skeletons = place_bones(shapes, sample_articulations(count, generator))
    roll, pitch, yaw = (
        mean + deviation * torch.randn(count, generator=generator)
        for mean, deviation in (config.roll_deg, config.pitch_deg, config.yaw_deg)
    )
    around = torch.rand(count, generator=generator) < config.around_share
    yaw = torch.where(around, 360.0 * torch.rand(count, generator=generator), yaw)
    rotation = view_rotations(roll, pitch, yaw)
    low, high = config.distance_m
    place = torch.zeros(count, 3)
    place[:, 2] = low + (high - low) * torch.rand(count, generator=generator)
    intrinsics = torch.zeros(count, 3, 3)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = WINDOW_PX * place[:, 2] / WINDOW_M
    intrinsics[:, :2, 2] = (WINDOW_PX - 1) / 2.0
    intrinsics[:, 2, 2] = 1.0
    return shapes, skeletons.with_palms_at(rotation, place), intrinsics


def draw_scenes(count: int, config: HandSceneConfig, generator: torch.Generator) -> HandScenes:
    """Draw depth images of so many hands, some as cameras with noise see them."""
    shapes, skeletons, intrinsics = sample_hands(count, config, generator)
    depth = draw_hands(shapes, skeletons, intrinsics)
    return HandScenes(_seen(depth, intrinsics, config, generator), intrinsics, skeletons.joints)


def draw_hands(shapes: HandShapes, skeletons: Skeletons, intrinsics: Tensor) -> Tensor:
    """Draw exact depth windows (B, P, P) of given hands; intrinsics (B, 3, 3) are those of the windows."""
    return sphere_depth(*cover(shapes, skeletons), intrinsics, WINDOW_PX, WINDOW_PX)


def draw_frames(count: int, config: HandSceneConfig, camera: Camera, generator: torch.Generator) -> HandScenes:
    """Draw depth images of one camera, each with a hand that is wholly inside, as far as its size allows."""
    shapes, skeletons, _ = sample_hands(count, config, generator)
    intrinsics = torch.from_numpy(camera.intrinsics).float()
    size = torch.tensor([camera.width, camera.height], dtype=torch.float32)
    focal, distance = intrinsics[[0, 1], [0, 1]], skeletons.joints[:, PALM, 2:]
    margin = torch.minimum(focal * _REACH_M / distance, 0.5 * size)
    pixel = margin + (size - 2.0 * margin) * torch.rand(count, 2, generator=generator)
    shift = torch.cat([(pixel - intrinsics[:2, 2]) / focal * distance, torch.zeros(count, 1)], dim=1)
    skeletons = skeletons.moved(torch.eye(3).expand(count, 3, 3), shift)
    every = intrinsics.expand(count, 3, 3)
    depth = sphere_depth(*cover(shapes, skeletons), every, camera.height, camera.width)
    return HandScenes(_seen(depth, every, config, generator), every, skeletons.joints)


def _seen(depth: Tensor, intrinsics: Tensor, config: HandSceneConfig, generator: torch.Generator) -> Tensor:
    """Return the images, a share of them as cameras with noise see them."""
    noisy = torch.rand(len(depth), generator=generator) < config.noisy_share
    if bool(noisy.any()):
        depth[noisy] = add_depth_noise(depth[noisy], intrinsics[noisy], config.noise, generator)
    return depth


def cut_crops(scenes: HandScenes, config: HandCropConfig, generator: torch.Generator) -> HandCrops:
    """Cut the crops that a training needs out of scenes."""
    count = len(scenes)
    side = torch.full((count,), config.cube_side_m)
    roll = _rolls(count, config, generator)

    def cut(centre: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        crops = crop_cubes(scenes.depth, scenes.intrinsics, centre, side, config.size, roll)
        return crops, points_to_cube(scenes.joints, scenes.intrinsics, centre, side, roll)

    palm = scenes.joints[:, PALM]
    crops, joints = cut(palm + config.centre_std_m * torch.randn(count, 3, generator=generator), side)
    is_near = torch.rand(count, 1, generator=generator) < config.near_share
    deviation = torch.where(is_near, config.near_std_m, config.rough_std_m)
    about = torch.where(is_near, palm, rough_centres(scenes, side))
    about = about + deviation * torch.randn(count, 3, generator=generator)
    rough_crops, seen_from_rough = cut(about, config.search_scale * side)
    return HandCrops(crops, joints, rough_crops, seen_from_rough[:, PALM])


def _rolls(count: int, config: HandCropConfig, generator: torch.Generator) -> Tensor:
    turned = torch.rand(count, generator=generator) < config.rotated_share
    return torch.where(turned, tau * torch.rand(count, generator=generator), 0.0)


def rough_centres(scenes: HandScenes, side: Tensor) -> Tensor:
    """Return where the search at run time would find the hands (B, 3)."""
    coarse = scenes.depth[:, ::_COARSE, ::_COARSE]
    intrinsics = scenes.intrinsics * torch.tensor([[1.0 / _COARSE], [1.0 / _COARSE], [1.0]])
    points, measured = depth_points(coarse, intrinsics)
    return settle_centre(points, measured, nearest_part(points, measured, NEAREST_PART_M), side)


class HandCropDraw:
    """Makes training crops from seeds."""

    def __init__(self, scenes: HandSceneConfig, crops: HandCropConfig) -> None:
        self.scenes, self.crops = scenes, crops

    def __call__(self, seed: int, samples: int) -> HandCrops:
        """Return so many crops, the same for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        scenes = draw_scenes(-(-samples // self.crops.per_scene), self.scenes, generator)
        chosen = torch.arange(samples) // self.crops.per_scene
        return cut_crops(scenes.chosen(chosen), self.crops, generator)

    def joints(self, seed: int, samples: int) -> Tensor:
        """Return the joints (B, 14, 3) in their cubes of so many hands that are not drawn."""
        generator = torch.Generator().manual_seed(seed)
        _, skeletons, intrinsics = sample_hands(samples, self.scenes, generator)
        error = self.crops.centre_std_m * torch.randn(samples, 3, generator=generator)
        side = torch.full((samples,), self.crops.cube_side_m)
        roll = _rolls(samples, self.crops, generator)
        return points_to_cube(skeletons.joints, intrinsics, skeletons.joints[:, PALM] + error, side, roll)
