"""pose_evaluate: measure a bundle, or an existing result file, on a data set in BOP layout."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pose_estimation_ros.data.bop import BopDataset, BopTarget, read_targets
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.objects.catalog import Catalog

_INTERRUPTED = 130  # exit code of a program ended by Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    arguments.command_line = shlex.join(["pose_evaluate", *(sys.argv[1:] if argv is None else argv)])
    try:
        return _run(arguments)
    except (ValueError, OSError) as error:  # BundleError is a ValueError
        print(f"pose_evaluate: error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pose_evaluate",
        description="Estimate the poses of a BOP data set with a bundle and score them; docs/evaluation.md explains the numbers.",
    )
    add = parser.add_argument
    add("--bop", required=True, type=Path, metavar="DIR", help="data set in BOP layout")
    add("--split", default="test", help="split of the data set (default: %(default)s)")
    add("--bundle", metavar="DIR", help="bundle to evaluate, a folder or the name of a shipped one")
    add("--from-csv", type=Path, metavar="FILE", help="score this BOP'19 result file and run nothing")
    add("--backend", default="pix2pose", help="pose estimator (default: %(default)s)")
    add("--refiner", default="none", help="pose refiner (default: %(default)s)")
    add("--detections", choices=("model", "gt"), default="model", help="boxes of the bundle's detector or of the ground truth")
    add("--gt-box", choices=("full", "visible"), default="full", help="ground-truth boxes of the whole object (hidden parts "
        "included) or of what is visible; also what the detections are scored against (default: %(default)s)")  # fmt: skip
    add("--score-threshold", type=float, default=0.05, metavar="S", help="least detection score (default: %(default)s)")
    add("--candidates", type=int, default=1, metavar="N", help="detections that get a pose per instance asked for "
        "(default: %(default)s)")  # fmt: skip
    add("--mesh-dir", type=Path, metavar="DIR", help="meshes of a bundle that ships none (default: models/ of the data set)")
    add("--targets", type=Path, metavar="FILE", help="targets file (default: test_targets_bop19.json of the data set)")
    add("--images", type=int, metavar="N", help="only the first N images")
    add("--image-range", metavar="A:B[:STEP]", help="only these images, counted from 0, B excluded")
    add("--csv", type=Path, metavar="FILE", help="write poses as BOP'19 results")
    add("--poses-dir", type=Path, metavar="DIR", help="write each pose [R|t] (metres) to DIR/OBJECT/FRAME.txt")
    add("--report", type=Path, metavar="FILE", help="write all numbers as JSON")
    add("--plots", type=Path, metavar="DIR", help="write overlays, error curves and the worst failures as pictures")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    add("--resume", action="store_true", help="go on with an interrupted run (needs --csv as before)")
    add("--no-vsd", action="store_true", help="leave out VSD where the data set has depth")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from pose_estimation_ros.evaluation import report
    from pose_estimation_ros.evaluation.bop_results import read_results
    from pose_estimation_ros.evaluation.localisation import object_points

    _check(arguments)
    bundle = load_bundle(arguments.bundle) if arguments.bundle else None
    dataset = _dataset(arguments)
    targets, notes = _targets(arguments, dataset, bundle)
    names = {model.object_id: model.name for model in (bundle.catalog if bundle else dataset.catalog)}
    context: dict[str, Any] = {"command": arguments.command_line, "data_set": str(arguments.bop), "split": arguments.split}
    context |= {"images": len(dataset.images), "notes": notes}
    records, boxes = None, None
    if arguments.from_csv is not None:
        estimates = read_results(arguments.from_csv)
        context["results"] = str(arguments.from_csv)
    else:
        assert bundle is not None
        records, settings = _estimate(arguments, dataset, targets, bundle)
        if records is None:
            return _INTERRUPTED
        context |= settings
        estimates = [item for record in records for item in record.estimates]
        boxes = [box for record in records for box in record.boxes] if arguments.detections == "model" else None
    models = object_points(dataset.models_dir, dataset.catalog, {target.object_id for target in targets})
    evaluation = report.evaluate(
        dataset, targets, estimates, models, boxes, arguments.gt_box, _depth_renderer(arguments, dataset),
        progress=lambda items: tqdm(items, desc="errors", unit="target", disable=None),
    )  # fmt: skip
    if records is not None:
        evaluation = replace(
            evaluation,
            seconds_per_image=sum(record.time_s for record in records) / len(records),
            stages_s=report.stage_means(records),
        )
        context["images_without_pose"] = report.reasons(records)
    _write(arguments, evaluation, estimates, models, names, context, dataset)
    _print(evaluation, names, notes, context)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if (arguments.bundle is None) == (arguments.from_csv is None) and arguments.from_csv is None:
        raise ValueError("--bundle: missing; expected a bundle to run, or --from-csv with results to score")
    if arguments.resume and arguments.csv is None:
        raise ValueError("--resume: needs the --csv of the interrupted run, the finished images lie beside it")
    if arguments.candidates < 1:
        raise ValueError(f"--candidates {arguments.candidates}: expected at least 1")


def _dataset(arguments: argparse.Namespace) -> BopDataset:
    dataset = BopDataset(arguments.bop, arguments.split)
    if arguments.image_range is not None:
        try:
            parts = [int(part) if part else None for part in arguments.image_range.split(":")]
            chosen = dataset.images[slice(*parts)] if 2 <= len(parts) <= 3 else None
        except ValueError:
            chosen = None
        if not chosen:
            raise ValueError(f"--image-range {arguments.image_range}: expected A:B[:STEP] within 0:{len(dataset.images)}")
        dataset.images = chosen
    if arguments.images is not None:
        if arguments.images < 1:
            raise ValueError(f"--images {arguments.images}: expected at least 1")
        dataset.images = dataset.images[: arguments.images]
    return dataset


def _targets(
    arguments: argparse.Namespace, dataset: BopDataset, bundle: Bundle | None
) -> tuple[list[BopTarget], list[str]]:
    """Return the targets of the chosen images and notes on what is left out."""
    everything = read_targets(arguments.targets) if arguments.targets else dataset.targets
    there = {image.key for image in dataset.images}
    targets = [target for target in everything if (target.scene_id, target.image_id) in there]
    notes = []
    if len(targets) < len(everything):
        notes.append(f"{len(everything) - len(targets)} of {len(everything)} targets are of other images")
    known: Catalog | None = bundle.catalog if bundle is not None else None
    if known is not None:
        missing = sorted({item.object_id for item in targets if known.index_of_id(item.object_id) is None})
        if missing:
            notes.append(f"objects that the bundle does not know are left out: {', '.join(map(str, missing))}")
        targets = [target for target in targets if target.object_id not in missing]
    if not targets:
        raise ValueError(f"{arguments.bop}: no targets among {len(there)} images; expected ground truth of known objects")
    return targets, notes


def _estimate(arguments: argparse.Namespace, dataset: BopDataset, targets: list[BopTarget], bundle: Bundle):
    """Run the pipeline; return its records (None when interrupted) and the settings they depend on."""
    from tqdm import tqdm

    from pose_estimation_ros.evaluation.run import Runner, run_images
    from pose_estimation_ros.pipeline import Pipeline, resolve_device

    device = resolve_device(arguments.device)
    detector = None
    if arguments.detections == "model":
        from pose_estimation_ros.detection.mask_rcnn import MaskRCNN

        detector = MaskRCNN.from_bundle(bundle, device)
    mesh_dir = arguments.mesh_dir
    if mesh_dir is None and bundle.meshes is None:
        mesh_dir = arguments.bop / "models"
    pipeline = Pipeline(
        bundle, backend=arguments.backend, refiner=arguments.refiner, device=arguments.device, mesh_dir=mesh_dir,
        score_threshold=arguments.score_threshold, detector=detector or _NoDetector(), track=False,
    )  # fmt: skip
    pipeline.min_pose_score = 0.0  # a recall cannot profit from poses that are held back
    pipeline.warm_up(dataset.images[0].camera.width, dataset.images[0].camera.height)
    settings = {
        "bundle": bundle.name,
        "weights_sha256": {role: entry.sha256 for role, entry in sorted(bundle.networks.items())},
        "backend": arguments.backend,
        "refiner": arguments.refiner,
        "detections": arguments.detections,
        "gt_box": arguments.gt_box,
        "score_threshold": arguments.score_threshold,
        "candidates": arguments.candidates,
        "device": str(device),
    }
    runner = Runner(
        pipeline, bundle.catalog, detector, arguments.gt_box, arguments.score_threshold, arguments.candidates
    )
    partial = arguments.csv.with_name(arguments.csv.name + ".partial.jsonl") if arguments.csv else None
    selection = {"images": [list(image.key) for image in dataset.images]}
    try:
        records = run_images(
            dataset, targets, runner, partial, settings | selection, arguments.resume,
            progress=lambda images: tqdm(images, desc="images", unit="image", disable=None),
        )  # fmt: skip
    except KeyboardInterrupt:
        hint = f"; {partial} holds the finished images, go on with --resume" if partial else ""
        print(f"pose_evaluate: interrupted{hint}", file=sys.stderr)
        return None, settings
    return records, settings


class _NoDetector:
    """Stands in where the boxes come from the ground truth, so that a bundle without a detector can be evaluated."""

    def detect(self, frame: object, score_threshold: float) -> list:
        """Find nothing."""
        return []


def _depth_renderer(arguments: argparse.Namespace, dataset: BopDataset):
    if arguments.no_vsd or any(image.depth_path is None for image in dataset.images):
        return None
    from pose_estimation_ros.evaluation.silhouettes import Silhouettes

    return Silhouettes(dataset.models_dir, dataset.catalog).depth


def _write(arguments, evaluation, estimates, models, names, context, dataset) -> None:
    from pose_estimation_ros.evaluation import bop_results, report

    if arguments.csv is not None and arguments.from_csv is None:
        bop_results.write_results(arguments.csv, estimates)
        arguments.csv.with_name(arguments.csv.name + ".partial.jsonl").unlink(missing_ok=True)
        objection = bop_results.check_file_name(arguments.csv)
        if objection:
            context["notes"].append(objection)
    if arguments.poses_dir is not None:
        bop_results.write_pose_texts(arguments.poses_dir, estimates, names)
    if arguments.report is not None:
        report.write_report(arguments.report, report.report_content(evaluation, models, names, context))
    if arguments.plots is not None:
        from pose_estimation_ros.evaluation.plots import write_plots

        write_plots(arguments.plots, dataset, evaluation, models, names)


def _print(evaluation, names, notes: list[str], context: dict[str, Any]) -> None:
    from pose_estimation_ros.evaluation.report import format_table

    print(format_table(evaluation, names))
    if evaluation.seconds_per_image is not None:
        stages = ", ".join(f"{name} {value:.3f}" for name, value in evaluation.stages_s.items() if name != "total")
        print(f"seconds per image: {evaluation.seconds_per_image:.3f}" + (f" ({stages})" if stages else ""))
    for reason, count in context.get("images_without_pose", {}).items():
        print(f"{count} images without a pose: {reason}")
    for note in notes:
        print(f"note: {note}")


if __name__ == "__main__":
    sys.exit(main())
