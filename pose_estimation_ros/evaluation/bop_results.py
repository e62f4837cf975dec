"""Result files: the CSV of the BOP challenge and one `[R|t]` text file per frame and object."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HEADER = "scene_id,im_id,obj_id,score,R,t,time"
_MM = 1000.0  # millimetres per metre
_ROTATION_SLACK = 1e-2  # largest deviation of R R^T from the identity in files with few digits


@dataclass(frozen=True)
class Estimate:
    """One estimated pose of one image."""

    scene_id: int
    image_id: int
    object_id: int
    score: float  # higher is better
    camera_from_object: np.ndarray  # (4, 4) float64, metres
    time_s: float = -1.0  # for the whole image; -1 where unknown


def write_results(path: str | Path, estimates: Iterable[Estimate]) -> None:
    """Write a BOP'19 result file (millimetres), replacing an old one only when the new one is complete."""
    lines = [HEADER]
    for item in estimates:
        rotation = " ".join(f"{value:.9g}" for value in item.camera_from_object[:3, :3].reshape(-1))
        shift = " ".join(f"{value:.9g}" for value in item.camera_from_object[:3, 3] * _MM)
        ids = f"{item.scene_id},{item.image_id},{item.object_id}"
        lines.append(f"{ids},{item.score:.6g},{rotation},{shift},{item.time_s:.6g}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text("\n".join(lines) + "\n")
    temporary.replace(path)


def read_results(path: str | Path) -> list[Estimate]:
    """Read and check a BOP'19 result file.

    Raises:
        ValueError: naming the line and what is wrong with it.
    """
    estimates: list[Estimate] = []
    times: dict[tuple[int, int], float] = {}
    for number, line in enumerate(Path(path).read_text().splitlines(), start=1):
        if not line.strip() or (number == 1 and line.strip().startswith("scene_id")):
            continue
        where = f"{path}:{number}"
        item = _parse(line, where)
        known = times.setdefault((item.scene_id, item.image_id), item.time_s)
        if abs(known - item.time_s) > 1e-3:
            raise ValueError(
                f"{where}: time {item.time_s:g}: expected {known:g} as on the other lines of image "
                f"{item.image_id} of scene {item.scene_id}"
            )
        estimates.append(item)
    return estimates


def check_file_name(path: str | Path) -> str | None:
    """Return what the BOP evaluation server would object to in a file's name, None where it is fine."""
    stem = Path(path).name.removesuffix(".csv")
    parts = stem.split("_")
    if not str(path).endswith(".csv") or "." in stem or len(parts) not in (2, 3) or "-" not in parts[1]:
        return f"{Path(path).name}: the BOP server expects METHOD_DATASET-SPLIT.csv, such as pix2pose_lmo-test.csv"
    return None


def write_pose_texts(folder: str | Path, estimates: Sequence[Estimate], names: dict[int, str]) -> int:
    """Write the 3x4 matrix [R|t] (metres) of every pose to FOLDER/OBJECT/FRAME.txt.

    One folder per object, files named after the frame, no file where the object was not found. Where the estimates
    come from several scenes, FRAME is SCENE/FRAME; further instances of an object in a frame get FRAME_1, FRAME_2 and
    so on by falling score.

    Returns:
        The number of files.
    """
    groups: dict[tuple[int, int, int], list[Estimate]] = defaultdict(list)
    for item in estimates:
        groups[item.object_id, item.scene_id, item.image_id].append(item)
    several = len({item.scene_id for item in estimates}) > 1
    count = 0
    for (object_id, scene_id, image_id), items in groups.items():
        place = Path(folder) / names.get(object_id, f"obj_{object_id:06d}")
        place = place / f"{scene_id:06d}" if several else place
        place.mkdir(parents=True, exist_ok=True)
        for rank, item in enumerate(sorted(items, key=lambda one: -one.score)):
            name = f"{image_id:06d}.txt" if rank == 0 else f"{image_id:06d}_{rank}.txt"
            np.savetxt(place / name, item.camera_from_object[:3], fmt="%.9g")
            count += 1
    return count


def _parse(line: str, where: str) -> Estimate:
    fields = line.split(",")
    if len(fields) != 7:
        raise ValueError(f"{where}: {len(fields)} comma-separated fields, expected 7: {HEADER}")
    try:
        scene_id, image_id, object_id = (int(value) for value in fields[:3])
        score, time_s = float(fields[3]), float(fields[6])
        rotation = np.array([float(value) for value in fields[4].split()])
        shift = np.array([float(value) for value in fields[5].split()])
    except ValueError as error:
        raise ValueError(f"{where}: {error}; expected {HEADER}") from error
    if rotation.size != 9 or shift.size != 3:
        raise ValueError(f"{where}: {rotation.size} values in R and {shift.size} in t, expected 9 and 3")
    if not (math.isfinite(score) and np.isfinite(rotation).all() and np.isfinite(shift).all()):
        raise ValueError(f"{where}: NaN or infinity, expected finite numbers")
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.reshape(3, 3), shift / _MM
    if np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max() > _ROTATION_SLACK or np.linalg.det(matrix) < 0:
        raise ValueError(f"{where}: R is not a rotation matrix (rows of 9 numbers, row by row)")
    return Estimate(scene_id, image_id, object_id, score, matrix, time_s)
