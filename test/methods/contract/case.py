"""What the tests of all methods share: a method with a tiny network, images, and how methods of each kind are run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pose_estimation_ros.data.bop import BopDataset, targets_from
from pose_estimation_ros.data.crops import crop_frame
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.evaluation.run import true_poses, truth_detections
from pose_estimation_ros.methods.base import LoadContext, Method, PoseHypothesis, import_object
from pose_estimation_ros.methods.registry import find_training, methods, pipeline_methods
from pose_estimation_ros.objects.bundle import Bundle, PosePrior, load_bundle, save_bundle
from pose_estimation_ros.objects.catalog import Catalog
from pose_estimation_ros.pipeline import Pipeline
from pose_estimation_ros.pipeline_settings import RunSettings, resolve_run
from pose_estimation_ros.settings import Layer
from pose_estimation_ros.training.trainer import TrainingRun

CPU = torch.device("cpu")
# Of methods that search, and have no training of their own whose trial could say so.
FEW_VIEWS = {"directions": 12, "roll_step_deg": 90.0, "candidates": 6, "shortlist": 4, "compared": 2, "finished": 2}


def methods_that(fit: Callable[[Method], object]) -> pytest.MarkDecorator:
    """Mark a test that is for some methods only."""
    return pytest.mark.parametrize(
        "case", [name for name, item in pipeline_methods().items() if fit(item)], indirect=True
    )


@dataclass(frozen=True)
class View:
    """An image, boxes of objects in it, and poses to refine, one per box."""

    frame: Frame
    detections: list[Detection]
    hypotheses: list[PoseHypothesis]

    def first(self, count: int) -> View:
        """Return the same image with fewer objects."""
        return View(self.frame, self.detections[:count], self.hypotheses[:count])


@dataclass(frozen=True)
class Case:
    """One method, a bundle with tiny networks for it, and images."""

    method: Method
    bundle: Bundle
    mesh_dir: Path
    views: list[View]  # the last one shows noise
    device: torch.device = CPU  # where it runs

    def load(self, bundle: Bundle | None = None, mesh_dir: Path | None = None) -> Any:
        """Load the method anew, with the settings of its bundle."""
        chosen = bundle or self.bundle
        settings = resolve_run(chosen).methods[self.method.name]
        return self.method.make(LoadContext(chosen, self.device, settings, mesh_dir or self.mesh_dir))

    def run(self, instance: Any, view: View) -> list[Any]:
        """Run the method on what its kind takes."""
        with torch.inference_mode():
            if self.method.kind == "detector":
                return instance.detect(view.frame, 0.0)
            if self.method.kind == "backend":
                return instance.estimate(view.frame, self.crops(instance, view), view.detections)
            return instance.refine(view.frame, view.detections, view.hypotheses)

    def draw(self, instance: Any, view: View) -> np.ndarray:
        """Let the method draw what it saw."""
        with torch.inference_mode():
            if self.method.kind == "backend":
                return self.method.draw(instance, view.frame, self.crops(instance, view), view.detections)
            return self.method.draw(instance, view.frame, view.hypotheses, None)

    def crops(self, instance: Any, view: View) -> Any:
        return crop_frame(view.frame, view.detections, instance.crop_size, instance.crop_padding, self.device)

    def pipeline(self, hypotheses: Sequence[PoseHypothesis] = (), settings: RunSettings | None = None) -> Pipeline:
        """Return a pipeline of the method, chosen by name, and of others that say what they are told to say."""
        others = {"detector": SilentDetector(), "backend": FixedPoses(list(hypotheses)), "refiner": "none"}
        run = settings or resolve_run(
            self.bundle, [Layer("test", {"tracking.enabled": False, "second_looks.enabled": False})]
        )
        stages = others | {self.method.kind: self.method.name}
        return Pipeline(self.bundle, device="cpu", mesh_dir=self.mesh_dir, settings=run, **stages)


class SilentDetector:
    def detect(self, frame: Frame, score_threshold: float) -> list[Detection]:
        return []


@dataclass
class FixedPoses:
    hypotheses: list[PoseHypothesis]
    crop_size: int = 16
    crop_padding: float = 1.5

    def estimate(self, frame: Frame, crops: Any, detections: list[Detection]) -> list[PoseHypothesis]:
        return self.hypotheses[: len(detections)]


def make_case(
    method: Method, data: Path, folder: Path, changes: Mapping[str, Any] | None = None, device: str = "cpu"
) -> Case:
    """Train every network that a method needs for seconds on a device, on the objects of a data set.

    `changes` are keys of recipes, by network, that are other than in the methods' trials.
    """
    dataset = BopDataset(data)
    bundle = Bundle(folder / "bundle", "trial", dataset.catalog, {}, PosePrior(), meshes=None)
    save_bundle(bundle)
    for role in method.roles:
        training = find_training(role)
        (owner,) = (item for item in methods().values() if training in item.trainings)
        assert training.trial is not None, f"{owner.name}: expected a trial of its training"
        trial = import_object(training.trial)
        recipe = training.recipe_model().model_validate({**trial.recipe, **(changes or {}).get(role, {})})
        run = TrainingRun(load_bundle(bundle.path), folder / "run", data / "models", device)
        bundle = training.function()(run, recipe)
        settings = {**bundle.settings.get(owner.name, {}), **trial.settings}
        bundle = replace(bundle, settings={**bundle.settings, owner.name: settings})
        save_bundle(bundle)
    if not method.trainings:
        known = method.settings_model().model_fields
        few = {name: value for name, value in FEW_VIEWS.items() if name in known}
        save_bundle(replace(bundle, settings={**bundle.settings, method.name: few}))
    return Case(method, load_bundle(bundle.path), data / "models", make_views(dataset))


def make_views(dataset: BopDataset) -> list[View]:
    """Return the images of a data set with true boxes and poses that are a little wrong, and one of noise."""
    views = []
    for image in dataset.images:
        targets = targets_from([image])
        detections = truth_detections(image, targets, dataset.catalog)
        poses = [moved(pose) for pose in true_poses(image, targets, dataset.catalog)]
        views.append(View(dataset.frame(image), detections, hypotheses_of(detections, poses)))
    views.append(noise(dataset.catalog, views[0].frame))
    return views


def moved(pose: np.ndarray) -> np.ndarray:
    """Return a pose (4, 4) about a centimetre and some degrees from another."""
    angle = 0.1
    turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    found = pose.copy()
    found[:3, :3] = pose[:3, :3] @ turn
    found[:3, 3] += (0.004, -0.003, 0.012)
    return found


def hypotheses_of(detections: Sequence[Detection], poses: Sequence[np.ndarray]) -> list[PoseHypothesis]:
    return [
        PoseHypothesis(item.object_index, row, pose, 0.8)
        for row, (item, pose) in enumerate(zip(detections, poses, strict=True))
    ]


def noise(catalog: Catalog, like: Frame) -> View:
    """Return noise with a box for each of five objects, some of them more than once."""
    height, width = like.rgb.shape[:2]
    frame = Frame(np.random.default_rng(0).integers(0, 256, like.rgb.shape, dtype=np.uint8), like.camera)
    detections, poses = [], []
    for number in range(5):
        centre, half = np.array([width * (number + 1) / 6.0, height / 2.0]), 18.0 + 3.0 * number
        index = number % len(catalog)
        detections.append(Detection(index, 0.9 - 0.1 * number, np.concatenate([centre - half, centre + half])))
        pose = np.eye(4)
        pose[:3, 3] = 0.6 * np.linalg.inv(like.camera.intrinsics) @ (*centre, 1.0) - catalog[index].centre_m
        poses.append(pose)
    return View(frame, detections, hypotheses_of(detections, poses))


def fingerprint(results: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return detections or hypotheses as values that are equal if and only if the results are, bit by bit."""
    return [tuple(_frozen(getattr(item, field.name)) for field in fields(item)) for item in results]


def _frozen(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return value.shape, str(value.dtype), hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
