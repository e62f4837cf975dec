"""pose_train: turn meshes into a bundle with trained networks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pose_estimation_ros.cli.recipes import read_recipe, require_even_batch
from pose_estimation_ros.cli.train_set import train_set
from pose_estimation_ros.methods.base import Training, import_object
from pose_estimation_ros.methods.registry import find_training, trained_networks
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, PosePrior, load_bundle
from pose_estimation_ros.objects.bundle_source import BundleSource, MeshSource
from pose_estimation_ros.objects.catalog import UNITS_M
from pose_estimation_ros.settings import parse_assignments
from pose_estimation_ros.training import processes

# Options that are about meshes, and from where they are seen.
_OF_MESHES = ("bop", "mesh", "categories", "held_out", "unit", "mesh_dir", "elevation", "roll", "distance")
_INTERRUPTED = 130  # exit code of a program ended by Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.recipes is None and not (arguments.bundle and arguments.network):
        parser.error("expected --bundle and --network, or --recipes")
    if arguments.replace and arguments.recipes is None:
        parser.error("--replace is for --recipes; a single network is trained anew without --resume")
    try:
        with processes.joined(arguments.device) as device:
            if arguments.recipes is not None:
                return _train_set(parser, arguments, str(device))
            training = find_training(arguments.network)
            recipe = read_recipe(training, arguments.config, parse_assignments(arguments.assignments))
            require_even_batch(recipe)
            _train(arguments, training, _shared_bundle(training, arguments), recipe, str(device))
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"pose_train: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the first image or after the last
        print("pose_train: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_train", description=__doc__)
    parser.add_argument(
        "--bundle",
        type=Path,
        help="folder of the bundle; made if it does not exist (default with --recipes: models/NAME of their folder)",
    )
    parser.add_argument("--network", help=f"which network to train: {', '.join(trained_networks())}")
    parser.add_argument(
        "--recipes",
        type=Path,
        metavar="DIR",
        help="train a whole bundle: the recipes of a folder in order (see config/train/lmo); what is finished is "
        "skipped, what was interrupted goes on",
    )
    parser.add_argument(
        "--replace", action="store_true", help="with --recipes: train anew what was trained by other recipes"
    )
    source = parser.add_argument_group("objects of a new bundle")
    source.add_argument(
        "--bop", type=Path, help="BOP data set whose models folder holds the meshes (referenced, not copied)"
    )
    source.add_argument("--mesh", type=Path, action="append", help="mesh file of one object, repeatable (copied)")
    source.add_argument(
        "--categories",
        type=Path,
        help="folder with one folder of meshes for every category, in a common frame, z up (referenced, not copied)",
    )
    source.add_argument(
        "--held-out", type=int, default=0, metavar="N", help="leave the last N meshes of every category for tests"
    )
    source.add_argument("--unit", choices=sorted(UNITS_M), help="unit of the mesh files (default: m)")
    source.add_argument("--mesh-dir", type=Path, help="where the meshes are that the bundle does not ship")
    prior = parser.add_argument_group("pose prior of a new bundle: from where the camera sees an upright object (z up)")
    prior.add_argument("--elevation", type=float, nargs=2, metavar=("LOW", "HIGH"), help="degrees above the horizon")
    prior.add_argument("--roll", type=float, nargs=2, metavar=("LOW", "HIGH"), help="in-plane rotation, degrees")
    prior.add_argument("--distance", type=float, nargs=2, metavar=("LOW", "HIGH"), help="metres")
    parser.add_argument("--config", type=Path, help="recipe, YAML (see config/train/)")
    parser.add_argument(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a key of the recipe, repeatable: --set optimiser.batch=16",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N (default: auto)")
    parser.add_argument(
        "--work-dir",
        type=Path,
        help="checkpoints and log (default: runs/BUNDLE/NETWORK); with --recipes of all networks (runs/BUNDLE)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    return parser


def _train_set(parser: argparse.ArgumentParser, arguments: argparse.Namespace, device: str) -> int:
    """Train a bundle by its recipes, which say what other options say of a single network."""
    allowed = ("recipes", "bundle", "bop", "categories", "device", "work_dir", "replace")
    for name, value in vars(arguments).items():
        if name not in allowed and value != parser.get_default(name):
            option = "--set" if name == "assignments" else f"--{name.replace('_', '-')}"
            raise ValueError(f"{option}: not with --recipes, whose files say it; edit a copy of {arguments.recipes}")
    return train_set(
        arguments.recipes,
        arguments.bundle,
        {"bop": arguments.bop, "categories": arguments.categories},
        device,
        arguments.work_dir,
        arguments.replace,
    )


def _train(arguments: argparse.Namespace, training: Training, bundle: Bundle, recipe: Any, device: str) -> None:
    from pose_estimation_ros.training.trainer import TrainingRun

    folder = arguments.work_dir or Path("runs") / bundle.name / training.role
    mesh_dir = arguments.mesh_dir or arguments.categories or (arguments.bop / "models" if arguments.bop else None)
    processes.require_shared(folder)
    run = TrainingRun(bundle, folder, mesh_dir, device, arguments.resume or processes.restarted())
    updated = training.function()(run, recipe)
    entry = updated.networks[training.role]
    done = "finished" if entry.training.get("finished") else "interrupted; go on with --resume"
    print(f"{updated.path / entry.file}: {entry.training.get('samples')} images seen, {done}")


def _shared_bundle(training: Training, arguments: argparse.Namespace) -> Bundle:
    """Load or make the bundle, which processes that train together do once; one that torchrun restarted has it."""
    processes.require_shared(arguments.bundle.parent)
    if processes.restarted() and (arguments.bundle / BUNDLE_FILE).is_file():
        return load_bundle(arguments.bundle)
    return processes.made_by_first(lambda: _bundle_for(training, arguments), lambda: load_bundle(arguments.bundle))


def _bundle_for(training: Training, arguments: argparse.Namespace) -> Bundle:
    """Load or make the bundle; where the network needs no meshes, a new one has none."""
    if training.new_bundle is None:
        return open_or_create(arguments)
    for name in _OF_MESHES:
        if getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option}: network {training.role!r} needs no meshes; leave it out")
    if (arguments.bundle / BUNDLE_FILE).is_file():
        return open_or_create(arguments)
    return import_object(training.new_bundle)(arguments.bundle)


def open_or_create(arguments: argparse.Namespace) -> Bundle:
    """Load the bundle, or make it from the meshes on the command line.

    Raises:
        ValueError: if there is neither a bundle nor a source of meshes, or what is given is for new bundles only.
    """
    if (arguments.bundle / BUNDLE_FILE).is_file():
        for option, given in (
            ("--mesh", arguments.mesh),
            ("--unit", arguments.unit),
            ("--held-out", arguments.held_out),
        ):
            if given:
                raise ValueError(
                    f"{arguments.bundle}: exists already; {option} is for new bundles: leave it out to go on"
                )
        bundle = load_bundle(arguments.bundle)
        for name, value in _prior_fields(arguments).items():
            if value != getattr(bundle.pose_prior, name):
                raise ValueError(
                    f"{arguments.bundle / BUNDLE_FILE}: pose_prior.{name} = {getattr(bundle.pose_prior, name)}, the "
                    f"command line says {value}: expected the same; edit the file, or leave the option out"
                )
        return bundle
    given = [item for item in (arguments.bop, arguments.mesh, arguments.categories) if item]
    if len(given) != 1:
        what = "several sources of meshes" if given else f"no {BUNDLE_FILE}"
        raise ValueError(
            f"{arguments.bundle}: {what}; give one of --bop DIR, --mesh FILE or --categories DIR to make a new bundle"
        )
    if arguments.bop and arguments.unit:
        raise ValueError("--unit: is for --mesh and --categories; the meshes of a BOP data set are in millimetres")
    if arguments.held_out and not arguments.categories:
        raise ValueError("--held-out: is for --categories, whose last meshes it leaves out")
    prior = PosePrior.model_validate(_prior_fields(arguments))
    return BundleSource(meshes=_mesh_source(arguments), pose_prior=prior).make(arguments.bundle)


def _prior_fields(arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return what the command line says of the pose prior, by the names of its fields."""
    given = {"elevation_deg": arguments.elevation, "roll_deg": arguments.roll, "distance_m": arguments.distance}
    return {key: tuple(value) for key, value in given.items() if value is not None}


def _mesh_source(arguments: argparse.Namespace) -> MeshSource:
    return MeshSource(
        bop=arguments.bop,
        mesh=tuple(arguments.mesh or ()),
        categories=arguments.categories,
        unit=arguments.unit,
        held_out=arguments.held_out,
    )


if __name__ == "__main__":
    sys.exit(main())
