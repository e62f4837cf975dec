"""What the pipelines of a bundle find in rendered scenes that nothing was trained on."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pose_estimation_ros.cli.add_networks import untrained_method, usable_detectors
from pose_estimation_ros.cli.settings_options import domain_of_renderings
from pose_estimation_ros.data.backgrounds import background_pool
from pose_estimation_ros.data.clutter import clutter_meshes
from pose_estimation_ros.data.pose_scenes import PoseScene, PoseSceneSource
from pose_estimation_ros.evaluation.published import FOUND_VISIBILITY, is_right
from pose_estimation_ros.methods.base import LoadedMethod
from pose_estimation_ros.methods.registry import methods_of
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.rendering.drawing import draw_poses
from pose_estimation_ros.tracking.object_pose import ObjectPose

_CLUTTER, _BACKGROUNDS = 16, 60
_PICTURES = 4
_NEAR = 0.5  # of the diameter: names of poses nearer to an object are names for it


@dataclass(frozen=True)
class Outcome:
    """What a pipeline found in rendered scenes."""

    detector: str
    backend: str
    scenes: int
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

    @property
    def quality(self) -> float:
        """Share of right poses in all that are there or said to be; neither guessing nor keeping still pays."""
        return float(self.right.sum() / max(self.visible.sum() + self.wrong, 1))

    @property
    def wrong_of_a_scene(self) -> float:
        """Wrong poses an image."""
        return self.wrong / max(self.scenes, 1)


def usable_methods(bundle: Bundle) -> list[tuple[str, str]]:
    """Return the backends whose networks are there, each with every detector: pairs of backend and detector."""
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
    backends = [*([untrained] if untrained else []), *names]
    return [(backend, detector) for backend in backends for detector in usable_detectors(bundle)]


def pipelines(
    bundle: Bundle,
    device: str | None,
    chosen: Sequence[tuple[str, str]] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Iterator[Pipeline]:
    """Yield pipelines of methods, in order; a backend is loaded once for all detectors.

    Args:
        bundle: has the networks.
        device: cpu or cuda; the better one that is there where absent.
        chosen: pairs of backend and detector; all that are usable where absent.
        changes: settings that are other than the bundle's.

    Raises:
        ValueError: if a network cannot be loaded.
    """
    made: LoadedMethod | None = None
    for backend, detector in usable_methods(bundle) if chosen is None else chosen:
        if made is not None and made.method.name != backend:
            made = None  # its memory is for the next one
        settings = {
            "tracking.enabled": False,
            "tracking.mode": "detect",
            "backend": backend,
            "detector.method": detector,
            **domain_of_renderings(),
            **(changes or {}),
        }
        pipeline = Pipeline(bundle, made, device=device, settings=settings)
        assert pipeline.backend_method is not None
        made = LoadedMethod(pipeline.backend_method, pipeline.backend)
        yield pipeline


def held_out_scenes(bundle: Bundle, seed: int, photos: Path | None) -> Iterator[PoseScene]:
    """Render scenes without end.

    Args:
        bundle: the objects.
        seed: same seed, same scenes; of no training.
        photos: pictures as backgrounds.
    """
    backgrounds = background_pool(_BACKGROUNDS, seed=seed, folder=photos)
    clutter = clutter_meshes(_CLUTTER, seed)
    source = PoseSceneSource(bundle.catalog, bundle.load_meshes(), clutter, backgrounds, bundle.pose_prior, seed=seed)
    while True:
        yield source.next()


def tried(pipeline: Pipeline, scenes: Iterable[PoseScene]) -> Outcome:
    """Find the objects of scenes."""
    bundle = pipeline.bundle
    methods, count = (pipeline.detector_method, pipeline.backend_method), len(bundle.catalog)
    visible, right = np.zeros((2, count), dtype=int)
    named, wrong, seen = np.zeros((count, count + 1), dtype=int), 0, 0
    seconds = 0.0
    pictures: list[np.ndarray] = []
    for scene in scenes:
        started = time.monotonic()
        poses = pipeline.process(scene.frame).poses
        seconds, seen = seconds + time.monotonic() - started, seen + 1
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
    detector, backend = ("" if method is None else method.name for method in methods)
    return Outcome(detector, backend, seen, visible, right, named, wrong, seconds / max(seen, 1), tuple(pictures))


def _called(poses: Sequence[ObjectPose], truth: np.ndarray, diameter_m: float) -> int | None:
    """Return as what an object is known: by the surest pose whose ray passes near it; None where there is none."""
    for item in sorted(poses, key=lambda pose: -pose.score):
        place = item.camera_from_object[:3, 3]
        on_ray = place * (truth[2, 3] / max(place[2], 1e-6))
        if np.linalg.norm(on_ray - truth[:3, 3]) < _NEAR * diameter_m:
            return item.object_index
    return None
