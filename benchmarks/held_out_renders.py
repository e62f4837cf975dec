"""Tell undertraining from the gap between renders and images: accuracy on renders never trained on.

    python benchmarks/held_out_renders.py --bundle models/lmo --mesh-dir ../shared/data/lmo/models

Makes a new bank of views with another seed, composes crops as in training, estimates their poses with a
backend and prints, per object, the share within 10 % of the diameter (symmetric objects: nearest-point
distance), the median error in diameters, and the depth error.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.clutter import clutter_meshes
from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.data.synthetic import CropBatch, CropConfig, CropSource
from pose_estimation_ros.data.view_bank import build_view_bank
from pose_estimation_ros.evaluation.metrics import add_error, adi_error
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.geometry.camera import Camera, project_points
from pose_estimation_ros.methods.base import Backend, LoadContext
from pose_estimation_ros.methods.registry import choices, find_method
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.objects.mesh import load_mesh, sample_surface

SEED = 1234  # no recipe uses it


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--mesh-dir", type=Path)
    parser.add_argument("--backend", default="pix2pose", choices=choices("backend"))
    parser.add_argument("--views", type=int, default=60, help="new views per object")
    parser.add_argument("--crops", type=int, default=400)
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/held_out_renders.py")
    bundle = load_bundle(arguments.bundle)
    errors = errors_of(bundle, arguments.mesh_dir, arguments.views, arguments.crops, arguments.backend)
    rows = Rows()
    for model, table in zip(bundle.catalog, errors, strict=True):
        rows.add(
            object=model.name,
            crops=len(table),
            add_s_0_1d=float((table[:, 0] < 0.1).mean()),
            median_error_diameters=float(np.median(table[:, 0])),
            depth_error=float(np.nanmedian(np.abs(table[:, 1]))),
        )
    figures = ("add_s_0_1d", "median_error_diameters", "depth_error")
    mean = {key: float(np.mean([row[key] for row in rows])) for key in figures}
    rows.add(object="mean", crops=sum(row["crops"] for row in rows), **mean)
    if arguments.result:
        write_result(arguments.result, origin, {"rows": rows}, SEED)


def errors_of(
    bundle: Bundle, mesh_dir: Path | None, views: int, crops: int, name: str = "pix2pose"
) -> list[np.ndarray]:
    """Return, per object, the errors of its crops (N, 2): distance in diameters, and depth over true depth - 1."""
    models = list(bundle.catalog)
    meshes = [load_mesh(bundle.mesh_path(index, mesh_dir), model.mesh_unit) for index, model in enumerate(models)]
    points = [sample_surface(mesh, 1000) for mesh in meshes]
    bank = build_view_bank(models, meshes, bundle.pose_prior, views, clutter_meshes(12, SEED), 20, seed=SEED)
    method = find_method("backend", name)
    model = method.settings_model()
    settings = model.model_validate({"domain": "synthetic"} if "domain" in model.model_fields else {})
    backend = method.make(LoadContext(bundle, torch.device("cpu"), settings))
    config = CropConfig(
        size=backend.crop_size,
        padding=backend.crop_padding,
        roll_deg=bundle.pose_prior.roll_deg,
        masked_share=0.0,
    )
    source = CropSource(bank, background_pool(60, seed=SEED), config, seed=SEED)
    errors: dict[int, list[tuple[float, float]]] = {index: [] for index in range(len(models))}
    for _ in range(crops // 16):
        batch = source.batch(16)
        pixels = project_points(bank.outline[batch.mesh_index], batch.camera_from_object, batch.camera)
        boxes = torch.cat([pixels.amin(dim=1), pixels.amax(dim=1)], dim=1).double().numpy()
        for number in range(len(batch)):
            index = int(batch.object_index[number])
            truth = batch.camera_from_object[number].numpy().astype(np.float64)
            pose = _estimate(backend, batch, number, boxes[number])
            if pose is None:
                errors[index].append((np.inf, np.nan))
                continue
            distance = (adi_error if models[index].is_symmetric else add_error)(points[index], pose, truth)
            errors[index].append((distance / models[index].diameter_m, pose[2, 3] / truth[2, 3] - 1.0))
    return [np.array(rows).reshape(-1, 2) for rows in errors.values()]


def _estimate(backend: Backend, batch: CropBatch, number: int, box: np.ndarray) -> np.ndarray | None:
    side = batch.images.shape[-1]
    image = np.ascontiguousarray(batch.images[number].permute(1, 2, 0).numpy())
    frame = Frame(image, Camera(batch.camera[number].numpy(), side, side))
    index = batch.object_index[number : number + 1]
    square = torch.tensor([[(side - 1) / 2.0, (side - 1) / 2.0, float(side)]])
    crops = Crops(batch.images[number : number + 1].float() / 255.0, batch.camera[number : number + 1], index, square)
    found = backend.estimate(frame, crops, [Detection(int(index), 1.0, box)])
    return found[0].camera_from_object if found else None


if __name__ == "__main__":
    main()
