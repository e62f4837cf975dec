"""pose_adapt: let a trained network gain from photographs with poses, by feature mapping.

Takes photographs in BOP layout, renders the annotated objects in the same crops, and trains the network with a
mapping from features of photographs to those of renderings. The mapping goes into the bundle with the network.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from pose_estimation_ros.cli.evaluate_images import slice_images
from pose_estimation_ros.cli.recipes import read_model, validated
from pose_estimation_ros.data.bop import BopDataset, BopImage
from pose_estimation_ros.methods.base import Kind, Method, import_object
from pose_estimation_ros.methods.registry import NONE, find_method, methods, methods_of
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.objects.bundle import Bundle, load_bundle, save_bundle
from pose_estimation_ros.pipeline_settings import resolve_run
from pose_estimation_ros.settings import parse_assignments
from pose_estimation_ros.training.adaptation import AdaptationRecipe, adapt
from pose_estimation_ros.training.processes import refuse_many
from pose_estimation_ros.training.trainer import TrainingRun

_INTERRUPTED = 130  # exit code of a program ended by Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        refuse_many("pose_adapt")
        _run(arguments)
    except (ValueError, OSError, FloatingPointError) as error:  # BundleError is a ValueError
        print(f"pose_adapt: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the first image or after the last
        print("pose_adapt: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return 0


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
    add("--minutes", type=float, metavar="M", help="how long it trains, about (default: the recipe's samples)")
    add("--out", type=Path, metavar="DIR", help="new bundle for the result (default: the bundle itself is changed)")
    add("--mesh-dir", type=Path, metavar="DIR", help="meshes, where the bundle ships none (default: DIR/models)")
    add("--config", type=Path, help="recipe, YAML: keys of AdaptationRecipe")
    add(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a key of the recipe, repeatable: --set mapping=false for plain fine-tuning",
    )
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N (default: %(default)s)")
    add("--work-dir", type=Path, help="checkpoints and log (default: runs/BUNDLE/adapt_NETWORK)")
    add("--resume", action="store_true", help="go on from the last checkpoint")
    return parser


def _able(kind: Kind) -> str:
    return ", ".join(name for name, item in methods_of(kind).items() if _can_adapt(item))


def _can_adapt(method: Method) -> bool:
    return method.training is not None and method.training.adaptation is not None


def _run(arguments: argparse.Namespace) -> None:
    if arguments.minutes is not None and not arguments.minutes > 0.0:
        raise ValueError(f"--minutes {arguments.minutes:g}: expected a positive number")
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
    folder = arguments.work_dir or Path("runs") / bundle.name / f"adapt_{adaptation.role}"
    device = str(resolve_device(arguments.device))
    is_copy = arguments.out is not None and not (arguments.resume and arguments.out.exists())
    if arguments.out is not None:
        bundle = _copied(bundle, arguments.out) if is_copy else load_bundle(arguments.out)
    run = TrainingRun(bundle, folder, mesh_dir, device, arguments.resume)
    seconds = None if arguments.minutes is None else 60.0 * arguments.minutes
    try:
        adapted = adapt(run, adaptation, trained_by, recipe, dataset, seconds)
    except BaseException:
        if is_copy:  # as it came, with nothing adapted: it would only be in the way of the next try
            shutil.rmtree(arguments.out)
        raise
    record = adapted.network(adaptation.role).training["adaptation"]
    done = "finished" if record["finished"] else "interrupted; go on with --resume"
    print(f"{adapted.path}: {adaptation.role} adapted with {record['images']}, {record['samples']} samples, {done}")
    _forget_scores(adapted, adaptation.role)


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
    if count is None:
        return images
    if not 1 <= count <= len(images):
        raise ValueError(f"--images {count}: expected 1 to {len(images)}, as many as there are")
    return [images[(2 * number + 1) * len(images) // (2 * count)] for number in range(count)]


def _copied(bundle: Bundle, folder: Path) -> Bundle:
    """Copy a bundle to a new folder.

    Raises:
        ValueError: if there is something already.
    """
    if folder.exists():
        raise ValueError(f"--out {folder}: exists already; expected a new folder")
    shutil.copytree(bundle.path, folder)
    return replace(bundle, path=folder)


def _forget_scores(bundle: Bundle, role: str) -> None:
    """Drop calibrated scores of all methods that read the earlier weights, and say so."""
    readers = {name for name, item in methods().items() if role in item.roles}
    used = [readers & {item.detector, item.backend, item.refiner} for item in bundle.scores]
    if any(used):
        kept = tuple(item for item, names in zip(bundle.scores, used, strict=True) if not names)
        save_bundle(replace(bundle, scores=kept))
        names = ", ".join(sorted(set().union(*used)))
        print(f"scores of {names} were calibrated for the earlier weights and are gone; pose_calibrate fits new ones")


if __name__ == "__main__":
    sys.exit(main())
