"""pose_adapt: let a trained network gain from photographs with poses, by feature mapping.

Takes photographs in BOP layout, renders the annotated objects in the same crops, and trains the network with a
mapping from features of photographs to those of renderings. The mapping goes into the bundle with the network.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pose_estimation_ros.cli.adapted_bundle import (
    adapt_bundle,
    add_training_options,
    run_adaptation,
    spread_evenly,
    training_seconds,
)
from pose_estimation_ros.cli.evaluate_images import slice_images
from pose_estimation_ros.cli.recipes import read_model, validated
from pose_estimation_ros.data.bop import BopDataset, BopImage
from pose_estimation_ros.methods.base import Kind, Method, import_object
from pose_estimation_ros.methods.registry import NONE, find_method, methods_of
from pose_estimation_ros.objects.bundle import Bundle, load_bundle
from pose_estimation_ros.pipeline_settings import resolve_run
from pose_estimation_ros.settings import parse_assignments
from pose_estimation_ros.training.adaptation import AdaptationRecipe, adapt


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    return run_adaptation("pose_adapt", lambda: _run(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_adapt", description=__doc__)
    add = parser.add_argument
    add("--bundle", required=True, help="folder of the bundle, or the name of a shipped one")
    add("--photos", type=Path, required=True, metavar="DIR", help="photographs with poses, a data set in BOP layout")
    add("--split", default="test", help="folder of the photographs in the data set (default: %(default)s)")
    add("--image-range", metavar="A:B[:STEP]", help="only these photographs, counted from 0")
    add("--images", type=int, metavar="N", help="only so many of them, spread evenly")
    whose = parser.add_mutually_exclusive_group()
    about = "whose network is adapted"
    whose.add_argument("--backend", help=f"{about}: {_able('backend')} (default: the bundle's)")
    whose.add_argument("--refiner", help=f"{about}, in place of a backend's: {_able('refiner')}")
    add("--mesh-dir", type=Path, metavar="DIR", help="meshes, where the bundle ships none (default: DIR/models)")
    add_training_options(parser, "AdaptationRecipe", "runs/BUNDLE/adapt_NETWORK")
    return parser


def _able(kind: Kind) -> str:
    return ", ".join(name for name, item in methods_of(kind).items() if _can_adapt(item))


def _can_adapt(method: Method) -> bool:
    return method.training is not None and method.training.adaptation is not None


def _run(arguments: argparse.Namespace) -> None:
    seconds = training_seconds(arguments)
    bundle = load_bundle(arguments.bundle)
    method = _method(bundle, arguments.backend, arguments.refiner)
    assert method.training is not None and method.training.adaptation is not None
    adaptation = import_object(method.training.adaptation)
    recipe = read_model(AdaptationRecipe, arguments.config, parse_assignments(arguments.assignments))
    entry = bundle.network(adaptation.role)
    origin = f"{bundle.path}: networks.{adaptation.role}.training.recipe"
    trained_by = validated(method.training.recipe_model(), entry.training.get("recipe", {}), origin)
    dataset = BopDataset(arguments.photos, arguments.split)
    dataset.images = chosen_images(dataset.images, arguments.image_range, arguments.images)
    mesh_dir = arguments.mesh_dir
    if mesh_dir is None and bundle.meshes is None:
        mesh_dir = arguments.photos / "models"
    adapt_bundle(
        bundle,
        adaptation.role,
        arguments,
        mesh_dir,
        lambda run: adapt(run, adaptation, trained_by, recipe, dataset, seconds),
    )


def _method(bundle: Bundle, backend: str | None, refiner: str | None) -> Method:
    """Return the backend or the refiner whose network is adapted.

    Raises:
        ValueError: if it cannot be.
    """
    kind: Kind = "backend" if refiner is None else "refiner"
    given = backend if refiner is None else refiner
    name = resolve_run(bundle).pipeline.backend if given is None else given
    if name != NONE:
        method = find_method(kind, name)
        if _can_adapt(method):
            return method
    raise ValueError(f"{kind} {name}: cannot be adapted; expected --{kind} one of {_able(kind)}")


def chosen_images(images: list[BopImage], image_range: str | None, count: int | None) -> list[BopImage]:
    """Return the photographs that are asked for.

    Raises:
        ValueError: if there are none, or fewer.
    """
    if image_range is not None:
        images = slice_images(images, "--image-range", image_range)
    return [images[number] for number in spread_evenly(len(images), count, "--images")]


if __name__ == "__main__":
    sys.exit(main())
