"""What pose_evaluate writes and prints."""

from __future__ import annotations

import argparse
from typing import Any

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.evaluation import report
from pose_estimation_ros.evaluation.bop_results import Estimate, check_file_name, write_pose_texts, write_results
from pose_estimation_ros.evaluation.metrics import ObjectPoints
from pose_estimation_ros.evaluation.partial import partial_file
from pose_estimation_ros.evaluation.published import describe_published
from pose_estimation_ros.evaluation.report import Evaluation
from pose_estimation_ros.training import processes


def write_outputs(
    arguments: argparse.Namespace,
    evaluation: Evaluation,
    estimates: list[Estimate],
    models: dict[int, ObjectPoints],
    names: dict[int, str],
    context: dict[str, Any],
    dataset: BopDataset,
) -> None:
    """Write the files that the options ask for."""
    if arguments.csv is not None and arguments.from_csv is None:
        write_results(arguments.csv, estimates)
        for number in range(processes.count()):
            partial_file(arguments.csv, number).unlink(missing_ok=True)
        objection = check_file_name(arguments.csv)
        if objection:
            context["notes"].append(objection)
    if arguments.poses_dir is not None:
        write_pose_texts(arguments.poses_dir, estimates, names)
    if arguments.report is not None:
        report.write_report(arguments.report, report.report_content(evaluation, models, names, context))
    if arguments.plots is not None:
        from pose_estimation_ros.evaluation.plots import write_plots

        write_plots(arguments.plots, dataset, evaluation, models, names)


def print_outputs(evaluation: Evaluation, names: dict[int, str], context: dict[str, Any]) -> None:
    """Print the table, and what there is to say besides."""
    print(report.format_table(evaluation, names))
    if evaluation.seconds_per_image is not None:
        stages = ", ".join(f"{name} {value:.3f}" for name, value in evaluation.stages_s.items() if name != "total")
        print(f"seconds per image: {evaluation.seconds_per_image:.3f}" + (f" ({stages})" if stages else ""))
    if "published" in context:
        print(describe_published(context["published"]))
    for reason, count in context.get("images_without_pose", {}).items():
        print(f"{count} images without a pose: {reason}")
    for note in context["notes"]:
        print(f"note: {note}")
