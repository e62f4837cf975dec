"""From a photograph to its labels: poses to start from, made accurate, checked and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pose_estimation_ros.data.bop import MIN_VISIBILITY
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.labelling.edge_check import EdgeCheck, EdgeFit
from pose_estimation_ros.labelling.labels import Label
from pose_estimation_ros.labelling.model_edges import EdgeRenderer
from pose_estimation_ros.labelling.photos import Photo
from pose_estimation_ros.labelling.refinement import PoseRefinement
from pose_estimation_ros.labelling.settings import JudgeSettings, LabelSettings
from pose_estimation_ros.methods.base import Refiner
from pose_estimation_ros.networks.precision import use_precision
from pose_estimation_ros.objects.catalog import Catalog

Objects = Sequence[tuple[int, np.ndarray]]  # places in the catalog, and poses camera from object (4, 4)


@dataclass(frozen=True)
class Checked:
    """What is known of how right a pose is."""

    fit: EdgeFit
    similarity: float | None  # of rendering and photograph, as the refiner sees it
    probability: float  # that it is right, see `JudgeSettings`


class Labeller:
    """Makes labels.

    Args:
        catalog: the objects.
        refiner: makes poses accurate.
        renderer: of the objects' meshes.
        find: returns the objects of a photograph without poses.
        settings: how labels are made and judged.
        precision: number format of the networks.
    """

    def __init__(
        self,
        catalog: Catalog,
        refiner: Refiner,
        renderer: EdgeRenderer,
        find: Callable[[Frame], Objects],
        settings: LabelSettings,
        precision: str = "auto",
    ) -> None:
        self.catalog, self.refiner, self.renderer, self.find = catalog, refiner, renderer, find
        self._refinement = PoseRefinement(refiner, catalog, settings.refinement)
        self._judge, self._precision = settings.judge, precision

    def known(self, photo: Photo) -> Objects:
        """Return the poses that a photograph came with, of objects of the catalog that can be seen."""
        found = [(self.catalog.index_of_id(item.object_id), item) for item in photo.poses]
        return [
            (index, item.camera_from_object)
            for index, item in found
            if index is not None and item.visibility >= MIN_VISIBILITY
        ]

    def label(self, photo: Photo, frame: Frame) -> list[Label]:
        """Return the labels of a photograph: of the poses that it came with, or else of what is found in it."""
        return self.labels(frame, self.refined(frame, self.known(photo) or self.find(frame)))

    def refined(self, frame: Frame, objects: Objects) -> Objects:
        """Return objects with better poses."""
        with torch.inference_mode(), use_precision(self._precision):
            found = [(index, self._refinement.refined(frame, index, pose)) for index, pose in objects]
        aligned = EdgeCheck(frame, self.renderer).aligned(found)
        return [(index, pose) for (index, _), pose in zip(found, aligned, strict=True)]

    def labels(self, frame: Frame, objects: Objects) -> list[Label]:
        """Return labels of objects at poses that stay as they are, accepted or in doubt."""
        return [
            Label(
                self.catalog[index].name,
                pose,
                "accept" if item.probability >= self._judge.accepted_probability else "doubt",
                item.fit.residual_px,
                item.fit.matched,
                item.similarity,
                item.probability,
            )
            for (index, pose), item in zip(objects, self.check(frame, objects), strict=True)
        ]

    def check(self, frame: Frame, objects: Objects) -> list[Checked]:
        """Say of all objects of a photograph together how well they fit it."""
        check = EdgeCheck(frame, self.renderer)
        with torch.inference_mode(), use_precision(self._precision):
            similarities = self._refinement.similarities(frame, objects)
        return [
            Checked(fit, similarity, probability(self._judge, fit, similarity, check.pixel))
            for fit, similarity in zip(check.fits(objects), similarities, strict=True)
        ]


def probability(settings: JudgeSettings, fit: EdgeFit, similarity: float | None, pixel: float) -> float:
    """Return how likely a pose is right; 0 where nothing is seen of it.

    Args:
        settings: the weights.
        fit: of its edges.
        similarity: of rendering and photograph, None where unknown.
        pixel: where edges are checked, in pixels of the photograph; see `reduction`.
    """
    if fit.residual_px is None:
        return 0.0
    alike = settings.usual_similarity if similarity is None else similarity
    odds = settings.intercept + settings.per_residual_px * fit.residual_px / pixel + settings.per_similarity * alike
    return float(1.0 / (1.0 + np.exp(-odds)))
