"""What every method has in common: the values between the stages, the three kinds of method, and their descriptor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from pose_estimation_ros.data.crops import Crops
from pose_estimation_ros.data.frame import Detection, Frame
from pose_estimation_ros.objects.bundle import Bundle
from pose_estimation_ros.settings import Settings

__all__ = [
    "Backend",
    "Crops",
    "Detection",
    "Detector",
    "Frame",
    "Kind",
    "LoadContext",
    "LoadedMethod",
    "Method",
    "PoseHypothesis",
    "Refiner",
    "Training",
]

# Hands are found in depth images, by a node of their own; the others are stages of the pipeline of `pose_node`.
Kind = Literal["detector", "backend", "refiner", "hands"]


@dataclass(frozen=True)
class PoseHypothesis:
    """One estimated pose of one detected object."""

    object_index: int  # into the catalog
    detection_index: int  # into the detections of the frame
    camera_from_object: np.ndarray  # (4, 4) float64, metres
    score: float  # higher is better, in [0, 1]
    inliers: int = 0  # correspondences behind the pose
    covariance: np.ndarray | None = None  # (6, 6) of x y z rx ry rz, camera axes, metres and radians; None = unknown
    rejected: bool = False  # a refiner went astray with it; the pose is the one that it was given
    comparisons: int = 0  # of renderings with the image that the refiner made for it
    similarity: float | None = None  # of its rendering and the image, as the refiner sees it; None = unknown
    agreement: float | None = None  # share of the looks from other boxes that led to it; None = there were none
    mean_score: float | None = None  # of the newest estimates like it, published in place of its own; None = it alone

    @property
    def published_score(self) -> float:
        """The score that is published with it."""
        return self.score if self.mean_score is None else self.mean_score


class Detector(Protocol):
    """Find the known objects in one image."""

    def detect(self, frame: Frame, score_threshold: float, objects: Collection[int] | None = None) -> list[Detection]:
        """Return the objects scored at least `score_threshold`, best first.

        Boxes span the whole object, hidden parts included, as far as it lies inside the image; masks hold
        what is visible.

        Args:
            frame: the image.
            score_threshold: least score.
            objects: indices into the catalog of those that are looked for; all where absent.
        """
        ...


class Backend(Protocol):
    """Estimate the poses of all detected objects of one frame together."""

    crop_size: int  # side of the square crops the backend wants, pixels
    crop_padding: float  # crop side as a multiple of the longer side of the box

    def estimate(self, frame: Frame, crops: Crops, detections: list[Detection]) -> list[PoseHypothesis]:
        """Estimate at most one pose per crop; crops without a pose are left out.

        Args:
            frame: the image the crops were cut from.
            crops: N crops of `crop_size`.
            detections: the N detections behind them.
        """
        ...


class Refiner(Protocol):
    """Improve the poses of all objects of one frame together."""

    def refine(
        self,
        frame: Frame,
        detections: list[Detection],
        hypotheses: Sequence[PoseHypothesis],
        stages: int | None = None,
        thorough: bool = True,
    ) -> list[PoseHypothesis]:
        """Return the hypotheses, improved; those that turn out wrong may be left out or marked `rejected`.

        Args:
            frame: the image.
            detections: what the hypotheses' `detection_index` counts in.
            hypotheses: poses to start from.
            stages: iterations, for refiners that have them; their own number where absent.
            thorough: whether poses in doubt may be tried in other ways, too.
        """
        ...


@dataclass(frozen=True)
class LoadedMethod:
    """A method ready to run."""

    method: Method
    instance: Any  # a Detector, a Backend or a Refiner


@dataclass(frozen=True)
class LoadContext:
    """What a method may use when it is loaded."""

    bundle: Bundle
    device: torch.device
    settings: Any  # of the method's settings model
    mesh_dir: Path | None = None  # where the meshes are that the bundle does not ship
    refines: bool = False  # whether a refiner works on the poses


@dataclass(frozen=True)
class Training:
    """How a network of a method is trained; imported only when training is asked for."""

    role: str  # of the network in a bundle
    recipe: str  # "module:Class", a pydantic model
    train: str  # "module:function", called with (TrainingRun, recipe), returns the bundle with the weights
    trial: str | None = None  # "module:attribute", a `Trial` of seconds; the tests of all methods begin with it
    # What of the weights depends on the objects of the bundle: names of tensors whose rows are the objects', each with
    # the number of what comes before the first object (1: the background). Empty: nothing, the network is for any
    # object. None: it can learn no further object.
    object_rows: Mapping[str, int] | None = field(default_factory=dict)

    # "module:function" of a folder that makes a bundle for a network that needs no meshes. None: it needs some.
    new_bundle: str | None = None

    # "module:attribute": how the network goes on learning from real images, an `Adaptation` to photographs or, of
    # hands, a `HandAdaptation` to depth images. None: it cannot.
    adaptation: str | None = None

    def recipe_model(self) -> Any:
        """Import the recipe's model."""
        return import_object(self.recipe)

    def function(self) -> Callable[..., Bundle]:
        """Import the training."""
        return import_object(self.train)


@dataclass(frozen=True)
class Method:
    """Everything that the rest of the package knows of a method. Names of code are "module:attribute"."""

    name: str  # as users write it
    kind: Kind
    summary: str  # one sentence
    paper: str  # where it was published
    settings: str  # "module:Class", a `Settings` model whose defaults are good
    load: str  # "module:function" of a `LoadContext`; returns a Detector, a Backend, a Refiner or what finds hands
    roles: tuple[str, ...] = ()  # networks of a bundle that it needs
    training: Training | None = None
    further_trainings: tuple[Training, ...] = ()  # of other networks that it needs and no other method trains
    # "module:function" that draws what the loaded method saw, (H, W, 3) uint8. Of backends it is called with
    # (method, frame, crops, detections), of refiners with (method, frame, hypotheses, stages); detectors draw nothing.
    drawing: str | None = None
    # "module:function" of a `LoadContext`; returns its networks as other runtimes run them, each a `NetworkExport`.
    export: str | None = None
    tight_boxes: bool = True  # detectors: boxes end where the object ends; backends: they need such boxes
    needs_meshes: bool = False
    searches: bool = False  # backends: one look compares many poses; it is too dear to be repeated with other boxes

    @property
    def trainings(self) -> tuple[Training, ...]:
        """All trainings of its networks."""
        return (*([self.training] if self.training is not None else []), *self.further_trainings)

    def settings_model(self) -> type[Settings]:
        """Import the settings model."""
        return import_object(self.settings)

    def make(self, context: LoadContext) -> Any:
        """Load the method with its weights.

        Raises:
            BundleError: if the bundle lacks what the method needs.
        """
        return import_object(self.load)(context)

    def draw(self, *arguments: Any) -> np.ndarray:
        """Draw what the loaded method saw; see `drawing`."""
        if self.drawing is None:
            raise ValueError(f"method {self.name}: draws nothing")
        return import_object(self.drawing)(*arguments)


def import_object(name: str) -> Any:
    """Import "module:attribute"."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
