"""Measure backend `unseen` on renderings of objects that no network was trained on.

    python scripts/make_generic_objects.py --media runs/media --out runs/held_out --count 12 --held-out
    python benchmarks/unseen_renders.py --bop runs/held_out --bundles models/demo models/generic

For the comparison network of each bundle: recall of the pose errors of BOP (mean of MSSD and MSPD), of ADD(-S) and of
the rotation, in images composed as for training, true boxes; and in how many of them a rotation within 20 degrees of
the truth is among the views that are looked at more closely.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.clutter import clutter_meshes
from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.data.synthetic import CropConfig, CropSource
from pose_estimation_ros.data.view_bank import build_view_bank
from pose_estimation_ros.evaluation.localisation import points_of
from pose_estimation_ros.evaluation.metrics import (
    ADD_SHARE,
    BOP_SHARES,
    MSPD_PX,
    MSPD_WIDTH,
    ObjectPoints,
    add_error,
    adi_error,
    mspd,
    mssd,
)
from pose_estimation_ros.evaluation.metrics import symmetric_rotation_error as turned
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.geometry.camera import Camera, project_points
from pose_estimation_ros.methods.base import LoadContext
from pose_estimation_ros.methods.unseen.estimator import Unseen, load
from pose_estimation_ros.methods.unseen.settings import UnseenSettings
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.bundle_file import PosePrior
from pose_estimation_ros.objects.catalog import Catalog, catalog_from_bop
from pose_estimation_ros.objects.mesh import load_mesh
from pose_estimation_ros.settings import parse_assignments

SEED = 4711  # no recipe uses it
SIDE_PX = 160
PRIOR = PosePrior()


@dataclass(frozen=True)
class Seen:
    """A box in an image, and what is in it."""

    frame: Frame
    detection: Detection
    pose: np.ndarray  # (4, 4)


def main() -> None:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bop", type=Path, required=True, help="the objects")
    parser.add_argument("--bundles", nargs="+", required=True, help="whose networks are measured")
    parser.add_argument("--boxes", type=int, default=144)
    parser.add_argument("--pictures", type=Path, help="photographs as backgrounds, beside made-up ones")
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="NAME=VALUE")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/unseen_renders.py")
    catalog, models = catalog_from_bop(arguments.bop / "models"), arguments.bop / "models"
    points = [points_of(model, models) for model in catalog]
    seen = list(images(catalog, models, arguments.boxes, arguments.pictures))
    settings = UnseenSettings.model_validate(parse_assignments(arguments.assignments).values)
    rows = Rows()
    for name in arguments.bundles:
        bundle = replace(load_bundle(name), catalog=catalog, pose_prior=PRIOR, meshes=None)
        with torch.inference_mode():
            backend = load(LoadContext(bundle, torch.device("cpu"), settings, models))
            errors = np.stack([errors_of(backend, item, points[item.detection.object_index]) for item in seen])
        rows.add(network=Path(name).name, boxes=len(seen), **recalls(errors))
    if arguments.result:
        write_result(arguments.result, origin, {"objects": len(catalog), "rows": rows}, SEED)


def images(catalog: Catalog, models: Path, count: int, pictures: Path | None) -> Iterator[Seen]:
    """Compose images as for training, of views that no bank has."""
    meshes = [load_mesh(models / model.mesh, model.mesh_unit) for model in catalog]
    views = math.ceil(count / len(catalog))
    bank = build_view_bank(list(catalog), meshes, PRIOR, views, clutter_meshes(12, SEED), 20, 144, SEED)
    config = CropConfig(size=SIDE_PX, padding=1.7, image_side_px=(70.0, 250.0), noise=0.03, masked_share=0.0)
    source = CropSource(bank, background_pool(80, 192, SEED, pictures), config, seed=SEED)
    for _ in range(count // 16):
        batch = source.batch(16)
        pixels = project_points(bank.outline[batch.mesh_index], batch.camera_from_object, batch.camera)
        boxes = torch.cat([pixels.amin(dim=1), pixels.amax(dim=1)], dim=1).double().numpy()
        for row in range(len(batch)):
            image = np.ascontiguousarray(batch.images[row].permute(1, 2, 0).numpy())
            yield Seen(
                Frame(image, Camera(batch.camera[row].double().numpy(), SIDE_PX, SIDE_PX)),
                Detection(int(batch.object_index[row]), 1.0, boxes[row]),
                batch.camera_from_object[row].double().numpy(),
            )


def errors_of(backend: Unseen, seen: Seen, points: ObjectPoints) -> list[float]:
    """Return MSSD and ADD(-S) in diameters, MSPD in pixels, the rotation's error and the best candidate's, radians."""
    picture = backend.comparison.picture(seen.frame)
    likely = backend.search.candidates(picture, [seen.detection])[0].poses.double().numpy()
    near = min((turned(points, pose, seen.pose) for pose in likely), default=math.inf)
    square = torch.zeros(1, 3, backend.crop_size, backend.crop_size)
    crops = Crops(square, torch.eye(3)[None], torch.tensor([seen.detection.object_index]), torch.zeros(1, 3))
    found = backend.estimate(seen.frame, crops, [seen.detection])
    if not found:
        return [math.inf, math.inf, math.inf, math.inf, near]
    pose = found[0].camera_from_object
    distance = (adi_error if points.is_symmetric else add_error)(points.points, pose, seen.pose)
    return [
        mssd(points, pose, seen.pose) / points.diameter_m,
        distance / points.diameter_m,
        mspd(points, pose, seen.pose, seen.frame.camera.intrinsics, round(MSPD_WIDTH)),
        turned(points, pose, seen.pose),
        near,
    ]


def recalls(errors: np.ndarray) -> dict[str, float]:
    """Return the columns of the table from errors (N, 5)."""
    surface, distance, pixels, turn, near = errors.T
    limits = {name: math.radians(degrees) for name, degrees in (("10", 10.0), ("30", 30.0))}
    ar_mssd = float((surface[:, None] < BOP_SHARES).mean())
    ar_mspd = float((pixels[:, None] < MSPD_PX).mean())
    return {
        "ar": (ar_mssd + ar_mspd) / 2.0,
        "ar_mssd": ar_mssd,
        "ar_mspd": ar_mspd,
        "add_s_0_1d": float((distance < ADD_SHARE).mean()),
        **{f"within_{name}_deg": float((turn < limit).mean()) for name, limit in limits.items()},
        "candidate_within_20_deg": float((near < math.radians(20.0)).mean()),
    }


if __name__ == "__main__":
    main()
