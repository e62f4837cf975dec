"""Average precision and recall of a bundle's detector alone, per object.

python benchmarks/detection.py --bundle models/lmo --bop ../shared/data/lmo [--image-range 0:60:2]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pose_estimation_ros.cli.evaluate_images import slice_images
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.evaluation.detection_ap import BoxDetection, average_precision, box_iou
from pose_estimation_ros.evaluation.report import box_truths
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.registry import find_method
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.objects.bundle import find_bundle, load_bundle

SCORE_THRESHOLD = 0.02


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--bop", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--image-range", metavar="FIRST:LAST:STEP")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    bundle = load_bundle(find_bundle(arguments.bundle))
    dataset = BopDataset(arguments.bop, arguments.split)
    images = dataset.images
    if arguments.image_range is not None:
        images = slice_images(images, "--image-range", arguments.image_range)
    method = find_method("detector", "mask_rcnn")
    detector = method.make(LoadContext(bundle, resolve_device(arguments.device), method.settings_model()(), None))
    found: list[BoxDetection] = []
    seconds = []
    for image in tqdm(images, unit="image"):
        frame = dataset.frame(image)
        begin = time.perf_counter()
        detections = detector.detect(frame, SCORE_THRESHOLD)
        seconds.append(time.perf_counter() - begin)
        found += [
            BoxDetection(image.key, bundle.catalog[item.object_index].object_id, item.score, item.box)
            for item in detections
        ]
    keys = {image.key for image in images}
    ids = [model.object_id for model in bundle.catalog]
    truths = [item for item in box_truths(dataset, ids, "full") if item.image in keys]
    precision = average_precision(found, truths)
    print(f"{'object':<14}{'n':>5}{'AP %':>8}{'AP50 %':>8}{'recall at .5, % (any score; alarms above .5)':>48}")
    for model in bundle.catalog:
        mine = [item for item in found if item.object_id == model.object_id]
        asked = [item for item in truths if item.object_id == model.object_id and not item.ignore]
        hits = [
            any(box_iou(truth.box[None], other.box[None])[0, 0] >= 0.5 for other in mine if other.image == truth.image)
            for truth in asked
        ]
        alarms = sum(
            item.score >= 0.5
            and not any(
                box_iou(item.box[None], truth.box[None])[0, 0] >= 0.5
                for truth in truths
                if truth.object_id == model.object_id and truth.image == item.image
            )
            for item in mine
        )
        scores = precision.get(model.object_id, {"ap": np.nan, "ap50": np.nan})
        print(
            f"{model.name:<14}{len(asked):>5}{100 * scores['ap']:>8.1f}{100 * scores['ap50']:>8.1f}"
            f"{100 * np.mean(hits) if hits else np.nan:>40.1f}{alarms:>8}"
        )
    ap, ap50 = (100 * np.mean([scores[key] for scores in precision.values()]) for key in ("ap", "ap50"))
    print(f"{'mean':<19}{ap:>8.1f}{ap50:>8.1f}   {1000 * np.median(seconds):.0f} ms an image (median)")


if __name__ == "__main__":
    main()
