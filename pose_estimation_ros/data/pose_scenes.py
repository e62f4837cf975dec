"""Whole images with known poses: meshes ray-cast in one scene, where they hide each other as real objects do.

`scenes` paints stored views into an image, which is fast and enough for boxes and masks; their poses are only about
right. Here every object is cast where it stands, so that errors of poses can be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.data.photograph import PhotographConfig, Photographer, SceneMaps
from pose_estimation_ros.data.view_bank import sample_directions
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.geometry.symmetry import rotation_about
from pose_estimation_ros.geometry.virtual_camera import look_at
from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.rendering.raycaster import RayCaster
from pose_estimation_ros.rendering.windows import corners_of, visible_window

_TRIES = 20  # places that are tried before an object is left out


class PoseSceneConfig(BaseModel):
    """How scenes are made."""

    model_config = ConfigDict(extra="forbid")

    width: int = 640
    height: int = 480
    focal_px: tuple[float, float] = (500.0, 700.0)
    objects: tuple[int, int] = (3, 9)  # known objects in a scene
    clutter: tuple[int, int] = (4, 16)  # foreign shapes
    repeated: float = 0.15  # share of scenes in which an object may appear more than once
    crowding: tuple[float, float] = (0.35, 1.2)  # distance between neighbours, in the mean of their diameters
    photograph: PhotographConfig = PhotographConfig()


@dataclass(frozen=True)
class PoseScene:
    """An image and the N known objects in it."""

    frame: Frame
    object_index: np.ndarray  # (N,) into the catalog
    camera_from_object: np.ndarray  # (N, 4, 4) metres
    visibility: np.ndarray  # (N,) visible share of the silhouette inside the image


class PoseSceneSource:
    """Makes scenes without end.

    Args:
        catalog: the known objects.
        meshes: their meshes.
        clutter: meshes that are nobody's.
        backgrounds: pictures, uint8 (P, 3, h, w).
        prior: from where objects are seen, and how far away they are.
        config: how scenes are made.
        seed: same seed, same scenes.
    """

    def __init__(
        self,
        catalog: Catalog,
        meshes: list[Mesh],
        clutter: list[Mesh],
        backgrounds: Tensor,
        prior: PosePrior,
        config: PoseSceneConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.config = config or PoseSceneConfig()
        self._known = len(meshes)
        self._caster = RayCaster([*meshes, *clutter])
        self._corners = [corners_of(mesh) for mesh in [*meshes, *clutter]]
        self._sizes = [model.diameter_m for model in catalog] + [
            float(np.linalg.norm(np.ptp(mesh.vertices, axis=0))) for mesh in clutter
        ]
        self._prior = prior
        self._random = np.random.default_rng(seed)
        self._photographer = Photographer(backgrounds, self.config.photograph, self._random, seed)

    def next(self) -> PoseScene:
        """Make the next scene."""
        config = self.config
        focal = self._random.uniform(*config.focal_px)
        centre = self._random.normal([(config.width - 1) / 2.0, (config.height - 1) / 2.0], 6.0)
        camera = Camera(
            np.array([[focal, 0.0, centre[0]], [0.0, focal, centre[1]], [0.0, 0.0, 1.0]]), config.width, config.height
        )
        index, poses = self._arrange(camera)
        maps = SceneMaps(config.height, config.width)
        whole = [self._cast(maps, number, index[number], poses[number], camera) for number in range(len(index))]
        rgb = self._photographer.picture(maps)
        known = [number for number in range(len(index)) if index[number] < self._known and whole[number] > 0]
        visible = np.bincount(maps.owner[maps.owner >= 0], minlength=len(index))
        return PoseScene(
            Frame(rgb, camera),
            np.array([index[number] for number in known], dtype=np.int64),
            np.reshape([poses[number] for number in known], (-1, 4, 4)),
            np.array([visible[number] / whole[number] for number in known]),
        )

    def _arrange(self, camera: Camera) -> tuple[list[int], list[np.ndarray]]:
        """Choose objects and put them on a plane about a point that the camera looks at."""
        config, random = self.config, self._random
        count = int(random.integers(config.objects[0], config.objects[1] + 1))
        repeated = random.random() < config.repeated or count > self._known
        wanted = (
            random.choice(self._known, count, replace=True) if repeated else random.permutation(self._known)[:count]
        )
        foreign = random.integers(config.clutter[0], config.clutter[1] + 1) if len(self._corners) > self._known else 0
        others: Sequence[int] | np.ndarray = (
            random.integers(self._known, len(self._corners), foreign) if foreign else []
        )
        order = random.permutation([*wanted, *others]).astype(int)
        world, upright = self._camera_pose()
        spacing = random.uniform(*config.crowding)
        places: list[np.ndarray] = []
        index: list[int] = []
        poses: list[np.ndarray] = []
        for number in order:
            place = self._place(places, index, int(number), spacing)
            if place is None:
                continue
            pose = world @ self._standing(int(number), place, upright)
            pixel = camera.project(pose[:3, 3][None])[0]
            outside = not np.isfinite(pixel).all() or not (0 < pixel[0] < camera.width and 0 < pixel[1] < camera.height)
            if pose[2, 3] < 0.5 * self._prior.distance_m[0] or outside:
                continue
            places.append(place)
            index.append(int(number))
            poses.append(pose)
        return index, poses

    def _camera_pose(self) -> tuple[np.ndarray, bool]:
        """Return camera from world (4, 4), z of the world being up, and whether objects stand upright in it."""
        prior, random = self._prior, self._random
        upright = prior.elevation_deg[1] - prior.elevation_deg[0] < 170.0
        inside = prior.model_copy(update={"other": 0.0, "elevation_deg": _above_ground(prior.elevation_deg)})
        rotation = look_at(sample_directions(inside, 1, random))[0]
        roll = np.deg2rad(random.uniform(*(prior.roll_deg if upright else (-180.0, 180.0))))
        low, high = np.log(prior.distance_m)
        margin = min(
            0.15, (high - low) / 4.0
        )  # so that most objects are within the limits, nearer and farther ones too
        world = np.eye(4)
        world[:3, :3] = rotation_about([0.0, 0.0, 1.0], [0.0, 0.0, 0.0], roll)[:3, :3] @ rotation
        distance = np.exp(random.uniform(low + margin, high - margin))
        world[:3, 3] = distance * np.array([random.normal(0.0, 0.08), random.normal(0.0, 0.06), 1.0])
        return world, upright

    def _place(self, places: list[np.ndarray], index: list[int], number: int, spacing: float) -> np.ndarray | None:
        """Find a free place (2,) on the plane, near the middle first."""
        reach = 0.12
        for _ in range(_TRIES):
            place = self._random.normal(0.0, reach, 2)
            apart = [
                np.linalg.norm(place - other) - spacing * (self._sizes[number] + self._sizes[own]) / 2.0
                for other, own in zip(places, index, strict=True)
            ]
            if min(apart, default=0.0) >= 0.0:
                return place
            reach *= 1.12
        return None

    def _standing(self, number: int, place: np.ndarray, upright: bool) -> np.ndarray:
        """Return world from object (4, 4) of an object that rests on the plane."""
        pose = np.eye(4)
        if upright and number < self._known and self._random.random() >= self._prior.other:
            pose = rotation_about([0.0, 0.0, 1.0], [0.0, 0.0, 0.0], self._random.uniform(0.0, 2.0 * np.pi))
        else:
            pose[:3, :3] = random_rotation(self._random)
        lowest = (self._corners[number] @ pose[:3, :3].T)[:, 2].min()
        pose[:3, 3] = [place[0], place[1], -lowest]
        return pose

    def _cast(self, maps: SceneMaps, number: int, mesh: int, pose: np.ndarray, camera: Camera) -> int:
        """Draw one object into the maps where it is nearest; return how many pixels it has inside the image."""
        window = visible_window(self._corners[mesh] @ pose[:3, :3].T + pose[:3, 3], camera)
        if window is None:
            return 0
        x, y, width, height = window
        intrinsics = torch.from_numpy(camera.crop(x, y, width, height).intrinsics)[None]
        part = self._caster.render(torch.tensor([mesh]), torch.from_numpy(pose)[None], intrinsics, height, width)
        tint = np.exp(self._random.uniform(-0.15, 0.15, 3) + self._random.uniform(-0.25, 0.25))
        maps.put(number, slice(y, y + height), slice(x, x + width), part, tint.astype(np.float32))
        return int(part.mask.sum())


def _above_ground(elevation_deg: tuple[float, float]) -> tuple[float, float]:
    """Return the elevations from which a camera sees what stands on a plane."""
    low = min(max(elevation_deg[0], 12.0), 80.0)
    return low, max(low, min(elevation_deg[1], 80.0))


def random_rotation(generator: np.random.Generator) -> np.ndarray:
    """Draw a rotation (3, 3) evenly."""
    from scipy.spatial.transform import Rotation

    return Rotation.random(random_state=generator).as_matrix()
