"""Average precision, recall and false alarms of a bundle's detector alone, per object.

python benchmarks/detection.py --bundle models/lmo --bop ../shared/data/lmo [--image-range 0:60:2]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pose_estimation_ros.cli.evaluate_images import slice_images
from pose_estimation_ros.data.bop import BopDataset, BopImage
from pose_estimation_ros.evaluation.detection_ap import BoxDetection, BoxTruth, average_precision, box_iou
from pose_estimation_ros.evaluation.report import box_truths
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.registry import find_method
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.objects.bundle import Bundle, find_bundle, load_bundle

LOWEST_SCORE = 0.02
ALARM_SCORE = 0.5
MIN_IOU = 0.5


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--bop", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--image-range", metavar="A:B[:STEP]")
    parser.add_argument("--device", default="auto")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/detection.py")
    dataset = BopDataset(arguments.bop, arguments.split)
    images = dataset.images
    if arguments.image_range is not None:
        images = slice_images(images, "--image-range", arguments.image_range)
    rows, milliseconds = score_detector(load_bundle(find_bundle(arguments.bundle)), dataset, images, arguments.device)
    if arguments.result:
        write_result(arguments.result, origin, {"rows": list(rows), "milliseconds": milliseconds})


def score_detector(
    bundle: Bundle, dataset: BopDataset, images: list[BopImage], device: str = "auto"
) -> tuple[Rows, float]:
    """Run a bundle's detector over images; return one row per object and their mean, and the time per image."""
    method = find_method("detector", "mask_rcnn")
    detector = method.make(LoadContext(bundle, resolve_device(device), method.settings_model()(), None))
    found: list[BoxDetection] = []
    seconds = []
    for image in tqdm(images, unit="image"):
        frame = dataset.frame(image)
        begin = time.perf_counter()
        detections = detector.detect(frame, LOWEST_SCORE)
        seconds.append(time.perf_counter() - begin)
        found += [
            BoxDetection(image.key, bundle.catalog[item.object_index].object_id, item.score, item.box)
            for item in detections
        ]
    keys = {image.key for image in images}
    ids = [model.object_id for model in bundle.catalog]
    truths = [item for item in box_truths(dataset, ids, "full") if item.image in keys]
    precision = average_precision(found, truths)
    rows = Rows()
    for model in bundle.catalog:
        mine = [item for item in found if item.object_id == model.object_id]
        theirs = [item for item in truths if item.object_id == model.object_id]
        asked = [item for item in theirs if not item.ignore]
        rows.add(
            object=model.name,
            instances=len(asked),
            **precision.get(model.object_id, {"ap": np.nan, "ap50": np.nan}),
            recall=float(np.mean([_covers(truth, mine) for truth in asked])) if asked else np.nan,
            false_alarms=sum(item.score >= ALARM_SCORE and not _covers(item, theirs) for item in mine),
        )
    mean: dict[str, Any] = {key: float(np.nanmean([row[key] for row in rows])) for key in ("ap", "ap50", "recall")}
    instances, alarms = (sum(row[key] for row in rows) for key in ("instances", "false_alarms"))
    rows.add(object="mean", instances=instances, **mean, false_alarms=alarms)
    return rows, 1000.0 * float(np.median(seconds))


def _covers(box: BoxDetection | BoxTruth, others: list[Any]) -> bool:
    """Return whether any other box of the same image is at about the same place, whatever its score."""
    same = [other.box for other in others if other.image == box.image]
    return bool(same) and float(box_iou(box.box[None], np.stack(same)).max()) >= MIN_IOU


if __name__ == "__main__":
    main()
