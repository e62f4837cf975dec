r"""Measure what the parts of the pix2pose backend bring on images, and how much of its error is distance.

    python benchmarks/pix2pose_parts.py --bundle models/lmo --bop ../shared/data/lmo --image-step 2

Runs the backend in ground-truth boxes as shipped, with one framing per object, and without the regressed centre and
size; the last row takes the shipped poses and moves them along their rays to the true depth. Then one line per object
on the depth errors.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bop_images import BopImages, arguments_parser
from tqdm import tqdm

from pose_estimation_ros.data.bop import BopDataset, targets_from
from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.evaluation.bop_results import Estimate
from pose_estimation_ros.evaluation.results import Rows, origin_of, write_result
from pose_estimation_ros.evaluation.run import truth_detections
from pose_estimation_ros.methods.pix2pose.estimator import Pix2Pose
from pose_estimation_ros.methods.pix2pose.network import CoordinateMaps
from pose_estimation_ros.methods.pix2pose.settings import Pix2PoseSettings
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_result import PipelineResult

FIGURES = ("add_s_0_1d", "projection_5px", "ar_mssd", "ar_mspd")
CPU = torch.device("cpu")


class WithoutPlacement(Pix2Pose):
    """The backend without the head that regresses centre and size."""

    def predict(self, crops: Crops) -> CoordinateMaps:
        """Return the maps of crops."""
        return super().predict(crops)._replace(placement=None)


def main() -> None:
    """Run the benchmark and print both tables."""
    parser = arguments_parser(__doc__, "models/lmo")
    parser.add_argument("--refiner", default="none", help="refine the poses of every row (default: none)")
    parser.add_argument("--mesh-dir", type=Path, help="meshes for the refiner (default: models/ of the data set)")
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/pix2pose_parts.py")
    images = BopImages(arguments)
    bundle, dataset = images.bundle, images.dataset
    shipped = Pix2Pose.from_bundle(bundle, CPU)
    single = Pix2Pose.from_bundle(
        bundle, CPU, Pix2PoseSettings(framing_scales=(), framing_shifts_x=(), framing_shifts_y=())
    )
    unplaced = WithoutPlacement(shipped.network, bundle.catalog, shipped.crop_size)
    refining = {"refiner": arguments.refiner, "mesh_dir": arguments.mesh_dir or arguments.bop / "models"}
    variants = {
        "as shipped": shipped,
        "one framing per object (`framing_scales`)": single,
        "without the regressed centre and size": unplaced,
    }
    estimates = {
        name: poses(Pipeline(bundle, backend, device="cpu", settings={"tracking.enabled": False}, **refining), dataset)
        for name, backend in variants.items()
    }
    estimates["as shipped, at the true depth"] = at_true_depth(estimates["as shipped"], dataset)
    rows, depths = Rows(), Rows()
    for name, found in estimates.items():
        mean = images.mean(found)
        rows.add(variant=name, **{key: mean[key] for key in FIGURES})
    print()
    ratios = depth_ratios(estimates["as shipped"], dataset)
    chosen = {"all": [item for _, item in ratios]}
    for model in bundle.catalog:
        chosen[model.name] = [item for key, item in ratios if key == model.object_id]
    for name, errors in chosen.items():
        depths.add(object=name, depth_error=float(np.median(errors)), amount=float(np.median(np.abs(errors))))
    if arguments.result:
        write_result(arguments.result, origin, {"images": len(dataset.images), "rows": rows, "depth": depths})


def poses(pipeline: Pipeline, dataset: BopDataset, results: list[PipelineResult] | None = None) -> list[Estimate]:
    """Estimate the poses in the boxes of the ground truth; append what was found in every image to a list."""
    estimates = []
    for image in tqdm(dataset.images, unit="image"):
        boxes = truth_detections(image, targets_from([image]), dataset.catalog)
        result = pipeline.process(dataset.frame(image), boxes)
        if results is not None:
            results.append(result)
        for item in result.poses:
            object_id = pipeline.bundle.catalog[item.object_index].object_id
            scene_id, image_id = image.key
            estimates.append(Estimate(scene_id, image_id, object_id, float(item.score), item.camera_from_object))
    return estimates


def depth_ratios(estimates: list[Estimate], dataset: BopDataset) -> list[tuple[int, float]]:
    """Return the relative depth error of every estimate, with the object's number."""
    true = _true_depths(dataset)
    return [
        (item.object_id, float(item.camera_from_object[2, 3] / depth - 1.0))
        for item in estimates
        if (depth := true.get((item.scene_id, item.image_id, item.object_id))) is not None
    ]


def at_true_depth(estimates: list[Estimate], dataset: BopDataset) -> list[Estimate]:
    """Move poses along the rays through their origins to the depth of the ground truth."""
    true, moved = _true_depths(dataset), []
    for item in estimates:
        pose = item.camera_from_object.copy()
        pose[:3, 3] *= true[item.scene_id, item.image_id, item.object_id] / pose[2, 3]
        moved.append(replace(item, camera_from_object=pose))
    return moved


def _true_depths(dataset: BopDataset) -> dict[tuple[int, int, int], float]:
    """Return depths in metres by scene, image and object; for data sets with one instance of each object."""
    return {
        (*image.key, truth.object_id): float(truth.camera_from_object[2, 3])
        for image in dataset.images
        for truth in image.ground_truth
    }


if __name__ == "__main__":
    main()
