"""pose_calibrate: make the published score of a backend with a refiner the probability that a pose is right.

Renders scenes of the bundle's objects among foreign shapes, finds their poses as the node does, and fits the weights
of what speaks for and against a pose. They go into bundle.yaml. docs/score.md says what the score means.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from pose_estimation_ros.cli.settings_options import (
    add_settings_option,
    domain_of_renderings,
    method_help,
    settings_of,
)
from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.clutter import clutter_meshes
from pose_estimation_ros.data.pose_scenes import PoseScene, PoseSceneConfig, PoseSceneSource
from pose_estimation_ros.evaluation.results import origin_of
from pose_estimation_ros.evaluation.score_calibration import calibrated
from pose_estimation_ros.objects.bundle import Bundle, load_bundle, save_score
from pose_estimation_ros.objects.mesh import Mesh
from pose_estimation_ros.objects.score_entry import ScoreEntry
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.verification.silhouettes import SilhouetteRenderer

_INTERRUPTED = 130  # exit code of a program ended by Ctrl-C
_CLUTTER, _BACKGROUNDS = 32, 150


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        entry = _calibrate(arguments, origin_of("pose_calibrate", argv).command)
    except (ValueError, OSError) as error:  # BundleError is a ValueError
        print(f"pose_calibrate: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("pose_calibrate: interrupted; the bundle is as it was", file=sys.stderr)
        return _INTERRUPTED
    _print(entry)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pose_calibrate", description=__doc__)
    add = parser.add_argument
    add(
        "--bundle", required=True, help="folder of the bundle, or the name of a shipped one; its bundle.yaml is changed"
    )
    add("--backend", help=f"pose estimator: {method_help('backend')}")
    add("--refiner", help=f"refiner: {method_help('refiner')}")
    add("--scenes", type=int, default=200, metavar="N", help="rendered images (default: %(default)s)")
    add("--seed", type=int, default=2024, metavar="S", help="same seed, same scenes (default: %(default)s)")
    add(
        "--background-folder",
        type=Path,
        metavar="DIR",
        help="pictures of rooms, half of the backgrounds come from them",
    )
    add("--mesh-dir", type=Path, metavar="DIR", help="meshes, where the bundle ships none")
    add("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    add_settings_option(parser)
    return parser


def _calibrate(arguments: argparse.Namespace, command: str) -> ScoreEntry:
    from tqdm import tqdm

    if arguments.scenes < 1:
        raise ValueError(f"--scenes {arguments.scenes}: expected at least 1")
    bundle = load_bundle(arguments.bundle)
    chosen = {"backend": arguments.backend, "refiner": arguments.refiner, "device": arguments.device}
    run = settings_of(
        arguments,
        bundle,
        tracking__enabled=False,
        tracking__mode="detect",
        verification__enabled=False,
        pose__score_threshold=0.0,
        **{name.replace(".", "__"): value for name, value in domain_of_renderings().items()},
        **{name: value for name, value in chosen.items() if value is not None},
    )
    meshes = bundle.load_meshes(arguments.mesh_dir)
    pipeline = Pipeline(bundle, mesh_dir=arguments.mesh_dir, settings=run)
    source = _source(arguments, bundle, meshes)

    def scenes() -> Iterator[PoseScene]:
        for _ in tqdm(range(arguments.scenes), desc="scenes", unit="scene", disable=None):
            yield source.next()

    about = {"command": command, "scenes": arguments.scenes, "seed": arguments.seed}
    entry = calibrated(pipeline, SilhouetteRenderer(meshes, pipeline.device), scenes(), about)
    save_score(bundle.path, entry)
    return entry


def _source(arguments: argparse.Namespace, bundle: Bundle, meshes: list[Mesh]) -> PoseSceneSource:
    backgrounds = background_pool(_BACKGROUNDS, seed=arguments.seed, folder=arguments.background_folder)
    clutter = clutter_meshes(_CLUTTER, arguments.seed)
    prior = bundle.pose_prior
    return PoseSceneSource(bundle.catalog, meshes, clutter, backgrounds, prior, PoseSceneConfig(), arguments.seed)


def _print(entry: ScoreEntry) -> None:
    print(f"{'evidence':<24}{'weight':>9}{'low':>9}{'usual':>9}{'high':>9}")
    for name, term in entry.terms.items():
        print(f"{name:<24}{term.weight:>9.3f}{term.low:>9.3f}{term.usual:>9.3f}{term.high:>9.3f}")
    print(f"{'intercept':<24}{entry.intercept:>9.3f}")
    for name, value in entry.fit.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    sys.exit(main())
