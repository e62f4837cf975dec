"""pose_evaluate_hands: measure hand poses on the NYU data set, those of a bundle or those that text files hold.

Prints the mean joint error, of each subject and joint, and draws the success curve: the share of frames whose worst
joint is within a threshold. docs/evaluation.md defines the figures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from pose_estimation_ros.cli.evaluate_hands_bundle import add_bundle_options, check_options, run_bundle
from pose_estimation_ros.data.nyu_hand import SUBJECT_FRAMES, read_joints, subject_of
from pose_estimation_ros.evaluation.hands import (
    THRESHOLDS_MM,
    hand_figures,
    joint_errors,
    joint_rows,
    suspicions,
    write_success_curve,
)
from pose_estimation_ros.evaluation.partial import partial_file
from pose_estimation_ros.evaluation.results import Origin, add_result_option, origin_of, write_result
from pose_estimation_ros.objects.bundle import load_bundle

CURVE = "success.png"
_INTERRUPTED = 130  # exit code of a program ended by Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        check_options(arguments)
        _run(arguments, origin_of("pose_evaluate_hands", argv))
    except (ValueError, OSError) as error:  # BundleError is a ValueError
        print(f"pose_evaluate_hands: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        unfinished = partial_file(arguments.write) if arguments.write else None
        is_kept = unfinished is not None and unfinished.is_file()
        hint = f"; {unfinished} holds the finished images, go on with --resume" if is_kept else ""
        print(f"pose_evaluate_hands: interrupted{hint}", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_evaluate_hands", description=__doc__)
    add = parser.add_argument
    add("--groundtruth", type=Path, required=True, metavar="FILE", help="true joints, a line for every frame")
    add("--predictions", type=Path, default=[], nargs="+", metavar="FILE", help="estimated joints, same lines")
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
    add_bundle_options(parser.add_argument_group("a bundle on the data set's depth images"))
    return parser


def _run(arguments: argparse.Namespace, origin: Origin) -> None:
    true = read_joints(arguments.groundtruth)
    subjects = subject_of(len(true), arguments.subject_frames)
    bundle = load_bundle(arguments.bundle) if arguments.bundle is not None else None
    files = [(path.stem.removesuffix("_uvd"), path) for path in arguments.predictions]
    _refuse_same_names([*(name for name, _ in files), *([bundle.name] if bundle else [])])
    estimated = {name: _read_predictions(path, true) for name, path in files}
    notes, misses = [], {}
    if bundle is not None:
        result = run_bundle(bundle, arguments, subjects)
        estimated[bundle.name], misses[bundle.name] = result.joints, {"misses": result.misses}
        if result.note is not None:
            notes.append(f"{bundle.name}: {result.note}")
    errors = {name: joint_errors(joints, true) for name, joints in estimated.items()}
    for name, joints in estimated.items():
        notes += [f"{name}: {text}" for text in suspicions(joints, true, subjects)]
    summary = {name: hand_figures(values, subjects) for name, values in errors.items()}
    _print(summary, joint_rows(errors))
    for note in notes:
        print(f"note: {note}")
    write_success_curve(arguments.plots / CURVE, errors)
    print(f"success curve: {arguments.plots / CURVE}")
    if arguments.result is not None:
        rows = [{"predictions": name, **figures, **misses.get(name, {})} for name, figures in summary.items()]
        write_result(arguments.result, origin, {"frames": len(true), "rows": rows, "joints": joint_rows(errors)})


def _refuse_same_names(names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"predictions called {', '.join(names)}: expected different names of files and bundle")


def _read_predictions(path: Path, true: np.ndarray) -> np.ndarray:
    """Return the joints (N, 14, 3) in metres of a file, as many as the true ones."""
    joints = read_joints(path)
    try:
        joint_errors(joints, true)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return joints


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
