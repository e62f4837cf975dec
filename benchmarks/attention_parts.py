r"""Measure what the parts of the refiner bring on images, and what they cost.

    python benchmarks/attention_parts.py --bundle models/lmo --bop ../shared/data/lmo --image-step 2

Estimates poses in ground-truth boxes and refines them: not at all, without the coarse stages, without other rotations,
as shipped, and with other rotations tried for every object, however sure it is.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path

import torch
from bop_images import BopImages, arguments_parser
from pix2pose_parts import poses

from pose_estimation_ros.evaluation.results import Rows, origin_of, write_result
from pose_estimation_ros.methods.attention.refiner import Attention
from pose_estimation_ros.methods.attention.settings import AttentionSettings
from pose_estimation_ros.methods.registry import choices
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_result import PipelineResult

CPU = torch.device("cpu")
FIGURES = ("add_s_0_1d", "projection_5px", "ar_mssd", "ar_mspd", "acc_pi_6_symmetric")


def main() -> None:
    """Run the benchmark and print the table."""
    parser = arguments_parser(__doc__, "models/lmo")
    parser.add_argument("--backend", default="pix2pose", choices=choices("backend"))
    parser.add_argument("--mesh-dir", type=Path, help="meshes for the refiner (default: models/ of the data set)")
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/attention_parts.py")
    images = BopImages(arguments)
    bundle, dataset = images.bundle, images.dataset
    shipped = Attention.from_bundle(bundle, CPU, arguments.mesh_dir or arguments.bop / "models")
    alone = shipped.settings.model_copy(update={"rotation_hypotheses": 0})
    variants: dict[str, str | Attention] = {
        "no refiner": "none",
        "without coarse stages and other rotations": changed(shipped, bundle, alone, coarse=False),
        "without other rotations": changed(shipped, bundle, alone),
        "as shipped": shipped,
        "other rotations of every object": changed(
            shipped, bundle, shipped.settings.model_copy(update={"retry_error_threshold": 1e-6})
        ),
    }
    rows = Rows()
    for name, refiner in variants.items():
        pipeline = Pipeline(bundle, arguments.backend, refiner, device="cpu", settings={"tracking.enabled": False})
        results: list[PipelineResult] = []
        estimates = poses(pipeline, dataset, results)
        mean = images.mean(estimates)
        compared = sum(item.comparisons for result in results for item in result.poses) / max(1, len(estimates))
        rows.add(variant=name, **{key: mean[key] for key in FIGURES}, comparisons=compared)
    if arguments.result:
        write_result(arguments.result, origin, {"images": len(dataset.images), "rows": rows})


def changed(shipped: Attention, bundle: Bundle, settings: AttentionSettings, coarse: bool = True) -> Attention:
    """Return the refiner with other settings, and with its coarse stages or without."""
    network = copy(shipped.network)
    if not coarse:
        network.coarse_sizes = ()
    return Attention(
        network, shipped.caster, bundle.catalog, shipped.outline, shipped.size, settings, shipped.search.tables
    )


if __name__ == "__main__":
    main()
