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
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pose_estimation_ros.cli.adapt import chosen_images
from pose_estimation_ros.cli.recipes import validated
from pose_estimation_ros.data.bop import BopDataset
from pose_estimation_ros.data.photo_cuts import PhotoConfig, Photographs
from pose_estimation_ros.evaluation.results import Rows, add_result_option, origin_of, write_result
from pose_estimation_ros.methods.base import import_object
from pose_estimation_ros.methods.registry import find_method
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.training.adaptation import Adaptation
from pose_estimation_ros.training.crop_source import BankConfig
from pose_estimation_ros.training.crop_training import CropTraining
from pose_estimation_ros.training.feature_mapping import feature_loss, feature_variance
from pose_estimation_ros.training.trainer import TrainingRun

ADAPTED, OTHERS = "0:45", "45:60"
_BATCH = 32
_SMALL_BANK = BankConfig(views=8, clutter=2, clutter_views=2, backgrounds=100)  # only its backgrounds are looked at


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", nargs="+", required=True, help="adapted, or as they were before")
    parser.add_argument("--bop", type=Path, required=True, help="the photographs")
    parser.add_argument("--backend", default="corners")
    parser.add_argument("--count", type=int, default=5, help="photographs adapted with, of the first 45")
    parser.add_argument("--crops", type=int, default=640, help="of each kind of photographs")
    add_result_option(parser)
    arguments = parser.parse_args()
    origin = origin_of("python benchmarks/mapping_gap.py")
    rows = Rows()
    for bundle in arguments.bundles:
        for about, images, count in (("adapted with", ADAPTED, arguments.count), ("others", OTHERS, None)):
            figures = _gap(bundle, arguments, images, count)
            rows.add(bundle=Path(bundle).name, backend=arguments.backend, photographs=about, **figures)
    if arguments.result:
        write_result(arguments.result, origin, {"rows": rows})


@torch.inference_mode()
def _gap(path: str, arguments: argparse.Namespace, image_range: str, count: int | None) -> dict[str, float]:
    """Return distances of features and losses, means over crops."""
    bundle = load_bundle(path)
    method = find_method("backend", arguments.backend)
    if method.training is None or method.training.adaptation is None:
        raise SystemExit(f"backend {arguments.backend}: cannot be adapted")
    adaptation: Adaptation = import_object(method.training.adaptation)
    entry = bundle.network(adaptation.role)
    origin = f"{bundle.path}: networks.{adaptation.role}.training.recipe"
    recipe = validated(method.training.recipe_model(), entry.training.get("recipe", {}), origin)
    small = recipe.model_copy(update={"bank": _SMALL_BANK, "workers": 0, "pretrained": None})
    dataset = BopDataset(arguments.bop, "test")
    dataset.images = chosen_images(dataset.images, image_range, count)
    mesh_dir = None if bundle.meshes is not None else arguments.bop / "models"
    network = bundle.load_network(adaptation.role, adaptation.network, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        training = CropTraining(TrainingRun(bundle, Path(folder), mesh_dir), small, adaptation.role)
        meshes = bundle.load_meshes(mesh_dir)
        photos = Photographs(dataset, bundle.catalog, meshes, training.backgrounds, PhotoConfig(), small.crops)
        step = adaptation.step(training, small, network)
        source = adaptation.source(training, photos, entry.input_size)
        batches = range(max(1, arguments.crops // _BATCH))
        pairs = [source.pairs(_BATCH, seed) for seed in batches]
        rendered = [step.features(network, pair.rendered) for pair in pairs]
        variance = feature_variance([torch.cat(item) for item in zip(*rendered, strict=True)])
        sums: dict[str, float] = {}
        for pair, target in zip(pairs, rendered, strict=True):
            seen = step.features(network, pair.real)
            shared = adaptation.shown(network, pair.real.mask_visible)
            figures = {"loss_of_renderings": float(step.loss(network, target, pair.rendered)[0])}
            for name, features in (("plain", seen), ("mapped", _mapped(network, seen))):
                figures[f"features_apart_{name}"] = float(feature_loss(features, target, variance, shared))
                figures[f"loss_{name}"] = float(step.loss(network, features, pair.real)[0])
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value / len(pairs)
    return sums


def _mapped(network: nn.Module, features: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return features of photographs as the network reads them: as they are where it has no mapping."""
    mapping = getattr(network, "mapping", None)
    return features if mapping is None else mapping([item.float() for item in features])


if __name__ == "__main__":
    main()
