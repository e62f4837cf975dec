"""Look at one photograph again and again with new sensor noise: how far do poses of things at rest move?

    python benchmarks/static_noise.py --bundle models/lmo --bop ../shared/data/lmo --mesh-dir ../shared/data/lmo/models

The whole pipeline runs over every noisy copy, once without tracking and once with it. Standard deviations are those of
the published poses about their mean, from the first frame on; angles of symmetric objects are those to the nearest
equivalent pose.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.geometry.symmetry import canonicalise
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.tracking.tracker import object_symmetries

FRAME_NS = 100_000_000


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="models/lmo")
    parser.add_argument("--bop", type=Path, default=Path("../shared/data/lmo"))
    parser.add_argument("--mesh-dir", type=Path)
    parser.add_argument("--refiner", help="default: the bundle's")
    parser.add_argument("--image", type=int, default=0, help="position of the photograph in the data set (default: 0)")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--noise", type=float, default=3.0, help="standard deviation of pixels, of 255 (default: 3)")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/static_noise.py")
    dataset = BopDataset(arguments.bop, "test")
    frame = dataset.frame(dataset.images[arguments.image])
    rows = Rows()
    bundle = load_bundle(arguments.bundle)
    for name, settings in (("without tracking", {"tracking.enabled": False}), ("with tracking", {})):
        pipeline = Pipeline(bundle, refiner=arguments.refiner, mesh_dir=arguments.mesh_dir, settings=settings)
        for (kind, number), poses in sorted(published(pipeline, frame, arguments.frames, arguments.noise).items()):
            moved_mm, turned_deg = deviations(np.stack(poses), object_symmetries(bundle.catalog[kind]))
            instance = f"{bundle.catalog[kind].name} {number}"
            rows.add(poses=name, instance=instance, frames=len(poses), moved_mm=moved_mm, turned_deg=turned_deg)
    if arguments.result:
        write_result(arguments.result, origin, {"frames": arguments.frames, "noise": arguments.noise, "rows": rows})


def published(pipeline: Pipeline, frame: Frame, frames: int, noise: float) -> dict[tuple[int, int], list[np.ndarray]]:
    """Return the poses of every instance, frame by frame; the noise is the same in every call."""
    rng = np.random.default_rng(0)
    poses: dict[tuple[int, int], list[np.ndarray]] = defaultdict(list)
    for number in tqdm(range(frames), unit="frame", disable=None):
        pixels = np.clip(frame.rgb + rng.normal(0.0, noise, frame.rgb.shape), 0.0, 255.0).round().astype(np.uint8)
        for item in pipeline.process(replace(frame, rgb=pixels, stamp_ns=number * FRAME_NS)).poses:
            poses[item.object_index, item.track_id].append(item.camera_from_object)
    return poses


def deviations(poses: np.ndarray, symmetries: np.ndarray) -> tuple[float, float]:
    """Return the standard deviations of poses (N, 4, 4): of the origin in millimetres, of the rotation in degrees."""
    alike = np.stack([canonicalise(pose, symmetries, poses[0]) for pose in poses])
    origins, rotations = alike[:, :3, 3], Rotation.from_matrix(alike[:, :3, :3])
    moved = np.linalg.norm(origins - origins.mean(axis=0), axis=1)
    turned = np.rad2deg((rotations.mean().inv() * rotations).magnitude())
    return 1e3 * float(np.sqrt(np.mean(moved**2))), float(np.sqrt(np.mean(turned**2)))


if __name__ == "__main__":
    main()
