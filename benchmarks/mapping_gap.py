"""What is left of the gap between photographs and renderings: in features, and in what is read from them.

    python benchmarks/mapping_gap.py --bop ../shared/data/lmo --backend corners --count 5 \
        --bundles models/lmo runs/fine_tuned runs/both

Cuts annotated objects out of photographs and renders each at its pose in the same crop, as `pose_adapt` does, and
compares what a network makes of both: of the photographs that it was adapted with, and of others. A mapping that
carried features of photographs all the way to those of renderings would read them as well as the renderings are read,
so the loss of these is what it could reach. Nothing is trained.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adaptation import PHOTOGRAPHS, TESTED

from pose_estimation_ros.cli.adapt import chosen_images
from pose_estimation_ros.cli.recipes import validated
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.photo_cuts import PhotoConfig, Photographs
from pose_estimation_ros.data.photo_pairs import PhotoPairs
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.methods.base import import_object
from pose_estimation_ros.methods.registry import find_method
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.training.adaptation import Adaptation, mapped_features
from pose_estimation_ros.training.crop_source import BankConfig
from pose_estimation_ros.training.crop_training import CropTraining
from pose_estimation_ros.training.feature_mapping import feature_loss, feature_variance
from pose_estimation_ros.training.trainer import TrainingRun

_BATCH = 32
_SMALL_BANK = BankConfig(views=8, clutter=2, clutter_views=2, backgrounds=100)  # only its backgrounds are looked at


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", nargs="+", required=True, help="adapted, or as they were before")
    parser.add_argument("--bop", type=Path, required=True, help="the photographs")
    parser.add_argument("--backend", choices=("corners", "pix2pose"), default="corners")
    parser.add_argument("--count", type=int, default=5, help="photographs adapted with, spread over the first 45")
    parser.add_argument("--crops", type=int, default=640, help="of each kind of photographs")
    add_result_option(parser)
    arguments = parser.parse_args()
    if arguments.crops < _BATCH:
        parser.error(f"--crops {arguments.crops}: expected at least {_BATCH}")
    origin = origin_of("python benchmarks/mapping_gap.py")
    rows = Rows()
    for path in arguments.bundles:
        bundle = load_bundle(path)
        for photographs, figures in _gaps(bundle, arguments).items():
            rows.add(bundle=Path(path).name, backend=arguments.backend, photographs=photographs, **figures)
    if arguments.result:
        write_result(arguments.result, origin, {"rows": rows})


@torch.inference_mode()
def _gaps(bundle: Bundle, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return distances of features and losses, means over crops, for each kind of photographs."""
    method = find_method("backend", arguments.backend)
    assert method.training is not None and method.training.adaptation is not None
    adaptation: Adaptation = import_object(method.training.adaptation)
    entry = bundle.network(adaptation.role)
    origin = f"{bundle.path}: networks.{adaptation.role}.training.recipe"
    recipe = validated(method.training.recipe_model(), entry.training.get("recipe", {}), origin)
    small = recipe.model_copy(update={"bank": _SMALL_BANK, "workers": 0, "pretrained": None})
    mesh_dir = None if bundle.meshes is not None else arguments.bop / "models"
    network = bundle.load_network(adaptation.role, adaptation.network, torch.device("cpu"))
    meshes = bundle.load_meshes(mesh_dir)
    pairs: dict[str, list[PhotoPairs[Any]]] = {}
    kinds = ((f"{arguments.count} of {PHOTOGRAPHS}", PHOTOGRAPHS, arguments.count), (TESTED, TESTED, None))
    with tempfile.TemporaryDirectory() as folder:
        training = CropTraining(TrainingRun(bundle, Path(folder), mesh_dir), small, adaptation.role)
        for name, image_range, count in kinds:
            dataset = BopDataset(arguments.bop, "test")
            dataset.images = chosen_images(dataset.images, image_range, count)
            photos = Photographs(dataset, bundle.catalog, meshes, training.backgrounds, PhotoConfig(), small.crops)
            source = adaptation.source(training, photos, entry.input_size)
            pairs[name] = [source.pairs(_BATCH, seed) for seed in range(arguments.crops // _BATCH)]
        step = adaptation.step(training, small, network)
    rendered = {name: [step.features(network, pair.rendered) for pair in some] for name, some in pairs.items()}
    everything = [features for some in rendered.values() for features in some]
    variance = feature_variance([torch.cat(item) for item in zip(*everything, strict=True)])
    gaps = {}
    for name, some in pairs.items():
        losses = []
        for pair, target in zip(some, rendered[name], strict=True):
            seen = step.features(network, pair.real)
            shared = adaptation.shown(network, pair.real.mask_visible)
            row = {"renderings": float(step.loss(network, target, pair.rendered)[0])}
            for domain, features in (("plain", seen), ("mapped", mapped_features(network, seen))):
                row[f"apart_{domain}"] = float(feature_loss(features, target, variance, shared))
                row[domain] = float(step.loss(network, features, pair.real)[0])
            losses.append(row)
        gaps[name] = {key: float(np.mean([row[key] for row in losses])) for key in losses[0]}
    return gaps


if __name__ == "__main__":
    main()
