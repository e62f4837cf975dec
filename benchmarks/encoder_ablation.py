"""What the ImageNet features of pix2pose bring to heatmaps and nemo: short trainings, scored on photographs.

    python benchmarks/encoder_ablation.py --bop ../shared/data/lmo --work runs/encoder_ablation

Both networks are trained by the recipes of models/lmo with as many crops (--samples), once on the compact encoder that
their shipped weights have, once on that of EfficientNet-Lite0 which the bundle's pix2pose has. Every second photograph,
annotated boxes, no refiner. A training that is finished in --work is not done again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bop_images import BopImages, arguments_parser
from pix2pose_parts import poses
from short_training import trained

from pose_estimation_ros.cli.recipes import read_mapping
from pose_estimation_ros.evaluation.results import Rows, origin_of, write_result
from pose_estimation_ros.methods.heatmaps.training import HeatmapsRecipe, train_heatmaps
from pose_estimation_ros.methods.nemo.training import NemoRecipe, train_nemo
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_result import PipelineResult

RECIPES = Path("config/train/lmo")
FIGURES = ("add_s_0_1d", "projection_5px", "ar_mssd", "ar_mspd")


class Trained(NamedTuple):
    """How one of the backends is trained."""

    recipe: type[HeatmapsRecipe] | type[NemoRecipe]
    train: Any  # what takes the recipe
    file: str
    compact: dict[str, Any]  # its network with the encoder that the shipped weights have


BACKENDS = {
    "nemo": Trained(NemoRecipe, train_nemo, "4_nemo.yaml", {"stride": 4, "frozen": True}),
    "heatmaps": Trained(
        HeatmapsRecipe,
        train_heatmaps,
        "3_heatmaps.yaml",
        {"trunk": "encoder", "widths": [64, 128, 512], "hidden": 768},
    ),
}
ENCODERS = ("compact", "lite0")


def main() -> None:
    """Train the variants, score them and print a table."""
    parser = arguments_parser(__doc__, "models/lmo")
    parser.add_argument("--work", type=Path, default=Path("runs/encoder_ablation"))
    parser.add_argument("--samples", type=int, default=12_000)
    parser.add_argument("--only", choices=list(BACKENDS), nargs="+", default=list(BACKENDS))
    parser.set_defaults(image_step=2)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/encoder_ablation.py")
    images, meshes, rows = BopImages(arguments), arguments.bop / "models", Rows()
    for backend in arguments.only:
        for encoder in ENCODERS:
            print(f"{backend}, {encoder}:")
            wanted, train = recipe(backend, encoder, arguments.samples), BACKENDS[backend].train
            folder = arguments.work / f"{backend}_{encoder}"
            bundle = load_bundle(trained(arguments.bundle, folder, backend, train, wanted, meshes))
            pipeline = Pipeline(bundle, backend, refiner="none", device="cpu", settings={"tracking.enabled": False})
            results: list[PipelineResult] = []
            mean = images.mean(poses(pipeline, images.dataset, results))
            rows.add(
                backend=backend,
                encoder=encoder,
                **{key: mean[key] for key in FIGURES},
                milliseconds=1e3 * float(np.median([result.timings_s["pose"] for result in results])),
            )
    if arguments.result:
        figures = {"rows": list(rows), "samples": arguments.samples, "images": len(images.dataset.images)}
        write_result(arguments.result, origin, figures, recipe(arguments.only[0], ENCODERS[0], 1).seed)


def recipe(backend: str, encoder: str, samples: int) -> HeatmapsRecipe | NemoRecipe:
    """Return the recipe of models/lmo, shortened, with one of the encoders."""
    kind = BACKENDS[backend]
    content = read_mapping(RECIPES / kind.file)
    schedule = {"samples": samples, "optimiser": {**content["optimiser"], "ema_samples": samples // 4}}
    start = {"network": kind.compact, "encoder_from": "nemo"} if encoder == "compact" else {}
    return kind.recipe.model_validate({**content, **schedule, **start})


if __name__ == "__main__":
    main()
