"""pose_evaluate_hands: measure hand poses on the NYU data set, from text files with u v d of 14 joints a line.

Prints the mean joint error, of each subject and joint, and draws the success curve: the share of frames whose worst
joint is within a threshold. docs/evaluation.md defines the figures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from pose_estimation_ros.data.nyu_hand import SUBJECT_FRAMES, read_joints, subject_of
from pose_estimation_ros.evaluation.hands import (
    THRESHOLDS_MM,
    hand_figures,
    joint_errors,
    joint_rows,
    suspicions,
    write_success_curve,
)
from pose_estimation_ros.evaluation.results import Origin, add_result_option, origin_of, write_result

CURVE = "success.png"


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        _run(arguments, origin_of("pose_evaluate_hands", argv))
    except (ValueError, OSError) as error:
        print(f"pose_evaluate_hands: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_evaluate_hands", description=__doc__)
    add = parser.add_argument
    add("--groundtruth", type=Path, required=True, metavar="FILE", help="true joints, a line for every frame")
    add("--predictions", type=Path, required=True, nargs="+", metavar="FILE", help="estimated joints, same lines")
    add(
        "--subject-frames",
        type=int,
        nargs="+",
        default=list(SUBJECT_FRAMES),
        metavar="N",
        help="frames of the first subject, the second one, ... (default: those of the test set, %(default)s)",
    )
    add(
        "--plots",
        type=Path,
        default=Path("out/hands"),
        metavar="DIR",
        help=f"folder for the success curve, {CURVE} (default: %(default)s)",
    )
    add_result_option(parser)
    return parser


def _run(arguments: argparse.Namespace, origin: Origin) -> None:
    true = read_joints(arguments.groundtruth)
    subjects = subject_of(len(true), arguments.subject_frames)
    names = [path.stem.removesuffix("_uvd") for path in arguments.predictions]
    if len(set(names)) < len(names):
        raise ValueError(f"--predictions: files called {', '.join(names)}, expected different names")
    errors: dict[str, np.ndarray] = {}
    notes = []
    for name, path in zip(names, arguments.predictions, strict=True):
        estimated = read_joints(path)
        try:
            errors[name] = joint_errors(estimated, true)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        notes += [f"{name}: {text}" for text in suspicions(estimated, true, subjects)]
    summary = {name: hand_figures(values, subjects) for name, values in errors.items()}
    _print(summary, joint_rows(errors))
    for note in notes:
        print(f"note: {note}")
    write_success_curve(arguments.plots / CURVE, errors)
    print(f"success curve: {arguments.plots / CURVE}")
    if arguments.result is not None:
        rows = [{"predictions": name, **figures} for name, figures in summary.items()]
        write_result(arguments.result, origin, {"frames": len(true), "rows": rows, "joints": joint_rows(errors)})


def _print(summary: dict[str, dict[str, float]], joints: list[dict]) -> None:
    width = max(len(name) for name in (*summary, "predictions"))
    subjects = [key for key in next(iter(summary.values())) if key.startswith("subject_")]
    heads = ["mean mm", *(key[:-3].replace("_", " ") for key in subjects), "mean max"]
    limits = [f"<= {limit} mm %" for limit in THRESHOLDS_MM]
    print(f"{'predictions':<{width}}" + "".join(f"{head:>12}" for head in (*heads, *limits)))
    for name, figures in summary.items():
        cells = [figures[key] for key in ("mean_mm", *subjects, "mean_max_mm")]
        shares = [100.0 * figures[f"within_{limit}_mm"] for limit in THRESHOLDS_MM]
        texts = [f"{value:>12.2f}" for value in cells] + [f"{value:>12.1f}" for value in shares]
        print(f"{name:<{width}}" + "".join(texts))
    print(f"\n{'mean error mm':<20}" + "".join(f"{name:>{width + 2}}" for name in summary))
    for row in joints:
        print(f"{row['joint']:<20}" + "".join(f"{row[name]:>{width + 2}.1f}" for name in summary))
    print()


if __name__ == "__main__":
    sys.exit(main())
