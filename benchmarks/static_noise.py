"""Look at one photograph again and again with new sensor noise: how far do poses of things at rest move?

    python benchmarks/static_noise.py --bundle models/lmo --bop ../shared/data/lmo --mesh-dir ../shared/data/lmo/models

The networks run once over every noisy copy; the tracker runs over what they find. Standard deviations are those of the
published poses about their mean, from the first frame on and from the eleventh on; angles of symmetric objects are
those to the nearest equivalent pose. Beside them stands what the poses' own covariances say, in the median.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from estimates import UNTRACKED, add_estimates_option, estimates
from scipy.spatial.transform import Rotation

from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.geometry.symmetry import canonicalise
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_tracking import Tracking
from pose_estimation_ros.tracking.object_pose import ObjectPose
from pose_estimation_ros.tracking.tracker import object_symmetries, untracked

FRAME_NS = 100_000_000
SETTLED = 10  # frames


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
    add_estimates_option(parser)
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/static_noise.py")
    dataset = BopDataset(arguments.bop, "test")
    frame = dataset.frame(dataset.images[arguments.image])
    bundle = load_bundle(arguments.bundle)
    pipeline = Pipeline(bundle, refiner=arguments.refiner, mesh_dir=arguments.mesh_dir, settings=UNTRACKED)
    images = f"{dataset.root}, image {arguments.image}, noise {arguments.noise:g}"
    copies = noisy_copies(frame, arguments.noise)
    found = estimates(pipeline, copies, arguments.frames, arguments.estimates, images)
    tracking = Tracking(bundle.catalog, pipeline.settings.pipeline.tracking.model_copy(update={"enabled": True}))
    least = pipeline.least_score_of(-1.0)
    raw = [untracked(bundle.catalog, [item for item in poses if item.score >= least], boxes) for poses, boxes in found]
    tracked = []
    for (poses, boxes), copy in zip(found, noisy_copies(frame, arguments.noise), strict=False):
        tracking.look(copy)
        tracked.append(tracking.track(tracking.publishable(poses, least, copy.stamp_ns), boxes, copy))
    rows = Rows()
    for name, frames in (("without tracking", raw), ("with tracking", tracked)):
        for cells in instances(bundle.catalog, frames):
            rows.add(poses=name, **cells)
    if arguments.result:
        write_result(arguments.result, origin, {"frames": arguments.frames, "noise": arguments.noise, "rows": rows})


def noisy_copies(frame: Frame, noise: float) -> Iterator[Frame]:
    """Return copies of an image without end, each with new noise; the same ones in every call."""
    rng = np.random.default_rng(0)
    for number in count():
        pixels = np.clip(frame.rgb + rng.normal(0.0, noise, frame.rgb.shape), 0.0, 255.0).round().astype(np.uint8)
        yield replace(frame, rgb=pixels, stamp_ns=number * FRAME_NS)


def instances(catalog: Catalog, frames: list[list[ObjectPose]]) -> Iterator[dict[str, Any]]:
    """Return what the poses of every instance are like over the frames."""
    seen: dict[tuple[int, int], list[tuple[int, ObjectPose]]] = defaultdict(list)
    for number, poses in enumerate(frames):
        for item in poses:
            seen[item.object_index, item.track_id].append((number, item))
    for (kind, track_id), items in sorted(seen.items()):
        symmetries = object_symmetries(catalog[kind])
        moved_mm, turned_deg = deviations([item for _, item in items], symmetries)
        settled = [item for number, item in items if number >= SETTLED]
        settled_mm, settled_deg = deviations(settled, symmetries) if settled else (np.nan, np.nan)
        said = [np.diag(item.covariance) for _, item in items if item.covariance is not None]
        variances = np.median(said, axis=0) if said else np.full(6, np.nan)
        yield {
            "instance": f"{catalog[kind].name} {track_id}",
            "frames": len(items),
            "moved_mm": moved_mm,
            "turned_deg": turned_deg,
            "settled_mm": settled_mm,
            "settled_deg": settled_deg,
            "said_mm": 1e3 * float(np.sqrt(variances[:3].sum())),
            "said_deg": float(np.rad2deg(np.sqrt(variances[3:].sum()))),
        }


def deviations(poses: list[ObjectPose], symmetries: np.ndarray) -> tuple[float, float]:
    """Return the standard deviations of poses: of the origin in millimetres, of the rotation in degrees."""
    first = poses[0].camera_from_object
    alike = np.stack([canonicalise(item.camera_from_object, symmetries, first) for item in poses])
    origins, rotations = alike[:, :3, 3], Rotation.from_matrix(alike[:, :3, :3])
    moved = np.linalg.norm(origins - origins.mean(axis=0), axis=1)
    turned = np.rad2deg((rotations.mean().inv() * rotations).magnitude())
    return 1e3 * float(np.sqrt(np.mean(moved**2))), float(np.sqrt(np.mean(turned**2)))


if __name__ == "__main__":
    main()
