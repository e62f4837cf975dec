"""What a bundle is worth on rendered scenes that nothing was trained on, and which of its backends is best there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pose_estimation_ros.cli.add_networks import untrained_method, usable_detector
from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.clutter import clutter_meshes
from pose_estimation_ros.data.pose_scenes import PoseScene, PoseSceneSource
from pose_estimation_ros.evaluation.published import FOUND_VISIBILITY, is_right
from pose_estimation_ros.methods.registry import methods_of
from pose_estimation_ros.objects.bundle import Bundle, load_bundle, save_bundle
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.rendering.drawing import draw_poses, save_picture
from pose_estimation_ros.tracking.object_pose import ObjectPose

_SEED = 90_210  # of no training
_CLUTTER, _BACKGROUNDS = 16, 60
_PICTURES = 4
_NEAR = 0.5  # of the diameter: names of poses nearer to an object are names for it
MISSED = "(not found)"


@dataclass(frozen=True)
class Outcome:
    """What a pipeline found in rendered scenes."""

    backend: str
    visible: np.ndarray  # (O,) objects of each kind that are at least 30 % visible
    right: np.ndarray  # (O,) of these with a right pose of their name
    named: np.ndarray  # (O, O + 1) how often what is called what; the last column: not found
    wrong: int  # poses where nothing of that name is
    seconds: float  # of an image
    pictures: tuple[np.ndarray, ...]  # (H, W, 3) uint8 of the first scenes

    @property
    def found(self) -> float:
        """Share of the visible objects that were found."""
        return float(self.right.sum() / max(self.visible.sum(), 1))


def choose_backend(path: Path, scenes: int, photos: Path | None) -> Outcome:
    """Try the backends of a bundle on rendered scenes, let it use the best, and write its report.

    Args:
        path: of the bundle.
        scenes: how many scenes.
        photos: pictures as backgrounds.

    Raises:
        ValueError: if a network cannot be loaded.
    """
    bundle = load_bundle(path)
    shown = _scenes(bundle, scenes, photos)
    outcomes = [_tried(bundle, backend, shown) for backend in _backends(bundle)]
    if not outcomes:
        raise ValueError(f"{path}: no backend has its networks; train longer, or give --generic")
    best = max(outcomes, key=lambda item: item.found)
    settings = {**bundle.settings, **_settings(bundle, best.backend)}
    updated = replace(bundle, settings=settings)
    save_bundle(updated)
    for number, picture in enumerate(best.pictures):  # no object has such a name
        save_picture(path / "report" / f"found-{number + 1}.png", picture)
    (path / "report" / "README.md").write_text(report_text(bundle, outcomes, best, scenes))
    return best


def _backends(bundle: Bundle) -> list[str]:
    """Return the backends whose networks are there."""
    untrained = untrained_method("backend", bundle.networks)
    known = {
        role
        for role, entry in bundle.networks.items()
        if entry.training.get("knows_objects") is None  # grown and not trained since
    }
    names = [
        name
        for name, method in methods_of("backend").items()
        if method.roles and known.issuperset(method.roles) and method.training is not None
    ]
    return [*([untrained] if untrained else []), *names]


def _settings(bundle: Bundle, backend: str) -> dict[str, Any]:
    detector = usable_detector(bundle)
    chosen: dict[str, Any] = {"backend": backend}
    if detector is not None:
        chosen["detector"] = {**bundle.settings.get("detector", {}), "method": detector}
    return chosen


def _scenes(bundle: Bundle, count: int, photos: Path | None) -> list[PoseScene]:
    backgrounds = background_pool(_BACKGROUNDS, seed=_SEED, folder=photos)
    clutter = clutter_meshes(_CLUTTER, _SEED)
    source = PoseSceneSource(bundle.catalog, bundle.load_meshes(), clutter, backgrounds, bundle.pose_prior, seed=_SEED)
    return [source.next() for _ in range(count)]


def _pipeline(bundle: Bundle, backend: str) -> Pipeline:
    settings = {"tracking.enabled": False, "tracking.mode": "detect", "backend": backend}
    detector = usable_detector(bundle)
    return Pipeline(bundle, settings={**settings, **({"detector.method": detector} if detector else {})})


def _tried(bundle: Bundle, backend: str, scenes: Sequence[PoseScene]) -> Outcome:
    pipeline, count = _pipeline(bundle, backend), len(bundle.catalog)
    visible, right = np.zeros((2, count), dtype=int)
    named, wrong, started = np.zeros((count, count + 1), dtype=int), 0, time.monotonic()
    pictures: list[np.ndarray] = []
    for scene in scenes:
        poses = pipeline.process(scene.frame).poses
        if len(pictures) < _PICTURES:
            drawn: list[Any] = list(poses)
            pictures.append(draw_poses(scene.frame.rgb, scene.frame.camera, drawn, bundle.catalog))
        truths = list(zip(scene.object_index, scene.camera_from_object, strict=True))
        wrong += sum(
            not any(item.object_index == index and is_right(item.camera_from_object, truth) for index, truth in truths)
            for item in poses
        )
        for (index, truth), share in zip(truths, scene.visibility, strict=True):
            if share < FOUND_VISIBILITY:
                continue
            near = _called(poses, truth, bundle.catalog[int(index)].diameter_m)
            visible[index] += 1
            right[index] += any(
                item.object_index == index and is_right(item.camera_from_object, truth) for item in poses
            )
            named[index, near if near is not None else count] += 1
    seconds = (time.monotonic() - started) / max(len(scenes), 1)
    return Outcome(backend, visible, right, named, wrong, seconds, tuple(pictures))


def _called(poses: Sequence[ObjectPose], truth: np.ndarray, diameter_m: float) -> int | None:
    """Return as what an object is known: by the surest pose whose ray passes near it; None where there is none."""
    for item in sorted(poses, key=lambda pose: -pose.score):
        place = item.camera_from_object[:3, 3]
        on_ray = place * (truth[2, 3] / max(place[2], 1e-6))
        if np.linalg.norm(on_ray - truth[:3, 3]) < _NEAR * diameter_m:
            return item.object_index
    return None


def report_text(bundle: Bundle, outcomes: Sequence[Outcome], best: Outcome, scenes: int) -> str:
    """Return the report as Markdown."""
    names = [model.name for model in bundle.catalog]
    lines = [
        f"# {bundle.name}",
        "",
        f"{scenes} rendered scenes that nothing was trained on. Found: the position is within 5 % of the distance. On",
        "photographs expect less.",
        "",
        "| backend | found % | wrong poses an image | s an image |",
        "| --- | --: | --: | --: |",
    ]
    lines += [
        f"| {item.backend}{' (chosen)' if item is best else ''} | {100 * item.found:.0f} "
        f"| {item.wrong / max(scenes, 1):.1f} | {item.seconds:.1f} |"
        for item in outcomes
    ]
    lines += [
        "",
        f"## What is called what ({best.backend})",
        "",
        f"| object | {' | '.join([*names, MISSED])} | right pose |",
    ]
    lines += ["| --- |" + " --: |" * (len(names) + 2)]
    lines += [
        f"| {name} | {' | '.join(str(value) for value in row)} | {right} of {seen} |"
        for name, row, right, seen in zip(names, best.named, best.right, best.visible, strict=True)
    ]
    lines += ["", "## Objects", "", *(f"![{name}]({name}.png)" for name in names)]
    lines += ["", "## Found in rendered scenes", ""]
    lines += [f"![found {number + 1}](found-{number + 1}.png)" for number in range(len(best.pictures))]
    return "\n".join(lines) + "\n"
