"""The NYU hand pose data set (Tompson et al., TOG 2014): its camera, joints, subjects, crop cubes and text files.

Pixels and depths are the data set's. Points are in metres in the axes of `Camera`, y down; NYU's own have y up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pose_estimation_ros.geometry.camera import Camera

CAMERA = Camera(np.array([[588.03, 0.0, 320.0], [0.0, 587.07, 240.0], [0.0, 0.0, 1.0]]), 640, 480)
# The 14 of the 36 annotated joints that results are compared on, in the order of the result files.
JOINTS = {
    "pinky tip": 0,
    "pinky base": 3,
    "ring tip": 6,
    "ring base": 9,
    "middle tip": 12,
    "middle base": 15,
    "index tip": 18,
    "index base": 21,
    "thumb tip": 24,
    "thumb middle": 25,
    "thumb base": 27,
    "wrist, pinky side": 30,
    "wrist, thumb side": 31,
    "palm": 32,
}
PALM = 13  # its place among them; crops are centred there
SUBJECT_FRAMES = (2440, 5812)  # of the test set, one subject after the other
CUBE_SIDES_M = (0.300, 0.250)  # of the crops; the second subject's hand is smaller
DECIMALS = 3  # of the numbers in result files
_MM = 1000.0


def read_joints(path: str | Path) -> np.ndarray:
    """Read a result file: a line for every frame, u v d of every joint, pixels and millimetres.

    Args:
        path: the text file.

    Returns:
        Points in metres, camera axes, shape (frames, 14, 3).

    Raises:
        ValueError: if it is not such a file; the message names file and line.
        OSError: if it cannot be read.
    """
    try:
        values = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; expected {3 * len(JOINTS)} numbers in every line") from error
    if values.shape[1] != 3 * len(JOINTS) or len(values) == 0:
        raise ValueError(
            f"{path}: {len(values)} lines of {values.shape[1]} numbers, expected lines of {3 * len(JOINTS)}: "
            f"u v d of {len(JOINTS)} joints"
        )
    uvd = values.reshape(len(values), len(JOINTS), 3)
    for wrong, what in ((~np.isfinite(uvd), "not finite"), (uvd[..., 2:] <= 0.0, "no depth above 0")):
        if wrong.any():
            line, joint = np.argwhere(wrong)[0][:2]
            raise ValueError(
                f"{path}: frame {line + 1}: {list(JOINTS)[joint]} = {uvd[line, joint].tolist()}: {what}; "
                "expected u v in pixels and d in millimetres"
            )
    return points_from_uvd(uvd)


def write_joints(path: Path, uvd: np.ndarray) -> None:
    """Write a result file as `read_joints` reads them, replacing an old one only when the new one is complete.

    Args:
        path: the text file; its folder is made.
        uvd: pixels and depths in millimetres, shape (frames, 14, 3); three decimals are kept, as in published files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    np.savetxt(temporary, uvd.reshape(len(uvd), -1), fmt=f"%.{DECIMALS}f")
    temporary.replace(path)


def points_from_uvd(uvd: np.ndarray) -> np.ndarray:
    """Return the points (..., 3), metres, of pixels and depths in millimetres (..., 3)."""
    flat = np.asarray(uvd, dtype=np.float64).reshape(-1, 3)
    return CAMERA.unproject(flat[:, :2], flat[:, 2] / _MM).reshape(np.shape(uvd))


def uvd_from_points(points: np.ndarray) -> np.ndarray:
    """Return pixels and depths in millimetres (..., 3) of points in metres (..., 3)."""
    flat = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    return np.column_stack([CAMERA.project(flat), flat[:, 2] * _MM]).reshape(np.shape(points))


def points_from_nyu(joints_mm: np.ndarray) -> np.ndarray:
    """Return points in metres of the data set's own coordinates, which are in millimetres with y up."""
    return np.asarray(joints_mm, dtype=np.float64) * np.array([1.0, -1.0, 1.0]) / _MM


def subject_of(frames: int, subject_frames: Sequence[int] = SUBJECT_FRAMES) -> np.ndarray:
    """Return the subject of every frame, counted from 0, shape (frames,).

    Raises:
        ValueError: if the subjects do not have so many frames together.
    """
    if min(subject_frames) < 1 or sum(subject_frames) != frames:
        raise ValueError(f"subjects of {list(subject_frames)} frames: expected positive numbers whose sum is {frames}")
    return np.repeat(np.arange(len(subject_frames)), subject_frames)


def cube_sides(subjects: np.ndarray) -> np.ndarray:
    """Return the side of the crop cube in metres of every frame (N,) of these subjects (N,), counted from 0."""
    return np.asarray(CUBE_SIDES_M)[subjects]


def normalised(points: np.ndarray, centre: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Return points (N, J, 3) as networks see them: from the cube's centre (N, 3) in halves of its side (N,)."""
    return (points - centre[:, None]) / (side[:, None, None] / 2.0)


def denormalised(values: np.ndarray, centre: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Undo `normalised`."""
    return values * (side[:, None, None] / 2.0) + centre[:, None]
