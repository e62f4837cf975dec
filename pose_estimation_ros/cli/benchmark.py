"""pose_benchmark: measure time per stage, throughput and memory of a bundle on this machine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Collection
from dataclasses import asdict, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from pose_estimation_ros.cli.benchmark_source import Sample, beside, open_source, with_boxes
from pose_estimation_ros.cli.settings_options import add_settings_option, method_help, settings_of
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.evaluation.machine import describe_machine
from pose_estimation_ros.evaluation.results import add_result_option, origin_of, write_result
from pose_estimation_ros.evaluation.timing import Measurement, comparison, peak_memory_mb, spreads, table
from pose_estimation_ros.geometry.symmetry import symmetric_distance, symmetry_transforms
from pose_estimation_ros.methods.base import Detector, LoadContext
from pose_estimation_ros.methods.registry import NONE, find_method
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_settings import RunSettings
from pose_estimation_ros.pipeline_warm_up import warm_up
from pose_estimation_ros.tracking.object_pose import ObjectPose

_FRAME_NS = 33_000_000


class FixedBoxes:
    """Run the detector, then hand on the boxes of the sample, so that every frame carries the same load.

    Args:
        detector: what is measured; None measures none.

    Attributes:
        boxes: those of the sample.
        candidates: how many boxes there are to be with those that a detector is unsure of, where the pipeline looks
            at such; they lie beside the others.
    """

    def __init__(self, detector: Detector | None) -> None:
        self._detector = detector
        self.boxes: list[Detection] = []
        self.candidates = 0

    def detect(self, frame: Frame, score_threshold: float, objects: Collection[int] | None = None) -> list[Detection]:
        """Return the boxes of the sample."""
        if self._detector is not None:
            asked = () if objects is None else (objects,)  # a detector of another package may know of no objects
            self._detector.detect(frame, score_threshold, *asked)
        missing = max(0, self.candidates - len(self.boxes))
        unsure = islice(cycle(self.boxes), missing if self.boxes else 0)
        return self.boxes + [replace(item, score=score_threshold, box=beside(item.box)) for item in unsure]


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = parser_of_benchmark().parse_args(argv)
    try:
        origin = origin_of("pose_benchmark", argv)
        second = _with_other_backend(arguments) if arguments.compare else None
        measurement = measure(arguments)
        print(table(measurement))
        other = measure(second) if second is not None else None
        content = asdict(measurement) | ({"compared_with": asdict(other)} if other else {})
        if arguments.result is not None:
            write_result(arguments.result, origin, content)
        if arguments.json is not None:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(content, indent=2) + "\n")
    except (ValueError, OSError) as error:  # BundleError is a ValueError
        print(f"pose_benchmark: error: {error}", file=sys.stderr)
        return 2
    if other is not None:
        print(f"\n{table(other)}\n\n{comparison(measurement, other)}")
    return 0


def _with_other_backend(arguments: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments of the run that is compared with."""
    changes = {"backend": arguments.compare, "assignments": [*arguments.assignments, *arguments.compare_set]}
    find_method("backend", arguments.compare)
    return argparse.Namespace(**{**vars(arguments), **changes})


def _fixed(arguments: argparse.Namespace) -> dict[str, object]:
    """Return what the options say of settings; smoothing would mix the poses of different images."""
    chosen = {
        "backend": arguments.backend,
        "refiner": arguments.refiner,
        "device": arguments.device,
        "detector__score_threshold": arguments.score_threshold,
        "tracking__enabled": False if arguments.compare else None,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _detector(bundle: Bundle, device: torch.device, settings: RunSettings) -> Detector:
    method = find_method("detector", settings.pipeline.detector.method)
    refines = settings.pipeline.refiner != NONE
    detector: Detector = method.make(LoadContext(bundle, device, settings.methods[method.name], refines=refines))
    return detector


def parser_of_benchmark() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="pose_benchmark",
        description=__doc__,
        epilog="Without --bop or --image the bundle's own sequence is used, and noise where it has none. Noise shows "
        "no object, so that a backend may find fewer correspondences and be faster than on real images.",
    )
    parser.add_argument("--bundle", required=True, help="folder of the bundle, or the name of a shipped one")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--bop", type=Path, help="data set in BOP layout; boxes are those of the ground truth")
    source.add_argument("--image", type=Path, help="one image; as many boxes as objects are laid over it")
    parser.add_argument("--split", default="test", help="split of the data set (default: test)")
    parser.add_argument("--boxes", choices=["given", "model"], default="given",
                        help="given: the detector runs, but poses are estimated in the boxes of the source, as many in "
                        "every run; model: in the detector's own boxes (default: given)")  # fmt: skip
    parser.add_argument("--no-detector", action="store_true", help="leave the detector out")
    parser.add_argument("--backend", help=f"pose estimator: {method_help('backend')}")
    parser.add_argument("--refiner", help=f"refiner: {method_help('refiner')}")
    add_settings_option(parser)
    parser.add_argument("--compare", metavar="BACKEND",
                        help="afterwards run this pose estimator on the same frames, or the same one with other "
                        "settings (--compare-set), and compare time and rotation error")  # fmt: skip
    parser.add_argument("--compare-set", action="append", default=[], metavar="NAME=VALUE",
                        help="setting of the second run alone: --compare-set nemo.procedure=paper")  # fmt: skip
    parser.add_argument("--objects", type=int, metavar="N",
                        help="boxes in every frame: the first ones of the source, or some more than once")  # fmt: skip
    parser.add_argument("--rate", type=float, metavar="HZ", help="of the camera (default: as fast as frames are done)")
    parser.add_argument("--frames", type=int, default=30, help="frames to measure (default: 30)")
    parser.add_argument("--score-threshold", type=float, help="of the detector")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--threads", type=int, help="threads of PyTorch on the CPU (default: PyTorch's own choice)")
    parser.add_argument("--mesh-dir", type=Path, help="where the meshes are that the bundle does not ship")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    add_result_option(parser)
    return parser


def measure(arguments: argparse.Namespace) -> Measurement:
    """Load the bundle, run the frames and return the numbers.

    Raises:
        ValueError: if an argument does not fit.
        BundleError: if the bundle lacks what is asked for.
    """
    if arguments.frames < 1:
        raise ValueError(f"--frames {arguments.frames}: expected at least 1")
    for name, given in (("--objects", arguments.objects), ("--rate", arguments.rate)):
        if given is not None and not given > 0:
            raise ValueError(f"{name} {given}: expected more than 0")
    if arguments.no_detector and arguments.boxes == "model":
        raise ValueError("--boxes model: needs the detector that --no-detector leaves out")
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    bundle = load_bundle(arguments.bundle)
    settings = settings_of(arguments, bundle, **_fixed(arguments))
    device = resolve_device(settings.pipeline.device)
    source, samples = open_source(arguments, bundle)
    if arguments.objects is not None:
        samples = [with_boxes(sample, arguments.objects) for sample in samples]
    start_s = time.perf_counter()
    detector = None if arguments.no_detector else _detector(bundle, device, settings)
    fixed = FixedBoxes(detector)
    pipeline = Pipeline(
        bundle,
        mesh_dir=arguments.mesh_dir,
        detector=detector if detector is not None and arguments.boxes == "model" else fixed,
        settings=settings,
    )
    if pipeline.verifier is not None:
        fixed.candidates = pipeline.verifier.settings.max_poses
    camera = samples[0].frame.camera
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    warm_up(pipeline, camera.width, camera.height)
    load_s = time.perf_counter() - start_s
    timings, boxes, poses, comparisons, errors = _run(
        pipeline,
        fixed,
        samples,
        arguments.frames,
        bool(arguments.compare) and arguments.boxes == "given",
        arguments.rate,
    )
    return Measurement(
        machine=describe_machine(device),
        bundle=bundle.name,
        backend=settings.pipeline.backend,
        refiner=settings.pipeline.refiner,
        device=str(device),
        source=source,
        image_size=f"{camera.width}x{camera.height}",
        frames=len(timings),
        boxes_per_frame=float(np.mean(boxes)),
        poses_per_frame=float(np.mean(poses)),
        load_s=load_s,
        stages_ms=spreads(timings),
        throughput_fps=len(timings) / sum(item["total"] for item in timings),
        comparisons_per_pose=comparisons / max(1, sum(poses)),
        peak_memory_mb=peak_memory_mb(device),
        median_rotation_deg=float(np.degrees(np.median(errors))) if errors else None,
    )


def _run(
    pipeline: Pipeline,
    fixed: FixedBoxes,
    samples: list[Sample],
    frames: int,
    with_errors: bool,
    rate_hz: float | None = None,
) -> tuple[list[dict[str, float]], list[int], list[int], int, list[float]]:
    """Return timings, boxes and poses per frame, all comparisons, and rotation errors in radians where truth is known.

    The results themselves hold whole images.
    """
    from tqdm import tqdm

    timings, boxes, poses, comparisons = [], [], [], 0
    errors: list[float] = []
    run = islice(cycle(samples), frames)
    start_s = time.perf_counter()
    for number, sample in enumerate(tqdm(run, total=frames, desc="frames", unit="frame", disable=None)):
        fixed.boxes = sample.boxes
        if rate_hz is not None:
            time.sleep(max(0.0, start_s + number / rate_hz - time.perf_counter()))
        result = pipeline.process(replace(sample.frame, stamp_ns=number * _FRAME_NS))
        timings.append(result.timings_s)
        boxes.append(len(result.detections))
        poses.append(len(result.poses))
        comparisons += sum(pose.comparisons for pose in result.poses)
        if with_errors:
            errors += rotation_errors(pipeline.bundle.catalog, sample, result.poses)
    return timings, boxes, poses, comparisons, errors


def rotation_errors(catalog: Catalog, sample: Sample, poses: list[ObjectPose]) -> list[float]:
    """Return the angle in radians between each true pose and the one found in its box; pi / 2 where there is none."""
    errors = []
    for box, truth in zip(sample.boxes, sample.poses, strict=False):
        found = [item for item in poses if np.array_equal(item.box, box.box) and item.object_index == box.object_index]
        model = catalog[box.object_index]
        around = [(item.axis, item.offset_m) for item in model.continuous_symmetries]
        symmetries = symmetry_transforms(model.discrete_symmetries, around)
        angles = [symmetric_distance(item.camera_from_object, truth, symmetries)[0] for item in found]
        errors.append(min(angles, default=float(np.pi / 2.0)))
    return errors


if __name__ == "__main__":
    sys.exit(main())
