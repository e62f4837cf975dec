"""How well hand poses are found: joint errors, success curves, and the usual mistakes of their measurement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pose_estimation_ros.data.nyu_hand import CUBE_SIDES_M, JOINTS, PALM

THRESHOLDS_MM = (10, 20, 30, 40)
_CURVE_MM = np.linspace(0.0, 80.0, 161)
_MM = 1000.0
_MIRRORED_BETTER = 0.5  # errors with y mirrored below this share of the errors as given: the sign is wrong
_MIN_PALM_ERROR_MM = 0.5  # hardly a network's
_SCALE_TOLERANCE = 0.02


def joint_errors(estimated: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the distances (N, J) in metres of estimated and true joints (N, J, 3).

    Raises:
        ValueError: if they are not as many.
    """
    if estimated.shape != true.shape:
        raise ValueError(f"{len(estimated)} frames of estimated joints, expected {len(true)} as in the ground truth")
    return np.linalg.norm(estimated - true, axis=-1)


def success(errors: np.ndarray, threshold_m: float) -> float:
    """Return the share of frames no joint of which is wronger than the threshold; errors (N, J) in metres."""
    return float((errors.max(axis=1) <= threshold_m).mean())


def hand_figures(errors: np.ndarray, subjects: np.ndarray) -> dict[str, float]:
    """Summarise joint errors.

    Args:
        errors: in metres, shape (N, J).
        subjects: of every frame, from 0, shape (N,).

    Returns:
        Mean error over all joints and frames, of each subject, mean over the frames of the worst joint's, in
        millimetres, and the shares of frames whose worst joint is within thresholds.
    """
    figures = {"mean_mm": errors.mean() * _MM}
    figures |= {
        f"subject_{number + 1}_mm": errors[subjects == number].mean() * _MM for number in np.unique(subjects).tolist()
    }
    figures["mean_max_mm"] = errors.max(axis=1).mean() * _MM
    figures |= {f"within_{limit}_mm": success(errors, limit / _MM) for limit in THRESHOLDS_MM}
    return figures


def joint_rows(errors: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return a row for every joint: its name and the mean error in millimetres of every file."""
    return [
        {"joint": joint, **{name: float(values[:, number].mean() * _MM) for name, values in errors.items()}}
        for number, joint in enumerate(JOINTS)
    ]


def suspicions(estimated: np.ndarray, true: np.ndarray, subjects: np.ndarray) -> list[str]:
    """Look for the mistakes that are made when hand poses are measured; both (N, J, 3) in metres, camera axes.

    Returns:
        One sentence for each: y axis upside down, cubes of another subject, crops about the annotated palm.
    """
    found = []
    error = np.linalg.norm(estimated - true, axis=-1)
    mirrored = np.linalg.norm(estimated * np.array([1.0, -1.0, 1.0]) - true, axis=-1).mean()
    if mirrored < _MIRRORED_BETTER * error.mean():
        found.append(
            f"with y mirrored the mean error is {mirrored * _MM:.1f} instead of {error.mean() * _MM:.1f} mm: "
            "were rows counted from below? NYU's own coordinates have y up"
        )
    for number in np.unique(subjects).tolist():
        found += _wrong_cube(estimated[subjects == number], true[subjects == number], number)
    palm = np.median(error[:, PALM]) * _MM
    if palm < _MIN_PALM_ERROR_MM:
        found.append(
            f"half of the palms are less than {_MIN_PALM_ERROR_MM:g} mm wrong: were crops centred on the annotated "
            "palm? Such errors are not comparable"
        )
    return found


def _wrong_cube(estimated: np.ndarray, true: np.ndarray, number: int) -> list[str]:
    """Compare the sizes of estimated and true hands of one subject (N, J, 3) with the ratios of cube sides."""
    offset, true_offset = (points - points[:, PALM : PALM + 1] for points in (estimated, true))
    scale = (offset * true_offset).sum() / max((true_offset**2).sum(), 1e-12)
    own = CUBE_SIDES_M[min(number, len(CUBE_SIDES_M) - 1)]
    for side in CUBE_SIDES_M:
        if side != own and abs(scale / (side / own) - 1.0) < _SCALE_TOLERANCE:
            return [
                f"subject {number + 1}: hands are {scale:.2f} times as large as annotated: were they made metric "
                f"with a cube of {side * _MM:.0f} instead of {own * _MM:.0f} mm?"
            ]
    return []


def write_success_curve(path: Path, errors: Mapping[str, np.ndarray]) -> None:
    """Draw the share of frames over the largest error of their joints; a line for every file.

    Args:
        path: of the picture.
        errors: by name, metres, shape (N, J).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for name, values in errors.items():
        curve = [success(values, limit / _MM) for limit in _CURVE_MM]
        axis.plot(_CURVE_MM, curve, label=f"{name}, mean {values.mean() * _MM:.2f} mm")
    axis.set(xlabel="largest joint error [mm]", ylabel="share of frames", xlim=(0, _CURVE_MM[-1]), ylim=(0, 1))
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=120)
