"""pose_evaluate: measure a bundle, or an existing result file, on a data set in BOP layout."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from pose_estimation_ros.cli.evaluate_images import find_targets, open_dataset, part_of, slice_images
from pose_estimation_ros.cli.evaluate_options import make_parser
from pose_estimation_ros.cli.evaluate_output import print_outputs, write_outputs
from pose_estimation_ros.cli.settings_options import settings_of
from pose_estimation_ros.data.bop import BopDataset, BopImage, BopTarget
from pose_estimation_ros.evaluation import report
from pose_estimation_ros.evaluation.bop_results import (
    Estimate,
    read_results,
)
from pose_estimation_ros.evaluation.detection_ap import BoxDetection
from pose_estimation_ros.evaluation.localisation import object_points
from pose_estimation_ros.evaluation.metrics import DepthRenderer
from pose_estimation_ros.evaluation.partial import partial_file
from pose_estimation_ros.evaluation.published import (
    AsNode,
    Published,
    describe_published,
    judge_published,
    published_figures,
    write_published,
)
from pose_estimation_ros.evaluation.results import Origin, origin_of, write_result
from pose_estimation_ros.evaluation.run import ImageRecord, Runner, run_images
from pose_estimation_ros.evaluation.silhouettes import Silhouettes
from pose_estimation_ros.methods.registry import choices
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.pipeline_settings import RunSettings
from pose_estimation_ros.settings import nearest
from pose_estimation_ros.training import processes

_INTERRUPTED = 130  # exit code of a program ended by Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = make_parser().parse_args(argv)
    try:
        with processes.joined(arguments.device or "auto") as device:
            if processes.count() > 1:
                arguments.device = str(device)
            return _run(arguments, origin_of("pose_evaluate", argv))
    except (ValueError, OSError) as error:  # BundleError is a ValueError
        print(f"pose_evaluate: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the first image or after the last
        print("pose_evaluate: interrupted", file=sys.stderr)
        return _INTERRUPTED


def _run(arguments: argparse.Namespace, origin: Origin) -> int:
    from tqdm import tqdm

    _check(arguments)
    bundle = load_bundle(arguments.bundle) if arguments.bundle else None
    dataset = open_dataset(arguments)
    part = slice_images(dataset.images, "--part", arguments.part) if arguments.part else None
    asked = _run_settings(arguments, bundle).pipeline.objects if bundle and arguments.from_csv is None else ()
    targets, notes = find_targets(arguments, dataset, bundle, asked)
    names = {model.object_id: model.name for model in (bundle.catalog if bundle else dataset.catalog)}
    context: dict[str, Any] = {
        **asdict(origin),
        "data_set": str(arguments.bop),
        "split": arguments.split,
        "images": len(dataset.images),
        "notes": notes,
    }
    results = _results(arguments, dataset, targets, bundle, context)
    if results is None:
        return _INTERRUPTED
    if not processes.is_first():
        return 0
    models = object_points(dataset.models_dir, dataset.catalog, {target.object_id for target in targets})
    evaluation = report.evaluate(
        dataset,
        targets,
        results.estimates,
        models,
        results.boxes,
        arguments.gt_box,
        _depth_renderer(arguments, dataset),
        progress=lambda items: tqdm(items, desc="errors", unit="target", disable=None),
    )
    if results.records:
        evaluation = replace(
            evaluation,
            seconds_per_image=sum(record.time_s for record in results.records) / len(results.records),
            stages_s=report.stage_means(results.records),
        )
    figures = {"images": len(dataset.images), **report.figures(evaluation, names)}
    published = _published(results, dataset.images, set(names))
    if published is not None:
        context["published"] = figures["published"] = published_figures(published)
    scores = None
    if part is not None:
        scores = report.score(dataset, evaluation.targets, models, results.boxes, arguments.gt_box, part)
        context["part"] = figures["part"] = {"images": len(part), **report.figures(scores, names)}
        published_part = _published(results, part, set(names))
        if published_part is not None:
            context["part"]["published"] = published_figures(published_part)
    write_outputs(arguments, evaluation, results.estimates, models, names, context, dataset)
    if arguments.plots is not None and published is not None:
        write_published(arguments.plots / "published.png", published)
    if arguments.result is not None:
        write_result(arguments.result, origin, figures)
    print_outputs(evaluation, names, context)
    if scores is not None:
        print(f"\nimages {arguments.part} alone:\n{report.format_table(scores, names)}")
        if "published" in context["part"]:
            print(describe_published(context["part"]["published"]))
    return 0


@dataclass(frozen=True)
class _Results:
    """What is scored."""

    estimates: list[Estimate]
    boxes: list[BoxDetection] | None = None  # None where no detector ran
    records: tuple[ImageRecord, ...] = ()  # empty where nothing ran
    threshold: float | None = None  # of the scores that the node publishes; None where no detector ran


def _published(results: _Results, images: list[BopImage], object_ids: set[int]) -> Published | None:
    """Judge what the node publishes in some images; None where no detector ran."""
    if results.threshold is None:
        return None
    keys = {image.key for image in images}
    own = [record for record in results.records if (record.scene_id, record.image_id) in keys]
    candidates = [item for record in own for item in record.candidates]
    return judge_published(images, candidates, object_ids, results.threshold)


def _results(
    arguments: argparse.Namespace,
    dataset: BopDataset,
    targets: list[BopTarget],
    bundle: Bundle | None,
    context: dict[str, Any],
) -> _Results | None:
    """Read or make the poses, and add to the context how they came about; None when interrupted."""
    if arguments.from_csv is not None:
        context["results"] = str(arguments.from_csv)
        return _Results(read_results(arguments.from_csv))
    assert bundle is not None
    run = _run_settings(arguments, bundle)
    runner = _runner(arguments, dataset, bundle, run)
    settings = _settings(arguments, bundle, run)
    records = _process(arguments, dataset, targets, runner, settings)
    if records is None:
        return None
    context |= settings | {"images_without_pose": report.reasons(records)}
    return _Results(
        estimates=[item for record in records for item in record.estimates],
        boxes=[box for record in records for box in record.boxes] if arguments.detections != "gt" else None,
        records=tuple(records),
        threshold=runner.node.threshold if runner.node is not None else None,
    )


def _check(arguments: argparse.Namespace) -> None:
    whose = ("gt", "model", *choices("detector"))
    if arguments.detections not in whose:
        raise ValueError(f"--detections {arguments.detections}: {nearest(arguments.detections, whose)}")
    if arguments.bundle is None and arguments.from_csv is None:
        raise ValueError("--bundle: missing; expected a bundle to run, or --from-csv with results to score")
    if arguments.resume and arguments.csv is None:
        raise ValueError("--resume: needs the --csv of the interrupted run, the finished images lie beside it")
    if not 0.0 <= arguments.box_error < 1.0:
        raise ValueError(f"--box-error {arguments.box_error}: expected a number from 0 to below 1")
    if arguments.box_error and arguments.detections != "gt":
        raise ValueError(f"--box-error {arguments.box_error}: needs --detections gt, a detector makes its own errors")
    if arguments.candidates < 1:
        raise ValueError(f"--candidates {arguments.candidates}: expected at least 1")


def _runner(arguments: argparse.Namespace, dataset: BopDataset, bundle: Bundle, run: RunSettings) -> Runner:
    from pose_estimation_ros.debug_images import draw_debug_images
    from pose_estimation_ros.pipeline import Pipeline
    from pose_estimation_ros.pipeline_warm_up import warm_up

    mesh_dir = arguments.mesh_dir
    if mesh_dir is None and bundle.meshes is None:
        mesh_dir = arguments.bop / "models"
    without = arguments.detections == "gt"
    pipeline = Pipeline(bundle, mesh_dir=mesh_dir, detector=_NoDetector() if without else None, settings=run)
    first = dataset.images[0].camera
    warm_up(pipeline, first.width, first.height)
    return Runner(
        pipeline,
        bundle.catalog,
        None if without else pipeline,
        arguments.gt_box,
        arguments.box_error,
        run.pipeline.detector.score_threshold,
        arguments.candidates,
        debug_dir=arguments.plots,
        draw=partial(draw_debug_images, pipeline),
        node=None if without else AsNode(pipeline, settings_of(arguments, bundle)),
    )


def _run_settings(arguments: argparse.Namespace, bundle: Bundle) -> RunSettings:
    """Return the settings of the run, options of the command before `--set`."""
    chosen = {
        "backend": arguments.backend,
        "refiner": arguments.refiner,
        "device": arguments.device,
        "detector__method": None if arguments.detections in ("model", "gt") else arguments.detections,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    # A recall cannot profit from poses that are held back.
    fixed = {
        "tracking__enabled": False,
        "detector__score_threshold": arguments.score_threshold,
        "pose__score_threshold": 0.0,
    }
    return settings_of(arguments, bundle, **fixed, **given)


def _settings(arguments: argparse.Namespace, bundle: Bundle, run: RunSettings) -> dict[str, Any]:
    """Return what the poses depend on."""
    return {
        "bundle": bundle.name,
        "weights_sha256": {role: entry.sha256 for role, entry in sorted(bundle.networks.items())},
        "detections": arguments.detections,
        "gt_box": arguments.gt_box,
        "box_error": arguments.box_error,
        "candidates": arguments.candidates,
        "settings": run.values() | {"device": str(resolve_device(run.pipeline.device))},
    }


def _process(
    arguments: argparse.Namespace,
    dataset: BopDataset,
    targets: list[BopTarget],
    runner: Runner,
    settings: dict[str, Any],
) -> list[ImageRecord] | None:
    from tqdm import tqdm

    count, number = processes.count(), processes.number()
    if count > 1:
        settings = settings | {"processes": count}
    unfinished = partial_file(arguments.csv, number) if arguments.csv else None
    try:
        records = run_images(
            part_of(dataset, number, count),
            targets,
            runner,
            unfinished,
            settings
            | {"data_set": str(arguments.bop.resolve()), "images": [list(image.key) for image in dataset.images]},
            arguments.resume,
            progress=lambda images: tqdm(images, desc="images", unit="image", disable=True if number else None),
        )
    except KeyboardInterrupt:
        hint = f"; {unfinished} holds the finished images, go on with --resume" if unfinished else ""
        print(f"pose_evaluate: interrupted{hint}", file=sys.stderr)
        return None
    shares = processes.from_all(records)
    return sorted((record for share in shares for record in share), key=lambda item: (item.scene_id, item.image_id))


class _NoDetector:
    """Stands in where the boxes come from the ground truth, so that a bundle without a detector can be evaluated."""

    def detect(self, frame: object, score_threshold: float, objects: object = None) -> list:
        """Find nothing."""
        return []


def _depth_renderer(arguments: argparse.Namespace, dataset: BopDataset) -> DepthRenderer | None:
    if arguments.no_vsd or any(image.depth_path is None for image in dataset.images):
        return None
    return Silhouettes(dataset.models_dir, dataset.catalog).depth


if __name__ == "__main__":
    sys.exit(main())
