"""Count the numbers that true instances get while a sequence is played several times.

    python benchmarks/identities.py --bundle models/demo --loops 3

From the end of the sequence to its beginning the camera jumps. The networks run once for every image, which gives the
same poses in every loop; the tracker runs over all loops. With `--estimates FILE` these poses are kept, so that another
tracker can be tried on them in seconds. A pose is of the true instance that is nearest in the image, in sum, because
what is wrong about poses from one camera is the distance; the pose is false if it lies more than half a diameter from
that, symmetries taken into account. A number is stolen when it was another true instance's when that was last seen.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from estimates import UNTRACKED, Found, add_estimates_option, estimates
from scipy.optimize import linear_sum_assignment

from pose_estimation_ros.data.bop import BopDataset, BopImage
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.geometry.symmetry import symmetric_distance
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_tracking import Tracking
from pose_estimation_ros.tracking.object_pose import ObjectPose
from pose_estimation_ros.tracking.tracker import object_symmetries

FRAME_NS = 100_000_000
NEAR_DIAMETERS = 0.5
FALSE = -1  # instance of a pose that is no true one's


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/demo")
    parser.add_argument("--bop", type=Path, help="default: the bundle's own sequence")
    parser.add_argument("--mesh-dir", type=Path)
    parser.add_argument("--refiner", help="default: the bundle's")
    parser.add_argument("--loops", type=int, default=3)
    add_estimates_option(parser)
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/identities.py")
    bundle = load_bundle(arguments.bundle)
    dataset = BopDataset(arguments.bop or bundle.path / "sequence", "test")
    pipeline = Pipeline(bundle, refiner=arguments.refiner, mesh_dir=arguments.mesh_dir, settings=UNTRACKED)
    frames = (dataset.frame(image) for image in dataset.images)
    found = estimates(pipeline, frames, len(dataset.images), arguments.estimates, str(dataset.root))
    tracking = Tracking(bundle.catalog, pipeline.settings.pipeline.tracking.model_copy(update={"enabled": True}))
    images = list(zip(dataset.images, found, strict=True)) * arguments.loops
    figures = counted(tracking, dataset, images, pipeline.least_score_of(-1.0), bundle.catalog)
    Rows().add(loops=arguments.loops, images=len(dataset.images), **figures)
    if arguments.result:
        write_result(arguments.result, origin, {"loops": arguments.loops, "images": len(dataset.images), **figures})


def counted(
    tracking: Tracking,
    dataset: BopDataset,
    images: list[tuple[BopImage, Found]],
    least_score: float,
    catalog: Catalog,
) -> dict[str, float]:
    """Track what was found in images, and compare the numbers with the true instances.

    Args:
        tracking: is run.
        dataset: has the images.
        images: each with what was found in it.
        least_score: from which on instances are published.
        catalog: the objects.
    """
    symmetries = [object_symmetries(model) for model in catalog]
    numbers: dict[tuple[int, int], list[int]] = defaultdict(list)  # of true instances, frame by frame
    owners: dict[tuple[int, int], int] = {}  # the true instances that numbers were last of
    stolen = false = 0
    for number, (image, (hypotheses, detections)) in enumerate(images):
        frame = replace(dataset.frame(image), stamp_ns=number * FRAME_NS)
        tracking.look(frame)
        poses = tracking.track(tracking.publishable(hypotheses, least_score, frame.stamp_ns), detections, frame)
        for pose, instance in zip(poses, true_instances(poses, image, catalog, symmetries), strict=True):
            if instance == FALSE:
                false += 1
                continue
            key = (pose.object_index, pose.track_id)
            stolen += owners.get(key, instance) != instance
            owners[key] = instance
            numbers[pose.object_index, instance].append(pose.track_id)
    return {
        "instances": len(numbers),
        "numbers_per_instance": float(np.mean([len(set(item)) for item in numbers.values()])),
        "switches": sum(int(np.count_nonzero(np.diff(item))) for item in numbers.values()),
        "stolen": stolen,
        "false_poses": false,
    }


def true_instances(
    poses: list[ObjectPose], image: BopImage, catalog: Catalog, symmetries: list[np.ndarray]
) -> list[int]:
    """Return the position in the ground truth of the instance that each pose is of, FALSE where it is wrong."""
    reach = np.full((len(poses), len(image.ground_truth)), np.inf)
    across = np.full(reach.shape, 1e3)
    for row, pose in enumerate(poses):
        model = catalog[pose.object_index]
        for column, truth in enumerate(image.ground_truth):
            if truth.object_id == model.object_id:
                true, own = truth.camera_from_object, pose.camera_from_object
                _, metres = symmetric_distance(true, own, symmetries[pose.object_index])
                reach[row, column] = metres / model.diameter_m
                centre, other = (item[:3, :3] @ model.centre_m + item[:3, 3] for item in (true, own))
                metres = np.linalg.norm(other[:2] / other[2] - centre[:2] / centre[2]) * centre[2]
                across[row, column] = metres / model.diameter_m
    chosen = dict(zip(*linear_sum_assignment(across), strict=True))
    near = {row for row, column in chosen.items() if reach[row, column] < NEAR_DIAMETERS}
    return [int(chosen[row]) if row in near else FALSE for row in range(len(poses))]


if __name__ == "__main__":
    main()
