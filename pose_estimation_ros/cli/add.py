"""pose_add: turn meshes into a bundle that finds their objects at once.

    pose_add --bundle models/mine --mesh drill=drill.ply cup=cup/textured.obj --unit mm

Reads PLY, OBJ, STL, OFF, GLB, glTF and Collada with their colours, says what is wrong with them, finds symmetries,
draws every object from all sides (DIR/report), and adds networks that know no object in particular. docs/your-object.md
shows it step by step.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from pose_estimation_ros.cli.add_bundle import REPORT, extended
from pose_estimation_ros.cli.add_frames import FORM, frame_words, told_frames, with_frames
from pose_estimation_ros.cli.add_networks import GENERIC, generic_networks, untrained_method, usable_detectors
from pose_estimation_ros.cli.add_objects import (
    Added,
    Wanted,
    by_object,
    measured,
    numbered,
    revised,
    wanted_meshes,
    wanted_models,
)
from pose_estimation_ros.objects.bundle import BUNDLE_FILE, Bundle, PosePrior, load_bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.objects.look_alikes import look_alikes
from pose_estimation_ros.objects.mesh_surface import Surface
from pose_estimation_ros.objects.symmetry_choice import EXPECTED
from pose_estimation_ros.training.processes import refuse_many

_INTERRUPTED = 130  # exit code of a program ended by Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    arguments = _parser().parse_args(argv)
    started = time.monotonic()
    try:
        refuse_many("pose_add")
        bundle = _add(arguments)
        count = len(bundle.catalog)
        print(
            f"{bundle.path}: {count} object{'s' if count > 1 else ''}, ready after {time.monotonic() - started:.0f} s"
        )
        if arguments.minutes > 0.0 and not _train(arguments):
            print(f"{bundle.path}: interrupted, and as good as it got; the same command with --minutes alone goes on")
            return _INTERRUPTED
        _say_next(load_bundle(bundle.path))
    except (ValueError, OSError, ModuleNotFoundError, FloatingPointError) as error:  # BundleError is a ValueError
        print(f"pose_add: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("pose_add: interrupted; the bundle is as it was before this step", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pose_add", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--bundle", type=Path, required=True, metavar="DIR", help="folder of the bundle; made if it does not exist")
    add(
        "--mesh",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=FILE",
        help="meshes and how their objects are called; FILE alone is called as the file",
    )
    add("--models", type=Path, metavar="DIR", help="all objects of a BOP models folder, with their ids and symmetries")
    add(
        "--unit",
        nargs="+",
        action="extend",
        default=[],
        metavar="[NAME=]UNIT",
        help="unit of the mesh files, or of one: m, cm or mm (default: m; GLB, glTF and Collada say it themselves)",
    )
    add(
        "--symmetry",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=WHICH",
        help=f"in place of what is found: {EXPECTED.removeprefix('expected ')}",
    )
    add(
        "--frame",
        nargs="+",
        action="extend",
        default=[],
        metavar=FORM,
        help="a place on an object, such as where it is grasped, in the frame of its mesh: metres (whatever --unit is) "
        "and degrees about fixed axes; pose_frames is a page for it",
    )
    add(
        "--generic",
        default=GENERIC,
        metavar="DIR",
        help="bundle whose networks know no object in particular: a folder or the name of a shipped one (default: "
        "%(default)s)",
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--minutes",
        type=float,
        default=0.0,
        help="train detector and pose network for so long, about; what was interrupted goes on (default: 0, networks "
        "for any object alone)",
    )
    training.add_argument("--photos", type=Path, metavar="DIR", help="pictures of the scene without the objects")
    training.add_argument(
        "--recipes", type=Path, metavar="DIR", help="recipes of new networks, in place of those of config/train/add"
    )
    training.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N (default: auto)")
    training.add_argument(
        "--scenes", type=int, default=12, help="rendered scenes of the report afterwards (default: %(default)s)"
    )
    prior = parser.add_argument_group("pose prior of a new bundle: from where the camera sees an upright object (z up)")
    prior.add_argument("--elevation", type=float, nargs=2, metavar=("LOW", "HIGH"), help="degrees above the horizon")
    prior.add_argument("--roll", type=float, nargs=2, metavar=("LOW", "HIGH"), help="in-plane rotation, degrees")
    prior.add_argument("--distance", type=float, nargs=2, metavar=("LOW", "HIGH"), help="metres")
    return parser


def _add(arguments: argparse.Namespace) -> Bundle:
    existing = load_bundle(arguments.bundle) if (arguments.bundle / BUNDLE_FILE).is_file() else None
    known = {model.name: number for number, model in enumerate(existing.catalog if existing else ())}
    changes = _changes(arguments, known)
    wanted = _wanted(arguments, known)
    _refuse(arguments, existing, bool(wanted or changes))
    frames = told_frames(arguments.frame, [*known, *(item.name for item in wanted)])
    if existing is not None:
        existing = replace(existing, catalog=Catalog(tuple(with_frames(item, frames) for item in existing.catalog)))
    prior = _prior(arguments)
    have = existing.networks if existing else ()
    needed = untrained_method("backend", have) is None and not arguments.minutes > 0.0
    grows = bool(wanted) or arguments.minutes > 0.0  # otherwise symmetries alone change, and no network
    generic = generic_networks(arguments.generic, needed) if grows else None
    numbers = numbered(wanted, existing.catalog if existing else None)
    added = []
    if existing is not None and changes:
        meshes = existing.load_meshes()
        for name, choice in changes.items():
            added.append(revised(existing.catalog[known[name]], meshes[known[name]], choice))
            _print(added[-1], arguments.bundle)
    for item, number in zip(wanted, numbers, strict=True):
        found = measured(item, number)
        added.append(replace(found, model=with_frames(found.model, frames)))
        _print(added[-1], arguments.bundle)
    if wanted:
        _say_alike(existing, [item for item in added if item.model.name not in known])
    bundle, lost = extended(arguments.bundle, existing, added, generic, prior)
    for line in frame_words(bundle.catalog, frames):
        print(line)
    for role in lost:
        print(f"network {role!r} knows the earlier objects only and is left out; train it anew: pose_train")
    before, now = (None if item is None else item.settings.get("backend") for item in (existing, bundle))
    if existing is not None and now != before:
        print(f"backend {now or 'the default'} from now on, in place of {before or 'the default'}")
    return bundle


def _train(arguments: argparse.Namespace) -> bool:
    """Train for the minutes, then see what it is worth; return False if the user interrupted."""
    from pose_estimation_ros.cli.add_report import choose_methods
    from pose_estimation_ros.cli.add_scores import FROM_MINUTES, SCENES, calibrate_scores
    from pose_estimation_ros.cli.add_training import looks_of, train_for
    from pose_estimation_ros.networks.device import resolve_device

    path = arguments.bundle
    device = str(resolve_device(arguments.device))
    if not train_for(path, arguments.minutes, arguments.photos, device, arguments.recipes):
        return False
    calibrate_scores(path, SCENES if arguments.minutes >= FROM_MINUTES else 0, arguments.photos, device)
    outcome = choose_methods(path, arguments.scenes, arguments.photos, device, looks_of(path))
    methods = f"detector {outcome.detector}, backend {outcome.backend}"
    print(f"{methods}: finds {outcome.found:.0%} in rendered scenes; {path / REPORT / 'README.md'}")
    return True


def _changes(arguments: argparse.Namespace, known: Mapping[str, int]) -> dict[str, str]:
    """Return the symmetries that are told of objects that the bundle has already."""
    return by_object(
        [text for text in arguments.symmetry if text.partition("=")[0] in known], list(known), "--symmetry"
    )


def _wanted(arguments: argparse.Namespace, known: Mapping[str, int]) -> list[Wanted]:
    if arguments.mesh and arguments.models:
        raise ValueError("--mesh and --models: expected one of them")
    symmetries = [text for text in arguments.symmetry if text.partition("=")[0] not in known]
    if not arguments.models:
        return wanted_meshes(arguments.mesh, arguments.unit, symmetries)
    if arguments.unit:
        raise ValueError("--unit: is for --mesh; a BOP models folder is in millimetres")
    return wanted_models(arguments.models, symmetries)


def _refuse(arguments: argparse.Namespace, existing: Bundle | None, looks_at_meshes: bool) -> None:
    """Refuse what cannot be done before anything slow is.

    Raises:
        ValueError: naming the option.
    """
    if not (looks_at_meshes or arguments.frame) and (existing is None or not arguments.minutes > 0.0):
        raise ValueError(f"{arguments.bundle}: nothing to add; expected --mesh NAME=FILE or --models DIR")
    if not arguments.minutes >= 0.0 or arguments.scenes < 1:
        raise ValueError(f"--minutes {arguments.minutes:g} --scenes {arguments.scenes}: expected 0 or more, 1 or more")
    if arguments.photos is not None and not arguments.photos.is_dir():
        raise ValueError(f"--photos {arguments.photos}: expected a folder of pictures")
    if existing is None:
        return
    if existing.meshes is None and (looks_at_meshes or arguments.minutes > 0.0):
        raise ValueError(
            f"{arguments.bundle / BUNDLE_FILE}: ships no meshes, so that none can be added; make a bundle of your own"
        )
    for option in ("elevation", "roll", "distance"):
        if getattr(arguments, option) is not None:
            raise ValueError(f"--{option}: is for new bundles; edit pose_prior in {arguments.bundle / BUNDLE_FILE}")


def _prior(arguments: argparse.Namespace) -> PosePrior:
    given = {
        "elevation_deg": arguments.elevation,
        "roll_deg": arguments.roll,
        "distance_m": arguments.distance,
    }
    try:
        return PosePrior.model_validate({key: tuple(value) for key, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = f"--{str(first['loc'][0]).split('_')[0]}" if first["loc"] else "--elevation, --roll, --distance"
        raise ValueError(f"{option}: {first['msg']}") from error


def _print(item: Added, path: Path) -> None:
    model = item.model
    extents = " x ".join(f"{2000.0 * value:.0f}" for value in model.half_size_m)
    skin = "a texture" if item.mesh.texture is not None else "colours of vertices"
    print(f"{model.name} (id {model.object_id}): {extents} mm, {len(item.mesh.faces):,} triangles, {skin}")
    for line in item.words:
        print(f"  {line}")
    print(f"  picture: {path / REPORT / (model.name + '.png')}", flush=True)


def _say_alike(existing: Bundle | None, added: list[Added]) -> None:
    """Say which of the objects cannot be told apart."""
    new = [(item.model.name, item.surface) for item in added]
    old = (
        []
        if existing is None
        else list(zip((model.name for model in existing.catalog), existing.load_meshes(), strict=True))
    )
    known = [(name, Surface(mesh)) for name, mesh in old]
    names = {name for name, _ in new}
    for pair in look_alikes([*known, *new]):
        if names & {pair.first, pair.second}:
            print(f"{pair}", flush=True)


def _say_next(bundle: Bundle) -> None:
    if not usable_detectors(bundle):
        print("  no detector knows these objects yet: poses are found in boxes that are given")
    print(f"  look at the pictures in {bundle.path / REPORT}; a wrong symmetry is mended by --symmetry NAME=...")
    print(f"  pose_node --ros-args -p bundle:={bundle.path} -p refiner:=attention -p tracking.mode:=refine")


if __name__ == "__main__":
    sys.exit(main())
