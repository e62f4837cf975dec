"""What the commands have in common that let a bundle's network gain from real images."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pose_estimation_ros.methods.registry import methods
from pose_estimation_ros.networks.device import resolve_device
from pose_estimation_ros.objects.bundle import Bundle, load_bundle, save_bundle
from pose_estimation_ros.training.processes import refuse_many
from pose_estimation_ros.training.trainer import TrainingRun

_INTERRUPTED = 130  # exit code of a program ended by Ctrl-C


def run_adaptation(program: str, run: Callable[[], None]) -> int:
    """Run what a command does, say what went wrong, and return its exit code."""
    try:
        refuse_many(program)
        run()
    except (ValueError, OSError, FloatingPointError) as error:  # BundleError is a ValueError
        print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the first batch or after the last
        print(f"{program}: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return 0


def add_training_options(parser: argparse.ArgumentParser, recipe: str, folder: str) -> None:
    """Add the options of the training.

    Args:
        parser: to add them to.
        recipe: name of the recipe's model.
        folder: where it works by default.
    """
    add = parser.add_argument
    add("--minutes", type=float, metavar="M", help="how long it trains, about (default: the recipe's samples)")
    add("--out", type=Path, metavar="DIR", help="new bundle for the result (default: the bundle itself is changed)")
    add("--config", type=Path, help=f"recipe, YAML: keys of {recipe}")
    add(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a key of the recipe, repeatable: --set mapping=false for plain fine-tuning",
    )
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N (default: %(default)s)")
    add("--work-dir", type=Path, help=f"checkpoints and log (default: {folder})")
    add("--resume", action="store_true", help="go on from the last checkpoint")


def training_seconds(arguments: argparse.Namespace) -> float | None:
    """Return how long the training may take; None: as many samples as the recipe has.

    Raises:
        ValueError: if it is no time.
    """
    if arguments.minutes is None:
        return None
    if not arguments.minutes > 0.0:
        raise ValueError(f"--minutes {arguments.minutes:g}: expected a positive number")
    return float(60.0 * arguments.minutes)


def spread_evenly(total: int, count: int | None, option: str) -> list[int]:
    """Return the numbers of so many of all images, spread evenly; of all of them where no count is given.

    Raises:
        ValueError: naming the option, if there are none, or fewer.
    """
    if count is None:
        return list(range(total))
    if not 1 <= count <= total:
        raise ValueError(f"{option} {count}: expected 1 to {total}, as many as there are")
    return [(2 * number + 1) * total // (2 * count) for number in range(count)]


def adapt_bundle(
    bundle: Bundle,
    role: str,
    arguments: argparse.Namespace,
    mesh_dir: Path | None,
    adapt: Callable[[TrainingRun], Bundle],
) -> None:
    """Adapt a network of a bundle, or of a copy of it, and say what was done.

    Args:
        bundle: that has the network.
        role: of the network in it.
        arguments: of the command line, with those of `add_training_options`.
        mesh_dir: where the bundle's meshes are, if elsewhere.
        adapt: does it.

    Raises:
        ValueError: if the new bundle exists already; a copy that could not be adapted is removed.
    """
    out, resume = arguments.out, arguments.resume
    folder = arguments.work_dir or Path("runs") / bundle.name / f"adapt_{role}"
    device = str(resolve_device(arguments.device))
    is_copy = out is not None and not (resume and out.exists())
    if out is not None:
        bundle = _copied(bundle, out) if is_copy else load_bundle(out)
    try:
        adapted = adapt(TrainingRun(bundle, folder, mesh_dir, device, resume))
    except BaseException:
        if is_copy:  # as it came, with nothing adapted: it would only be in the way of the next try
            shutil.rmtree(out)
        raise
    record = adapted.network(role).training["adaptation"]
    done = "finished" if record["finished"] else "interrupted; go on with --resume"
    print(f"{adapted.path}: {role} adapted with {record['images']}, {record['samples']} samples, {done}")
    _forget_scores(adapted, role)


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
