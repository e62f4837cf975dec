"""Write data sets in the layout of the BOP challenge, one scene at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_estimation_ros.data.bop import MIN_VISIBILITY, TARGETS_FILE
from pose_estimation_ros.geometry.camera import Camera
from pose_estimation_ros.objects.catalog import Catalog

_MM = 1000.0  # millimetres per metre
DEPTH_SCALE_MM = 0.1  # millimetres per unit of the depth files written here


class BopWriter:
    """Write one scene of a split: images, ground truth, masks, and the targets on close.

    Args:
        root: folder of the data set, made where absent.
        split: name of the split's folder.
        scene_id: number of the scene.
        image_suffix: format of the colour images, `.png` (exact) or `.jpg` (small).
        resume: go on with the scene as it is on the disk.

    Raises:
        ValueError: if what is on the disk cannot be gone on with.

    Example:
        >>> with BopWriter(Path("out/demo"), scene_id=1) as writer:  # doctest: +SKIP
        ...     writer.add(rgb, camera, [(1, camera_from_object)], masks_visible)
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "test",
        scene_id: int = 1,
        image_suffix: str = ".png",
        resume: bool = False,
    ) -> None:
        self.root = Path(root)
        self.scene_id = scene_id
        self._suffix = image_suffix
        self.folder = self.root / split / f"{scene_id:06d}"
        names = ("camera", "gt", "gt_info")
        found = [_read_object(self.folder / f"scene_{name}.json") if resume else {} for name in names]
        self._cameras, self._truth, self._info = found
        self._resumed = bool(self._cameras)
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> BopWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()

    def add(
        self,
        rgb: np.ndarray,
        camera: Camera,
        poses: Sequence[tuple[int, np.ndarray]],
        masks_visible: np.ndarray | None = None,
        masks_full: np.ndarray | None = None,
        depth_m: np.ndarray | None = None,
        image_id: int | None = None,
        copy_of: Path | None = None,
    ) -> int:
        """Write one image with its ground truth.

        Args:
            rgb: (H, W, 3) uint8.
            camera: its camera, without distortion.
            poses: object id and camera_from_object (4, 4) in metres of each of n instances.
            masks_visible: (n, H, W) bool, visible pixels; without them no boxes and no visibility are written.
            masks_full: (n, H, W) bool, pixels of the whole silhouette; the visible ones where absent.
            depth_m: (H, W) depth along z in metres, zero where unknown.
            image_id: number of the image; counts up from 0. One that is there already is replaced.
            copy_of: file that holds `rgb`; it is copied instead of encoding the pixels anew.

        Returns:
            The number of the image.

        Raises:
            ValueError: if sizes disagree or the camera is distorted.
        """
        self._check(rgb, camera, poses, masks_visible, masks_full)
        image_id = len(self._cameras) if image_id is None else image_id
        key = str(image_id)
        self.remove(image_id)
        self._size = (camera.width, camera.height)
        if copy_of is None:
            _imwrite(self.folder / "rgb" / f"{image_id:06d}{self._suffix}", rgb[..., ::-1])
        else:
            (self.folder / "rgb").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copy_of, self.folder / "rgb" / f"{image_id:06d}{copy_of.suffix.lower()}")
        if depth_m is not None:
            units = np.clip(np.round(depth_m * (_MM / DEPTH_SCALE_MM)), 0, 65535).astype(np.uint16)
            _imwrite(self.folder / "depth" / f"{image_id:06d}.png", units)
        self._cameras[key] = {"cam_K": camera.intrinsics.reshape(-1).tolist(), "depth_scale": DEPTH_SCALE_MM}
        self._truth[key] = [_pose_entry(object_id, pose) for object_id, pose in poses]
        if masks_visible is not None:
            full = masks_visible if masks_full is None else masks_full
            self._info[key] = [_info_entry(part, whole) for part, whole in zip(masks_visible, full, strict=True)]
            for index, (part, whole) in enumerate(zip(masks_visible, full, strict=True)):
                name = f"{image_id:06d}_{index:06d}.png"
                _imwrite(self.folder / "mask_visib" / name, part.astype(np.uint8) * 255)
                _imwrite(self.folder / "mask" / name, whole.astype(np.uint8) * 255)
        return image_id

    def remove(self, image_id: int) -> bool:
        """Take an image out of the scene; return whether it was there."""
        if self._cameras.pop(str(image_id), None) is None:
            return False
        self._truth.pop(str(image_id), None)
        self._info.pop(str(image_id), None)
        for folder in ("rgb", "depth", "mask", "mask_visib"):
            for path in (self.folder / folder).glob(f"{image_id:06d}[._]*"):
                path.unlink()
        return True

    def close(self) -> None:
        """Write the JSON files; the targets of other scenes are kept."""
        if self._size is None and not self._resumed:
            raise ValueError(f"{self.folder}: no image was added")
        _write_json(self.folder / "scene_camera.json", self._cameras)
        _write_json(self.folder / "scene_gt.json", self._truth)
        if self._info or self._resumed:
            _write_json(self.folder / "scene_gt_info.json", self._info)
        if self._size is not None and self._cameras:
            self._write_camera(*self._size)
        path = self.root / TARGETS_FILE
        others = json.loads(path.read_text()) if path.is_file() else []
        targets = [entry for entry in others if entry["scene_id"] != self.scene_id] + self._targets()
        _write_json(path, sorted(targets, key=lambda entry: (entry["scene_id"], entry["im_id"], entry["obj_id"])))

    def _write_camera(self, width: int, height: int) -> None:
        matrix = np.reshape(next(iter(self._cameras.values()))["cam_K"], (3, 3))
        general = {"width": width, "height": height, "fx": matrix[0, 0], "fy": matrix[1, 1]}
        general |= {"cx": matrix[0, 2], "cy": matrix[1, 2], "depth_scale": DEPTH_SCALE_MM}
        _write_json(self.root / "camera.json", general)

    def _targets(self) -> list[dict[str, int]]:
        targets = []
        for key, truth in self._truth.items():
            visible = [entry["visib_fract"] for entry in self._info.get(key, [])] or [1.0] * len(truth)
            ids = [entry["obj_id"] for entry, share in zip(truth, visible, strict=True) if share >= MIN_VISIBILITY]
            targets += [
                {"scene_id": self.scene_id, "im_id": int(key), "obj_id": object_id, "inst_count": ids.count(object_id)}
                for object_id in sorted(set(ids))
            ]
        return targets

    def _check(
        self,
        rgb: np.ndarray,
        camera: Camera,
        poses: Sequence[tuple[int, np.ndarray]],
        masks_visible: np.ndarray | None,
        masks_full: np.ndarray | None,
    ) -> None:
        expected = (camera.height, camera.width)
        if rgb.shape != (*expected, 3) or rgb.dtype != np.uint8:
            raise ValueError(f"BopWriter.add: rgb {rgb.shape} {rgb.dtype}, expected {(*expected, 3)} uint8")
        if camera.is_distorted:
            raise ValueError("BopWriter.add: the camera is distorted; BOP knows none, undistort the image first")
        for name, masks in (("masks_visible", masks_visible), ("masks_full", masks_full)):
            if masks is not None and masks.shape != (len(poses), *expected):
                raise ValueError(f"BopWriter.add: {name} {masks.shape}, expected {(len(poses), *expected)}")


def write_models_info(catalog: Catalog, folder: str | Path) -> Path:
    """Write models_info.json of a models folder and return its path."""
    info = {}
    for model in catalog:
        low, size = np.asarray(model.bounds_m[0]) * _MM, np.asarray(model.half_size_m) * 2.0 * _MM
        entry: dict[str, Any] = {"diameter": model.diameter_m * _MM}
        entry |= {f"min_{axis}": value for axis, value in zip("xyz", low.tolist(), strict=True)}
        entry |= {f"size_{axis}": value for axis, value in zip("xyz", size.tolist(), strict=True)}
        if model.discrete_symmetries:
            scale = np.ones((4, 4))
            scale[:3, 3] = _MM
            entry["symmetries_discrete"] = [
                (matrix * scale).reshape(-1).tolist() for matrix in model.discrete_symmetries
            ]
        if model.continuous_symmetries:
            entry["symmetries_continuous"] = [
                {"axis": list(item.axis), "offset": [value * _MM for value in item.offset_m]}
                for item in model.continuous_symmetries
            ]
        info[str(model.object_id)] = entry
    path = Path(folder) / "models_info.json"
    _write_json(path, info)
    return path


def _pose_entry(object_id: int, camera_from_object: np.ndarray) -> dict[str, Any]:
    return {
        "obj_id": int(object_id),
        "cam_R_m2c": camera_from_object[:3, :3].reshape(-1).tolist(),
        "cam_t_m2c": (camera_from_object[:3, 3] * _MM).tolist(),
    }


def _info_entry(visible: np.ndarray, full: np.ndarray) -> dict[str, Any]:
    whole, part = int(full.sum()), int(visible.sum())
    return {
        "bbox_obj": _extent(full),
        "bbox_visib": _extent(visible),
        "px_count_all": whole,
        "px_count_valid": whole,
        "px_count_visib": part,
        "visib_fract": part / whole if whole else 0.0,
    }


def _extent(mask: np.ndarray) -> list[int]:
    """Return x, y, width, height between the outer pixels of a mask; -1 four times where it is empty, as BOP does."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [-1, -1, -1, -1]
    return [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0]), int(rows[-1] - rows[0])]


def _imwrite(path: Path, pixels: np.ndarray) -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, 90] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), pixels, options):
        raise OSError(f"{path}: could not be written")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a {type(content).__name__}, expected an object with an entry for every image")
    return content


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(content, indent=1))
    temporary.replace(path)
