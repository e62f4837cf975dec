"""Calibrate the scores of what pose_add has trained, so that the node publishes what is probably right and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pose_estimation_ros.cli.add_held_out import held_out_scenes, pipelines, usable_methods
from pose_estimation_ros.cli.add_networks import score_fits
from pose_estimation_ros.evaluation.score_calibration import calibrated
from pose_estimation_ros.methods.registry import NONE, methods_of
from pose_estimation_ros.objects.bundle import Bundle, load_bundle, save_bundle, save_score
from pose_estimation_ros.verification.silhouettes import SilhouetteRenderer

SCENES = 24
FROM_MINUTES = 10.0  # shorter trainings are not worth the time
_SEED = 60_317  # of no training, nor of the report, which tells what the scores are worth
_UNSCORED: Mapping[str, Any] = {"verification.enabled": False, "pose.score_threshold": 0.0}


def calibrate_scores(path: Path, scenes: int, photos: Path | None, device: str) -> None:
    """Fit the scores that a bundle lacks or whose networks have changed, and say so.

    Args:
        path: of the bundle.
        scenes: how many are rendered; none leaves out the scores of earlier weights and fits no other.
        photos: pictures as backgrounds.
        device: cpu or cuda.

    Raises:
        ValueError: if a network cannot be loaded.
    """
    bundle = load_bundle(path)
    bundle = replace(bundle, scores=tuple(item for item in bundle.scores if score_fits(item, bundle)))
    save_bundle(bundle)
    if scenes == 0:
        return
    scored = {(item.backend, item.detector, item.refiner) for item in bundle.scores}
    shown = list(islice(held_out_scenes(bundle, _SEED, photos), scenes))
    renderer = SilhouetteRenderer(bundle.load_meshes(), device)
    about = {"command": "pose_add", "scenes": scenes, "seed": _SEED}
    for refiner in _refiners(bundle):
        missing = [pair for pair in usable_methods(bundle) if (*pair, refiner) not in scored]
        for pipeline in pipelines(bundle, device, missing, {**_UNSCORED, "refiner": refiner}):
            try:
                entry = calibrated(pipeline, renderer, tqdm(shown, desc="scores", unit="scene", leave=False), about)
            except ValueError as error:
                names = [method.name for method in (pipeline.detector_method, pipeline.backend_method) if method]
                tqdm.write(f"the score of {', '.join(names)} and refiner {refiner} is no probability: {error}")
                continue
            save_score(path, entry)


def _refiners(bundle: Bundle) -> list[str]:
    """Return the refiners whose networks are there, and that of none."""
    return [
        NONE,
        *(name for name, item in methods_of("refiner").items() if set(bundle.networks).issuperset(item.roles)),
    ]
