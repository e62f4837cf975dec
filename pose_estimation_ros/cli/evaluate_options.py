"""The options of pose_evaluate."""

from __future__ import annotations

import argparse
from pathlib import Path

from pose_estimation_ros.cli.settings_options import add_settings_option, method_help
from pose_estimation_ros.evaluation.results import add_result_option
from pose_estimation_ros.methods.registry import choices


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of pose_evaluate."""
    parser = argparse.ArgumentParser(
        prog="pose_evaluate",
        description="Estimate the poses of a data set in BOP layout with a bundle, and score them. "
        "docs/evaluation.md explains the numbers.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32),
    )
    _add_inputs(parser.add_argument_group("what is evaluated"))
    _add_method(parser.add_argument_group("how poses are estimated"))
    _add_outputs(parser.add_argument_group("what is written"))
    return parser


def _add_inputs(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--bop", required=True, type=Path, metavar="DIR", help="data set in BOP layout")
    add("--split", default="test", help="split of the data set (default: %(default)s)")
    add("--bundle", metavar="DIR", help="bundle, a folder or the name of a shipped one")
    add("--from-csv", type=Path, metavar="FILE", help="score this BOP'19 result file and run nothing")
    add("--targets", type=Path, metavar="FILE", help="targets file (default: the data set's test_targets_bop19.json)")
    add("--images", type=int, metavar="N", help="only the first N images")
    add("--image-range", metavar="A:B[:STEP]", help="only these images, counted from 0, B excluded")
    add("--part", metavar="A:B[:STEP]", help="score these of the images by themselves as well")
    add("--no-vsd", action="store_true", help="leave out VSD where the data set has depth")


def _add_method(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--backend", help=f"pose estimator: {method_help('backend')}")
    add("--refiner", help=f"pose refiner: {method_help('refiner')}")
    add(
        "--detections",
        default="model",
        metavar="WHOSE",
        help="gt: boxes of the ground truth; model: of the settings' detector; or a detector: "
        f"{', '.join(choices('detector'))} (default: %(default)s)",
    )
    add(
        "--gt-box",
        choices=("full", "visible"),
        default="full",
        help="ground-truth boxes of the whole object, hidden parts included, or of what is visible; "
        "the detector is scored against the same boxes (default: %(default)s)",
    )
    add(
        "--box-error",
        type=float,
        default=0.0,
        metavar="E",
        help="with --detections gt: shift and scale boxes by up to this share of their sides (default: %(default)s)",
    )
    add("--score-threshold", type=float, default=0.05, metavar="S", help="least detection score (default: %(default)s)")
    add(
        "--candidates",
        type=int,
        default=3,
        metavar="N",
        help="detections that get a pose, per instance that the targets ask for (default: %(default)s)",
    )
    add("--mesh-dir", type=Path, metavar="DIR", help="meshes, where the bundle ships none (default: BOP_DIR/models)")
    add("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    add_settings_option(group)
    add("--resume", action="store_true", help="go on with an interrupted run; needs the same --csv")


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--csv", type=Path, metavar="FILE", help="poses as BOP'19 results")
    add("--poses-dir", type=Path, metavar="DIR", help="each pose [R|t] (metres) as DIR/OBJECT/FRAME.txt")
    add("--report", type=Path, metavar="FILE", help="all numbers as JSON")
    add_result_option(group)
    add("--plots", type=Path, metavar="DIR", help="overlays, error curves and the worst failures as pictures")
