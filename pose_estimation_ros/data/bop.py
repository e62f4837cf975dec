"""Data sets in the layout of the BOP challenge (scene-wise). Millimetres live only in the files; values are metres.

Boxes are read as BOP compares them: (x, y, w, h) becomes the corners (x, y, x + w, y + h).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.catalog import Catalog, catalog_from_bop

TARGETS_FILE = "test_targets_bop19.json"
MIN_VISIBILITY = 0.1  # BOP scores only instances that are at least this visible
_MM = 1000.0  # millimetres per metre
_IMAGE_FOLDERS = ("rgb", "gray")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True)
class GroundTruth:
    """One annotated object instance of an image."""

    object_id: int
    camera_from_object: np.ndarray  # (4, 4) float64, metres
    visibility: float = 1.0  # visible share of the silhouette, 0..1
    box_visible: np.ndarray | None = None  # (4,) x0 y0 x1 y1 of the visible part, pixels; None where unknown or hidden
    box_full: np.ndarray | None = None  # (4,) x0 y0 x1 y1 of the whole silhouette, may leave the image
    mask_visible_path: Path | None = None


@dataclass(frozen=True)
class BopImage:
    """One image of a data set; the pixels stay on the disk."""

    scene_id: int
    image_id: int
    rgb_path: Path
    depth_path: Path | None
    depth_scale: float  # metres per unit of the depth file
    camera: Camera
    ground_truth: tuple[GroundTruth, ...]

    @property
    def key(self) -> tuple[int, int]:
        """Scene and image id."""
        return self.scene_id, self.image_id


@dataclass(frozen=True)
class BopTarget:
    """An object that an evaluation asks for in one image."""

    scene_id: int
    image_id: int
    object_id: int
    instances: int


class BopDataset:
    """A split of a data set in BOP layout.

    Args:
        root: folder with the splits, the models and the targets file.
        split: name of the split's folder.
        models: folder of the meshes that errors are measured on; `models` is taken where it is absent.

    Raises:
        FileNotFoundError: if a part of the layout is missing; the message names it.
        ValueError: if a file contradicts the layout.
    """

    def __init__(self, root: str | Path, split: str = "test", models: str = "models_eval") -> None:
        self.root = Path(root)
        self.split = split
        folder = self.root / split
        if not folder.is_dir():
            there = ", ".join(sorted(path.parent.parent.name for path in self.root.glob("*/*/scene_camera.json")))
            raise FileNotFoundError(f"{folder}: no such split; expected a BOP data set (there: {there or 'none'})")
        self.models_dir = self.root / (models if (self.root / models).is_dir() else "models")
        scenes = sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())
        self.images: list[BopImage] = [image for scene in scenes for image in _read_scene(scene)]
        if not self.images:
            raise FileNotFoundError(
                f"{folder}: no images; expected folders such as 000001 with rgb/ and scene_camera.json"
            )

    @property
    def catalog(self) -> Catalog:
        """The objects of the models folder, with diameters and symmetries."""
        return catalog_from_bop(self.models_dir)

    @property
    def targets(self) -> list[BopTarget]:
        """What the data set asks for: its targets file, or every instance that is at least 10 % visible."""
        path = self.root / TARGETS_FILE
        return read_targets(path) if path.is_file() else targets_from(self.images)

    def read_rgb(self, image: BopImage) -> np.ndarray:
        """Read an image as (H, W, 3) uint8; grey images are repeated over the channels."""
        import cv2

        pixels = cv2.imread(str(image.rgb_path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ValueError(f"{image.rgb_path}: not a readable image")
        return np.ascontiguousarray(pixels[..., ::-1])

    def read_depth(self, image: BopImage) -> np.ndarray | None:
        """Read depth along z as (H, W) float32 metres, zero where unknown; None where the set has no depth."""
        if image.depth_path is None:
            return None
        return read_unchanged(image.depth_path).astype(np.float32) * np.float32(image.depth_scale)

    def read_mask(self, truth: GroundTruth) -> np.ndarray | None:
        """Read the visible pixels of an instance as (H, W) bool; None where the set has no masks."""
        return None if truth.mask_visible_path is None else read_unchanged(truth.mask_visible_path) > 0

    def frame(self, image: BopImage) -> Frame:
        """Read an image with its camera."""
        return Frame(self.read_rgb(image), image.camera)


def read_targets(path: str | Path) -> list[BopTarget]:
    """Read a BOP targets file.

    Raises:
        ValueError: if an entry lacks a field.
    """
    targets = []
    for index, entry in enumerate(_read_json(Path(path))):
        try:
            count = int(entry.get("inst_count", 1))
            targets.append(BopTarget(int(entry["scene_id"]), int(entry["im_id"]), int(entry["obj_id"]), count))
        except (KeyError, AttributeError) as error:
            raise ValueError(
                f"{path}: entry {index}: missing {error}; expected scene_id, im_id, obj_id, inst_count"
            ) from error
    return targets


def targets_from(images: Iterable[BopImage]) -> list[BopTarget]:
    """Ask for every instance that is at least 10 % visible."""
    targets = []
    for image in images:
        counts = Counter(item.object_id for item in image.ground_truth if item.visibility >= MIN_VISIBILITY)
        targets += [BopTarget(*image.key, object_id, count) for object_id, count in sorted(counts.items())]
    return targets


def _read_scene(folder: Path) -> list[BopImage]:
    cameras = _read_json(folder / "scene_camera.json")
    truths = _read_json(folder / "scene_gt.json") if (folder / "scene_gt.json").is_file() else {}
    infos = _read_json(folder / "scene_gt_info.json") if (folder / "scene_gt_info.json").is_file() else {}
    pictures = _files_by_id(folder, _IMAGE_FOLDERS)
    depths = _files_by_id(folder, ("depth",))
    # A partial copy of a data set lists more images than it holds: only those that are there count.
    keys = sorted((key for key in cameras if int(key) in pictures), key=int)
    if not keys:
        return []
    height, width = read_unchanged(pictures[int(keys[0])]).shape[:2]
    images = []
    for key in keys:
        image_id, camera = int(key), cameras[key]
        truth, info = truths.get(key, []), infos.get(key, [{}] * len(truths.get(key, [])))
        if len(truth) != len(info):
            raise ValueError(f"{folder}/scene_gt_info.json: image {key}: {len(info)} entries, expected {len(truth)}")
        images.append(
            BopImage(
                scene_id=int(folder.name),
                image_id=image_id,
                rgb_path=pictures[image_id],
                depth_path=depths.get(image_id),
                depth_scale=float(camera.get("depth_scale", 1.0)) / _MM,
                camera=Camera(np.reshape(camera["cam_K"], (3, 3)), width, height),
                ground_truth=tuple(
                    _read_truth(folder, image_id, index, pose, extra)
                    for index, (pose, extra) in enumerate(zip(truth, info, strict=True))
                ),
            )
        )
    return images


def _read_truth(folder: Path, image_id: int, index: int, pose: dict, info: dict) -> GroundTruth:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(pose["cam_R_m2c"], (3, 3))
    matrix[:3, 3] = np.asarray(pose["cam_t_m2c"], dtype=np.float64) / _MM
    mask = folder / "mask_visib" / f"{image_id:06d}_{index:06d}.png"
    return GroundTruth(
        object_id=int(pose["obj_id"]),
        camera_from_object=matrix,
        visibility=float(info.get("visib_fract", 1.0)),
        box_visible=_corners(info.get("bbox_visib")),
        box_full=_corners(info.get("bbox_obj")),
        mask_visible_path=mask if mask.is_file() else None,
    )


def _corners(box: list[float] | None) -> np.ndarray | None:
    if box is None or box[2] <= 0 or box[3] <= 0:  # BOP writes -1 for what is not visible
        return None
    return np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]], dtype=np.float64)


def _files_by_id(scene: Path, folders: tuple[str, ...]) -> dict[int, Path]:
    for folder in folders:
        if (scene / folder).is_dir():
            return {
                int(path.stem): path
                for path in sorted((scene / folder).iterdir())
                if path.suffix.lower() in IMAGE_SUFFIXES and path.stem.isdigit()
            }
    return {}


def read_unchanged(path: Path) -> np.ndarray:
    """Read an image with the channels and bits that its file has, colours as OpenCV orders them.

    Raises:
        ValueError: if it cannot be read.
    """
    import cv2

    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError(f"{path}: not a readable image")
    return pixels


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; expected a data set in BOP layout")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error
