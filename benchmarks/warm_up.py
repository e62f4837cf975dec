"""Show that the node's second frame is as fast as its hundredth.

    python benchmarks/warm_up.py --bundle models/demo --refiner attention

Loads a bundle, warms up as the node does when it is configured, and times a hundred frames of the bundle's sequence, or
of a data set, in ground-truth boxes, the same image every time. Prints the first frames and percentiles of all others,
and how long they take without a warm-up.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from pose_estimation_ros.data.bop import BopDataset, targets_from
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.evaluation.run import truth_detections
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_warm_up import warm_up


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/demo")
    parser.add_argument("--bop", type=Path, help="default: the bundle's own sequence")
    parser.add_argument("--backend", default="pix2pose")
    parser.add_argument("--refiner", default="none")
    parser.add_argument("--mesh-dir", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/warm_up.py")
    rows = Rows()
    for name, warm in (("warmed up", True), ("without", False)):
        times = 1e3 * frame_times(arguments, warm)
        first = {f"frame_{number}_ms": float(times[number - 1]) for number in (1, 2, 3)}
        later = float(np.median(times[3:]))
        rows.add(start=name, **first, later_ms_p50=later, second_over_later=float(times[1]) / later)
    if arguments.result:
        write_result(arguments.result, origin, {"frames": arguments.frames, "rows": rows})


def frame_times(arguments: argparse.Namespace, warm: bool) -> np.ndarray:
    """Return how long every frame takes, shape (N,), seconds."""
    bundle = load_bundle(arguments.bundle)
    dataset = BopDataset(arguments.bop or bundle.path / "sequence", "test")
    image = dataset.images[0]
    frame, boxes = dataset.frame(image), truth_detections(image, targets_from([image]), bundle.catalog)
    mesh_dir = arguments.mesh_dir or (arguments.bop / "models" if arguments.bop else None)
    pipeline = Pipeline(bundle, arguments.backend, arguments.refiner, mesh_dir=mesh_dir)
    if warm:
        warm_up(pipeline, frame.camera.width, frame.camera.height)
    times = []
    for _ in range(arguments.frames):
        start = time.perf_counter()
        pipeline.detect(frame, pipeline.score_threshold)
        pipeline.process(frame, boxes)
        times.append(time.perf_counter() - start)
    return np.array(times)


if __name__ == "__main__":
    main()
