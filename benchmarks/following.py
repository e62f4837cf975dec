"""Compare detecting in every frame with following by refinement, on the sequence of a bundle or of a data set.

    python benchmarks/following.py --bundle models/demo
    python benchmarks/following.py --bundle runs/mine --bop models/demo/sequence --backend unseen --objects mug

Runs the whole pipeline over the same frames in their order: detector and backend in every frame without refiner, the
same with it, and with `tracking.mode: refine`, where the poses of the frame before are refined and the detector looks
only now and then. Prints frames per second, time per stage, the median time of a frame, which is one without detection
where poses are followed, and the accuracy of each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pose_estimation_ros.data.bop import BopDataset, targets_from
from pose_estimation_ros.evaluation import report
from pose_estimation_ros.evaluation.bop_results import Estimate
from pose_estimation_ros.evaluation.localisation import object_points
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_result import STAGES
from pose_estimation_ros.pipeline_warm_up import warm_up

FRAME_NS = 100_000_000


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/demo")
    parser.add_argument("--bop", type=Path, help="default: the bundle's own sequence")
    parser.add_argument("--mesh-dir", type=Path)
    parser.add_argument("--backend", help="default: the bundle's")
    parser.add_argument("--objects", nargs="+", default=[], metavar="NAME", help="look for these alone; default: all")
    parser.add_argument("--detect-every", type=int, default=10)
    parser.add_argument("--score-threshold", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3, help="the time is the best of so many runs")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/following.py")
    bundle = load_bundle(arguments.bundle)
    dataset = BopDataset(arguments.bop or bundle.path / "sequence", "test")
    indices = bundle.catalog.indices_of(arguments.objects)
    asked = {model.object_id for index, model in enumerate(bundle.catalog) if indices is None or index in indices}
    variants: dict[str, dict[str, Any]] = {
        "detect, no refiner": {"refiner": "none"},
        "detect, refiner": {"refiner": "attention"},
        f"refine, detect every {arguments.detect_every}": {
            "refiner": "attention",
            "settings": {"tracking.mode": "refine", "tracking.detect_every": arguments.detect_every},
        },
    }
    rows = Rows()
    for name, options in variants.items():
        pipeline = Pipeline(
            bundle,
            backend=arguments.backend,
            refiner=options["refiner"],
            device="cpu",
            mesh_dir=arguments.mesh_dir,
            settings={
                "detector.score_threshold": arguments.score_threshold,
                "objects": arguments.objects,
                **options.get("settings", {}),
            },
        )
        camera = dataset.images[0].camera
        warm_up(pipeline, camera.width, camera.height)
        runs = [run(pipeline, dataset) for _ in range(arguments.rounds)]
        seconds, stages, estimates = min(runs, key=lambda item: float(item[0].sum()))
        targets = [target for target in targets_from(dataset.images) if target.object_id in asked]
        models = object_points(dataset.models_dir, dataset.catalog, {target.object_id for target in targets})
        scores = report.evaluate(dataset, targets, estimates, models).mean
        rows.add(
            mode=name,
            frames_per_second=len(dataset.images) / seconds.sum(),
            frame_ms_p50=1e3 * float(np.median(seconds)),
            **{f"{stage}_ms": 1e3 * stages[stage] for stage in STAGES},
            **{key: scores[key] for key in ("add_s_0_1d", "ar_mssd", "ar_mspd")},
        )
    if arguments.result:
        write_result(arguments.result, origin, {"images": len(dataset.images), "rows": rows})


def run(pipeline: Pipeline, dataset: BopDataset) -> tuple[npt.NDArray[np.float64], dict[str, float], list[Estimate]]:
    """Process the frames in their order; return the seconds of each, the mean seconds per stage, and the poses."""
    pipeline.reset_tracks()
    estimates: list[Estimate] = []
    timings: list[dict[str, float]] = []
    seconds: list[float] = []
    for number, image in enumerate(dataset.images):
        frame = replace(dataset.frame(image), stamp_ns=number * FRAME_NS)
        start = time.perf_counter()
        result = pipeline.process(frame)
        seconds.append(time.perf_counter() - start)
        timings.append(result.timings_s)
        for item in result.poses:
            object_id = pipeline.bundle.catalog[item.object_index].object_id
            scene_id, image_id = image.key
            estimates.append(Estimate(scene_id, image_id, object_id, float(item.score), item.camera_from_object))
    return np.array(seconds), means(timings), estimates


def means(timings: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of every stage."""
    return {stage: float(np.mean([item[stage] for item in timings])) for stage in STAGES}


if __name__ == "__main__":
    main()
