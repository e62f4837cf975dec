"""Count what a bundle finds in photographs that show none of its objects: every name is a false one.

    pose_add --bundle runs/held_out_generic --models runs/held_out/models --elevation 0 90 --roll -45 45
    python benchmarks/false_names.py --bundle runs/held_out_generic --bop ../shared/data/lmo

Detector, backend and thresholds are those of the bundle, as the node takes them.
"""

from __future__ import annotations

import argparse
from collections import Counter

from bop_images import arguments_parser
from tqdm import tqdm

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.evaluation.results import Rows, origin_of, write_result
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.pipeline import Pipeline


def main() -> None:
    """Run the benchmark and print a table."""
    arguments = arguments_parser(__doc__, "runs/demo_generic").parse_args()
    origin = origin_of("python benchmarks/false_names.py")
    measured, names = counted(arguments)
    Rows().add(**measured)
    print(", ".join(f"{name}: {count}" for name, count in names.most_common()) or "no names at all")
    if arguments.result:
        write_result(arguments.result, origin, {**measured, "names": dict(names)})


def counted(arguments: argparse.Namespace) -> tuple[dict[str, float], Counter[str]]:
    """Return how many poses and detections an image has, and how often each name was given.

    Raises:
        ValueError: if the photographs may show the objects.
    """
    bundle = load_bundle(arguments.bundle)
    dataset = BopDataset(arguments.bop, arguments.split)
    there = {(item.name, round(item.diameter_m, 4)) for item in dataset.catalog}
    shown = [item.name for item in bundle.catalog if (item.name, round(item.diameter_m, 4)) in there]
    if shown:
        raise ValueError(f"{arguments.bop} shows {', '.join(shown)} of {arguments.bundle}")
    pipeline = Pipeline(bundle, settings={"tracking.enabled": False})
    images = dataset.images[:: arguments.image_step]
    names: Counter[str] = Counter()
    detections = 0
    for image in tqdm(images, unit="img", disable=None):
        frame = dataset.frame(image)
        names.update(bundle.catalog[item.object_index].name for item in pipeline.process(frame).poses)
        detections += len(pipeline.detect(frame, pipeline.score_threshold))
    count = max(len(images), 1)
    return {
        "objects": len(bundle.catalog),
        "images": len(images),
        "false_poses": names.total() / count,
        "false_detections": detections / count,
    }, names


if __name__ == "__main__":
    main()
