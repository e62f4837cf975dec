"""From a photograph to its labels: poses to start from, made accurate, checked and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.special import expit

from pose_estimation_ros.data.bop import MIN_VISIBILITY
from pose_estimation_ros.data.frame import Frame
from pose_estimation_ros.labelling.edge_check import EdgeCheck, EdgeFit
from pose_estimation_ros.labelling.labels import Label, Verdict
from pose_estimation_ros.labelling.model_edges import EdgeRenderer
from pose_estimation_ros.labelling.photos import Photo
from pose_estimation_ros.labelling.refinement import PoseRefinement
from pose_estimation_ros.labelling.settings import JudgeSettings, LabelSettings
from pose_estimation_ros.methods.base import Refiner
from pose_estimation_ros.networks.precision import use_precision
from pose_estimation_ros.objects.catalog import Catalog

Objects = Sequence[tuple[int, np.ndarray]]  # places in the catalog, and poses camera from object (4, 4)


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
        check = EdgeCheck(frame, self.renderer)
        with torch.inference_mode(), use_precision(self._precision):
            similarities = self._refinement.similarities(frame, objects)
        found = []
        for (index, pose), fit, similarity in zip(objects, check.fits(objects), similarities, strict=True):
            chance = probability(self._judge, fit, similarity, check.pixel)
            verdict: Verdict = "accept" if chance >= self._judge.accepted_probability else "doubt"
            name = self.catalog[index].name
            found.append(Label(name, pose, verdict, fit.residual_px, fit.matched, similarity, chance))
        return found


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
    return float(expit(odds))
