"""pose_train: turn meshes into a bundle with trained networks."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from pose_estimation_ros.methods.base import Training
from pose_estimation_ros.methods.registry import find_training, trained_networks
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, PosePrior, load_bundle, save_bundle
from pose_estimation_ros.objects.catalog import UNITS_M, Catalog, ObjectModel, catalog_from_bop
from pose_estimation_ros.objects.categories import catalog_from_categories, object_name
from pose_estimation_ros.settings import Layer, parse_assignments

_UNIT = "m"  # of mesh files where nothing is said
_INTERRUPTED = 130  # exit code of a program ended by Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        training = find_training(arguments.network).training
        assert training is not None
        recipe = read_recipe(training, arguments.config, parse_assignments(arguments.assignments))
        _train(arguments, training, open_or_create(arguments), recipe)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"pose_train: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the first image or after the last
        print("pose_train: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return 0


def read_recipe(training: Training, path: Path | None, changes: Layer) -> Any:
    """Read a recipe from a YAML file, or take the default one, and change keys of it.

    Raises:
        ValueError: if the file is no mapping, or a key or a value is bad.
    """
    content: Any = {}
    if path is not None:
        try:
            content = yaml.safe_load(path.read_text())
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path}: expected a mapping of recipe keys")
    for name, value in changes.values.items():
        place = content
        for part in name.split(".")[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ValueError(f"{changes.origin} {name}: {part} has no keys")
        place[name.split(".")[-1]] = value
    return training.recipe_model().model_validate(content)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_train", description=__doc__)
    parser.add_argument("--bundle", required=True, type=Path, help="folder of the bundle; made if it does not exist")
    parser.add_argument("--network", required=True, help=f"which network to train: {', '.join(trained_networks())}")
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
    parser.add_argument("--work-dir", type=Path, help="checkpoints and log (default: runs/BUNDLE/NETWORK)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    return parser


def _train(arguments: argparse.Namespace, training: Training, bundle: Bundle, recipe: Any) -> None:
    from pose_estimation_ros.training.trainer import TrainingRun

    device = str(resolve_device(arguments.device))
    folder = arguments.work_dir or Path("runs") / bundle.name / training.role
    mesh_dir = arguments.mesh_dir or arguments.categories or (arguments.bop / "models" if arguments.bop else None)
    run = TrainingRun(bundle, folder, mesh_dir, device, arguments.resume)
    updated = training.function()(run, recipe)
    entry = updated.networks[training.role]
    done = "finished" if entry.training.get("finished") else "interrupted; go on with --resume"
    print(f"{updated.path / entry.file}: {entry.training.get('samples')} images seen, {done}")


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
    bundle = Bundle(
        path=arguments.bundle,
        name=arguments.bundle.resolve().name,
        catalog=_catalog(arguments),
        networks={},
        pose_prior=PosePrior.model_validate(_prior_fields(arguments)),
        meshes="meshes" if arguments.mesh else None,
        mesh_source=_mesh_source(arguments),
    )
    save_bundle(bundle)
    return bundle


def _prior_fields(arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return what the command line says of the pose prior, by the names of its fields."""
    given = {"elevation_deg": arguments.elevation, "roll_deg": arguments.roll, "distance_m": arguments.distance}
    return {key: tuple(value) for key, value in given.items() if value is not None}


def _mesh_source(arguments: argparse.Namespace) -> str:
    """Say where the meshes are that the bundle does not ship."""
    if arguments.bop:
        return "Use the models folder of the BOP data set the bundle was made from."
    return "Use the folder of categories the bundle was made from." if arguments.categories else ""


def _catalog(arguments: argparse.Namespace) -> Catalog:
    if arguments.categories:
        return catalog_from_categories(arguments.categories, arguments.unit or _UNIT, arguments.held_out)
    if arguments.bop:
        return catalog_from_bop(arguments.bop / "models")
    return Catalog(tuple(_adopt(arguments, index, path) for index, path in enumerate(arguments.mesh, start=1)))


def _adopt(arguments: argparse.Namespace, number: int, path: Path) -> ObjectModel:
    """Copy a mesh into the bundle, with its materials and textures, and measure it."""
    from pose_estimation_ros.objects.mesh import companion_files, diameter, load_mesh

    unit = arguments.unit or _UNIT
    mesh = load_mesh(path, unit)
    for file in [path, *companion_files(path)]:
        _copy(file, path.parent, arguments.bundle / "meshes")
    low, high = mesh.bounds
    return ObjectModel(
        object_id=number,
        name=object_name(path.stem),
        diameter_m=diameter(mesh.vertices),
        bounds_m=(tuple(low.tolist()), tuple(high.tolist())),
        mesh=Path(path.name),
        mesh_unit=unit,
    )


def _copy(file: Path, source: Path, target: Path) -> None:
    """Copy a file to where it lies below the source folder."""
    if source.resolve() not in file.resolve().parents:
        raise ValueError(f"{file}: expected below {source}, where the mesh is, so that the bundle can hold a copy")
    copy = target / file.resolve().relative_to(source.resolve())
    if copy.is_file() and copy.read_bytes() != file.read_bytes():
        raise ValueError(f"{file}: {copy} is another file of the same name; rename one of them")
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, copy)


if __name__ == "__main__":
    sys.exit(main())
